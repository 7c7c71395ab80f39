"""Folders for `from_pretrained`, from places that list what they have and from places that do not."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from model_servers.hub import Hub, HubModel, hub_of
from model_servers.web import WebServer, folder_answer

from model_files import ModelRef, Providers
from model_files.errors import (
    InvalidReferenceError,
    MissingFileError,
    SourceFailedError,
    SourceUnavailableError,
)
from model_files.local import LocalFiles
from model_files.settings import HubSettings, ProviderSettings
from model_files.snapshot import snapshot, snapshot_files
from model_files.snapshot_rules import modules_of, wanted_of

CONFIG = {"config.json": b"{}"}
SAFETENSORS = {"model.safetensors": b"weights"}
TORCH = {"pytorch_model.bin": b"pickled weights"}
CHECKPOINTS = (
    "caikit-BertForSequenceClassification",
    "caikit-BloomForCausalLM",
    "caikit-T5ForConditionalGeneration",
    "stories260K",
    "tiny-random-clip",
    "tiny-random-vit",
    "tiny-random-vits",
    "tiny-random-whisper",
    "tiny-random-yolos",
    "tiny_bert",
)


class Web:
    """A web server over a folder, and the providers that fetch from it."""

    def __init__(self, root: Path, cache: Path, cache_bytes: int = 1 << 30) -> None:
        self.root = root
        self.server = WebServer(folder_answer(root))
        self.providers = Providers(
            ProviderSettings(cache_dir=cache, cache_bytes=cache_bytes, retry_for_s=1, stall_s=2)
        )
        self.base = self.server.url
        self.provider = self.providers.provider_for(self.base)

    def put(self, files: Mapping[str, bytes], model: str = "owner/name") -> None:
        for name, content in files.items():
            path = self.root / model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def snapshot(self, model: str = "owner/name") -> Path:
        return snapshot(self.provider, f"{self.base}/{model}")

    def fetched(self) -> set[str]:
        return {request.target for request in self.server.asked("GET")}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    made = Web(tmp_path / "served", tmp_path / "cache")
    yield made
    made.server.close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with hub_of() as served:
        yield served


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def index_of(*shards: str) -> bytes:
    return json.dumps({"weight_map": {f"layer{n}": shard for n, shard in enumerate(shards)}}).encode()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_real_checkpoints_by_rules(web: Web, shared_data: Path, name: str) -> None:
    (web.root / "owner").mkdir(parents=True)
    (web.root / "owner" / name).symlink_to(shared_data / "checkpoints" / name)
    assert files_in(web.snapshot(f"owner/{name}")) == files_in(shared_data / "checkpoints" / name)


def test_nothing_is_transferred_twice(web: Web) -> None:
    web.put(CONFIG | SAFETENSORS | {"tokenizer.json": b"{}"})
    first = web.snapshot()
    again = web.snapshot()
    assert files_in(again) == files_in(first) == CONFIG | SAFETENSORS | {"tokenizer.json": b"{}"}
    assert len([r for r in web.server.asked("GET") if r.target.endswith("/tokenizer.json")]) == 1


def test_another_content_is_another_folder_and_the_first_stays_whole(web: Web) -> None:
    web.put(CONFIG | SAFETENSORS)
    first = web.snapshot()
    web.put({"config.json": b'{"new": 1}', "model.safetensors": b"newer weights"})
    assert files_in(web.snapshot())["config.json"] == b'{"new": 1}'
    assert files_in(first) == CONFIG | SAFETENSORS


@pytest.mark.parametrize(("stem", "suffix"), [("model", "safetensors"), ("pytorch_model", "bin")])
def test_shards_by_their_index(web: Web, stem: str, suffix: str) -> None:
    shards = {f"{stem}-{n:05}-of-00003.{suffix}": b"shard %d" % n for n in (1, 2, 3)}
    index = {f"{stem}.{suffix}.index.json": index_of(*shards, *shards)}
    web.put(CONFIG | shards | index)
    assert files_in(web.snapshot()) == CONFIG | shards | index


def test_safetensors_come_before_pytorch(web: Web) -> None:
    web.put(CONFIG | SAFETENSORS | TORCH)
    assert files_in(web.snapshot()) == CONFIG | SAFETENSORS
    assert not any("pytorch" in target for target in web.fetched())


def test_pytorch_where_there_is_nothing_else(web: Web) -> None:
    web.put(CONFIG | TORCH)
    assert files_in(web.snapshot()) == CONFIG | TORCH


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({}, "config.json"),
        (SAFETENSORS, "config.json"),
        (CONFIG, "model.safetensors, model.safetensors.index.json, pytorch_model.bin"),
        (CONFIG | {"model.safetensors.index.json": index_of("a.safetensors")}, "a.safetensors"),
    ],
)
def test_what_no_model_can_do_without_is_named(web: Web, files: dict[str, bytes], missing: str) -> None:
    web.put(files)
    with pytest.raises(MissingFileError) as caught:
        web.snapshot()
    assert missing in str(caught.value)


@pytest.mark.parametrize("shard", ["../elsewhere.safetensors", "/etc/passwd", "a//b"])
def test_an_index_cannot_lead_out_of_the_folder(web: Web, shard: str) -> None:
    web.put(CONFIG | {"model.safetensors.index.json": index_of(shard)})
    with pytest.raises(InvalidReferenceError):
        web.snapshot()
    assert not any("elsewhere" in target or "passwd" in target for target in web.fetched())


def modules(*entries: tuple[str, str]) -> bytes:
    named = [
        {"idx": n, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(entries)
    ]
    return json.dumps(named).encode()


def test_sentence_transformers(web: Web) -> None:
    files = CONFIG | SAFETENSORS
    files |= {
        "modules.json": modules(
            ("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Normalize", "3_Normalize")
        ),
        "config_sentence_transformers.json": b"{}",
        "sentence_bert_config.json": b"{}",
        "1_Pooling/config.json": b"{}",
        "2_Dense/config.json": b"{}",
        "2_Dense/pytorch_model.bin": b"dense",
        "vocab.txt": b"a",
    }
    web.put(files)
    assert files_in(web.snapshot()) == files


def test_sentence_transformers_with_the_model_in_a_subfolder(web: Web) -> None:
    files = {
        "modules.json": modules(("Transformer", "0_Transformer"), ("Pooling", "1_Pooling")),
        "0_Transformer/config.json": b"{}",
        "0_Transformer/tokenizer.json": b"{}",
        "0_Transformer/pytorch_model.bin": b"weights",
        "1_Pooling/config.json": b"{}",
    }
    web.put(files)
    assert files_in(web.snapshot()) == files


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"not json", SourceFailedError),
        (b"{}x", SourceFailedError),
        (b'[{"type": "a"}]', SourceFailedError),
        (b"[3]", SourceFailedError),
        (modules(("Pooling", "../../etc")), InvalidReferenceError),
        (modules(("Pooling", "a\\b")), InvalidReferenceError),
    ],
)
def test_modules_that_cannot_be_read(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        modules_of(content)


def test_a_place_that_lists_gives_all_that_from_pretrained_reads(hub: Hub, tmp_path: Path) -> None:
    kept = CONFIG | SAFETENSORS | {"README.md": b"#", "own/layout.json": b"{}", "tokenizer/vocab.txt": b"a"}
    left_out = TORCH | {
        "tf_model.h5": b"tf",
        "flax_model.msgpack": b"flax",
        "onnx/model.onnx": b"onnx",
        "openvino/openvino_model.bin": b"ir",
        "model-q4.gguf": b"gguf",
        "original/consolidated.00.pth": b"torch",
    }
    hub.models["owner/name"] = HubModel(kept | left_out, ("main", "v1"))
    settings = ProviderSettings(cache_dir=tmp_path / "cache", hf=HubSettings(endpoint=hub.url))
    provider = Providers(settings).provider_for("hf://")
    for reference in ("hf://owner/name", "hf://owner/name@v1", "hf://owner/name/"):
        assert files_in(snapshot(provider, reference)) == kept
    hub.models["owner/torch"] = HubModel(CONFIG | TORCH)
    assert files_in(snapshot(provider, "hf://owner/torch")) == CONFIG | TORCH
    hub.models["owner/none"] = HubModel({"README.md": b"#"})
    with pytest.raises(MissingFileError, match=r"config\.json"):
        snapshot(provider, "hf://owner/none")
    with pytest.raises(MissingFileError):
        snapshot(provider, "hf://owner/nope")


def test_a_listing_with_a_name_that_leads_elsewhere() -> None:
    with pytest.raises(InvalidReferenceError):
        wanted_of(("config.json", "../../etc/passwd"))


def test_a_local_folder_is_its_own_snapshot(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    assert snapshot(LocalFiles(), str(tmp_path)) == tmp_path
    assert snapshot(LocalFiles(), f"file://{tmp_path}") == tmp_path
    with pytest.raises(InvalidReferenceError):
        snapshot(LocalFiles(), str(tmp_path / "config.json"))
    with pytest.raises(MissingFileError):
        snapshot(LocalFiles(), str(tmp_path / "nope"))


@pytest.mark.parametrize("take", [snapshot, snapshot_files])
def test_a_snapshot_stays_while_it_is_held(tmp_path: Path, take: Callable[..., object]) -> None:
    web = Web(tmp_path / "served", tmp_path / "cache", cache_bytes=4000)
    try:
        web.put(CONFIG | {"model.safetensors": b"w" * 3000})
        held = take(web.provider, f"{web.base}/owner/name")
        folder = held if isinstance(held, Path) else held.path  # type: ignore[attr-defined]
        web.put({"big.tflite": b"x" * 3500}, "other")
        web.providers.resolve(ModelRef(f"{web.base}/other/big.tflite"))
        assert files_in(folder)["model.safetensors"] == b"w" * 3000
    finally:
        web.server.close()


def test_a_place_that_is_down(web: Web) -> None:
    web.server.close()
    with pytest.raises(SourceUnavailableError):
        web.snapshot()
