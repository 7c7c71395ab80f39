# Every target sets up what it needs in .venv; `make setup` alone does just that.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NODE_HOST := hosts/node
NODE_STAMP := $(NODE_HOST)/node_modules/.installed
RUST_HOSTS := hosts/rust/Cargo.toml
# The worker that the hosts' tests and benches spawn.
export INFERPIPE_PYTHON := $(CURDIR)/$(BIN)/python
# The tests start hundreds of workers. Half of a start's time would go into compiling the same modules again, and
# into threads of a matrix library.
unexport PYTHONDONTWRITEBYTECODE
check test test-python test-workers test-commands test-rooms test-node test-rust: export OPENBLAS_NUM_THREADS := 1

# Without its language a target is skipped by name; where everything must be there (.ci/run) it fails.
need = command -v $(1) >/dev/null || { echo "SKIPPED $@: $(1) is not installed"; test -z "$$INFERPIPE_CI"; exit; }

.PHONY: setup demo test check format lint types layers bench model test-torch clean
.PHONY: test-python test-protocol test-workers test-commands test-rooms test-node test-rust
.PHONY: lint-python lint-node lint-rust types-python build-node build-rust build-bench-rust docs-hosts

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[onnx,openvino,litert,coreml,opencv,video,screen,dev]'
	touch $@

demo: setup  ## the main job: the worker, spawned over pipes, finds shapes in pictures
	$(BIN)/python -m worker demo

test: test-python test-node test-rust  ## all tests, in every language that is here

test-python: test-protocol test-workers test-commands test-rooms

test-protocol: setup
	$(BIN)/coverage run --source=protocol -m pytest tests/protocol -q
	$(BIN)/coverage report --fail-under=100 --show-missing --skip-covered

# In parts, so that the gate runs them beside each other; what is in none of the first is in the last.
WORKER_TESTS := tests/e2e tests/fuzz
COMMAND_TESTS := tests/cli tests/bench tests/hosts

test-workers: setup
	$(BIN)/python -m pytest $(WORKER_TESTS)

test-commands: setup build-node
	$(BIN)/python -m pytest $(COMMAND_TESTS)

test-rooms: setup build-node
	$(BIN)/python -m pytest $(addprefix --ignore=,tests/protocol $(WORKER_TESTS) $(COMMAND_TESTS))

test-node: setup build-node
	@$(call need,npm); npm --prefix $(NODE_HOST) run test:built

test-rust: setup build-rust
	@$(call need,cargo); cargo test --manifest-path $(RUST_HOSTS) --workspace

check:  ## the one gate: two jobs at a time, in an order in which neither waits long for the other
	$(MAKE) --jobs=2 --output-sync=recurse test-workers build-rust lint types layers docs-hosts test-rust test-commands \
	  test-rooms test-node test-protocol

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	@$(call need,npm); npm --prefix $(NODE_HOST) run format
	@$(call need,cargo); cargo fmt --manifest-path $(RUST_HOSTS) --all

lint: lint-python lint-node lint-rust

lint-python: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

lint-node: $(NODE_STAMP)
	@$(call need,npm); npm --prefix $(NODE_HOST) run lint

lint-rust:
	@$(call need,cargo); cargo fmt --manifest-path $(RUST_HOSTS) --all --check && \
	  cargo clippy --manifest-path $(RUST_HOSTS) --workspace --all-targets --quiet -- --deny warnings && \
	  cargo check --manifest-path $(RUST_HOSTS) --lib --quiet  # with its own features alone

types: types-python build-node

types-python: setup
	$(BIN)/mypy

build-node: $(NODE_STAMP)
	@$(call need,npm); npm --prefix $(NODE_HOST) run build

$(NODE_STAMP): $(NODE_HOST)/package.json
	@$(call need,npm); npm --prefix $(NODE_HOST) install --no-audit --no-fund --loglevel=error && touch $@

docs-hosts: $(NODE_STAMP)  ## the API references of both host libraries, without a warning
	@$(call need,npm); npm --prefix $(NODE_HOST) run docs
	@$(call need,cargo); RUSTDOCFLAGS="--deny warnings" cargo doc --manifest-path $(RUST_HOSTS) --workspace --no-deps --quiet

layers: setup
	$(BIN)/lint-imports

bench: setup build-node build-bench-rust  ## every scenario against bare loops, in alternation
	$(BIN)/python -m bench

build-rust:  ## the hosts' tests, and the model cache's server that the worker's tests start
	@$(call need,cargo); cargo test --manifest-path $(RUST_HOSTS) --workspace --no-run --quiet

build-bench-rust:
	@$(call need,cargo); cargo build --release --manifest-path $(RUST_HOSTS) --example bench_driver

model:  ## train the default model anew (tools/README.md)
	test -x .venv-train/bin/python || $(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train]'
	.venv-train/bin/python -m tools.detector.train --out models

test-torch:  ## what needs PyTorch, in the environment that `make model` makes: with CUDA packages it takes 5 GB
	test -x .venv-train/bin/python || $(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,transformers,grpc,http,hub]' hypothesis pytest pytest-timeout
	.venv-train/bin/python -m pytest tests/contract tests/runtimes/test_torch*.py tests/e2e/test_hot_swap_runtimes.py -k torch
	.venv-train/bin/python -m pytest tests/model_files/test_interception_models.py

clean:
	rm -rf $(VENV) .venv-train build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage demo-output target
