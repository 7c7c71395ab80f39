# Every target sets up what it needs in .venv; `make setup` alone does just that.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ROOMS := protocol model_files models runtimes preprocess postprocessors frame_cache streaming worker

.PHONY: setup demo test check format lint types layers bench model test-torch clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[onnx,openvino,litert,coreml,opencv,dev]'
	touch $@

demo: setup  ## the main job: the worker, spawned over pipes, finds shapes in pictures
	$(BIN)/python -m worker demo

test: setup
	$(BIN)/coverage run --source=protocol -m pytest tests/protocol -q
	$(BIN)/coverage report --fail-under=100 --show-missing --skip-covered
	$(BIN)/python -m pytest --ignore=tests/protocol

check: lint types layers test  ## the one gate

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

bench: setup  ## every scenario against bare loops, in alternation
	$(BIN)/python -m bench

model:  ## train the default model anew (tools/README.md)
	test -x .venv-train/bin/python || $(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train]'
	.venv-train/bin/python -m tools.detector.train --out models

test-torch:  ## what needs PyTorch, in the environment that `make model` makes: with CUDA packages it takes 5 GB
	test -x .venv-train/bin/python || $(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train]' pytest pytest-timeout
	.venv-train/bin/python -m pytest tests/contract tests/runtimes/test_torch*.py tests/e2e/test_hot_swap_runtimes.py -k torch

clean:
	rm -rf $(VENV) .venv-train build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage demo-output target
