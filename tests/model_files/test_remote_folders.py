"""Models of several files from the network, and single files by their model and name."""

import hashlib
import json
from pathlib import Path

import pytest
from remote_files import BUDGET, DIGEST, SIZE, URI, Files

from model_files.base import ModelRef
from model_files.companions import Companion
from model_files.errors import (
    FileTooLargeError,
    InvalidReferenceError,
    MissingFileError,
    SourceUnavailableError,
)


def test_companions_lie_beside_the_main_file(files: Files, root: Path) -> None:
    folder = root / "owner/name/sub"
    folder.mkdir()
    for name in ("m.xml", "m.bin", "metadata.yaml", "other.txt"):
        (folder / name).write_bytes(name.encode())
    source, provider = files()
    found = provider.local_files(ModelRef("double://owner/name/sub/m.xml"))
    assert sorted(path.name for path in found.path.parent.iterdir()) == ["m.bin", "m.xml", "metadata.yaml"]
    (folder / "metadata.yaml").unlink()
    found = provider.local_files(ModelRef("double://owner/name/sub/m.xml"))
    assert sorted(path.name for path in found.path.parent.iterdir()) == ["m.bin", "m.xml"]
    (folder / "m.bin").unlink()
    with pytest.raises(MissingFileError, match=r"sub/m\.bin"):
        provider.local_files(ModelRef("double://owner/name/sub/m.xml"))
    digest = hashlib.sha256(b"m.xml").hexdigest()
    source.is_down = True
    found = provider.local_files(ModelRef("double://owner/name/sub/m.xml", digest))
    assert (found.path.parent / "m.bin").exists()


def test_a_new_companion_makes_a_new_folder_and_leaves_the_old(files: Files, root: Path) -> None:
    folder = root / "owner/name"
    (folder / "m.xml").write_bytes(b"xml")
    (folder / "m.bin").write_bytes(b"bin 1")
    _, provider = files()
    old = provider.local_files(ModelRef("double://owner/name/m.xml"))
    (folder / "m.bin").write_bytes(b"bin 2")
    new = provider.local_files(ModelRef("double://owner/name/m.xml"))
    assert old.path.with_suffix(".bin").read_bytes() == b"bin 1"
    assert new.path.with_suffix(".bin").read_bytes() == b"bin 2"


@pytest.mark.parametrize("can_list", [True, False])
def test_a_real_package(root: Path, files: Files, shared_data: Path, can_list: bool) -> None:
    package = shared_data / "models" / "coreml" / "yolo26n.mlpackage"
    (root / "apple").mkdir()
    (root / "apple" / "yolo").symlink_to(package.parent)
    _, provider = files(max_file_bytes=BUDGET, can_list=can_list)
    found = provider.local_files(ModelRef("double://apple/yolo/yolo26n.mlpackage"))
    inside = {path.relative_to(package): path.read_bytes() for path in package.rglob("*") if path.is_file()}
    assert {p.relative_to(found.path): p.read_bytes() for p in found.path.rglob("*") if p.is_file()} == inside
    with pytest.raises(InvalidReferenceError, match="is a folder"):
        provider.local_files(ModelRef("double://apple/yolo/yolo26n.mlpackage", "0" * 64))
    if can_list:
        with pytest.raises(MissingFileError, match="has no files"):
            provider.local_files(ModelRef("double://apple/yolo/none.mlpackage"))


def test_shards_and_single_files(files: Files, root: Path) -> None:
    folder = root / "owner/name"
    (folder / "m.index.json").write_text(json.dumps({"weight_map": {"a": "s1", "b": "s2"}}))
    for name in ("s1", "s2"):
        (folder / name).write_bytes(name.encode())
    _, provider = files(can_list=True)
    found = provider.local_files(ModelRef("double://owner/name/m.index.json"))
    assert (found.path.parent / "s2").read_bytes() == b"s2"
    assert provider.get_file("owner/name", "s1") == b"s1"
    assert provider.get_file("double://owner/name/", "s1") == b"s1"
    assert provider.list_files("owner/name") == ("m.index.json", "m.tflite", "s1", "s2")
    assert provider.fetch(URI).sha256 == DIGEST
    gathered, there = provider.collect("owner/name", (Companion("s2"), Companion("none", required=False)))
    assert there == {"s2"}
    assert [path.name for path in gathered.path.iterdir()] == ["s2"]


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "a\\b", "C:/x", "a\0b", "nul", "a//b", "x" * 300]
)
def test_names_that_lead_elsewhere_are_refused_before_anything_is_asked(
    files: Files, tmp_path: Path, name: str
) -> None:
    source, provider = files(can_list=True)
    with pytest.raises(InvalidReferenceError):
        provider.get_file("owner/name", name)
    with pytest.raises(InvalidReferenceError):
        provider.local_files(ModelRef(f"double://owner/name/{name}"))
    assert source.fetched == source.asked == []
    assert not (tmp_path / "cache").exists()


def test_a_file_too_large_for_memory(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_files.remote.MAX_BYTES_IN_MEMORY", SIZE - 1)
    _, provider = files()
    with pytest.raises(FileTooLargeError, match="use local_files"):
        provider.get_file("owner/name", "m.tflite")


def test_whether_there_is_a_file_is_asked_without_fetching_it(files: Files) -> None:
    source, provider = files()
    assert provider.has_file("owner/name", "m.tflite")
    assert not provider.has_file("owner/name", "none")
    assert source.fetched == []
    source.is_down = True
    with pytest.raises(SourceUnavailableError):
        provider.has_file("owner/name", "m.tflite")


def test_a_file_in_the_cache_is_there_also_where_the_place_cannot_be_asked(files: Files) -> None:
    source, provider = files()
    provider.get_file("owner/name", "m.tflite")
    source.is_down = True
    assert provider.has_file("owner/name", "m.tflite")


@pytest.mark.parametrize("path", ["sub/deeper/s1", "s1"])
def test_files_in_folders_of_a_model_are_collected_in_any_order(files: Files, root: Path, path: str) -> None:
    for name in (path, "config.json"):
        (root / "owner/name" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "owner/name" / name).write_bytes(name.encode())
    _, provider = files()
    gathered, there = provider.collect("owner/name", (Companion(path), Companion("config.json")))
    assert there == {path, "config.json"}
    assert (gathered.path / path).read_bytes() == path.encode()


def test_a_folder_inside_a_model_is_no_model(files: Files) -> None:
    source, provider = files()
    with pytest.raises(InvalidReferenceError, match="is no model's folder"):
        provider.collect("owner/name/sub", (Companion("m.tflite"),))
    assert source.fetched == source.asked == []


@pytest.mark.parametrize("is_pinned", [True, False])
def test_a_model_that_is_here_loads_without_its_place_though_an_optional_companion_is_not(
    files: Files, root: Path, is_pinned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("m.xml", "m.bin"):
        (root / "owner/name" / name).write_bytes(name.encode())
    source, provider = files(retry_for_s=3600.0)  # longer than a test may take: nothing is tried again here
    digest = hashlib.sha256(b"m.xml").hexdigest() if is_pinned else None
    reference = ModelRef("double://owner/name/m.xml", digest)
    provider.local_files(reference)
    source.is_down = True
    found = provider.local_files(reference)
    assert sorted(path.name for path in found.path.parent.iterdir()) == ["m.bin", "m.xml"]
    assert "metadata.yaml: nobody is there; the model is used without it" in caplog.text


def test_a_model_that_has_just_come_is_not_used_without_an_optional_companion(
    files: Files, root: Path
) -> None:
    for name in ("m.xml", "m.bin", "metadata.yaml"):
        (root / "owner/name" / name).write_bytes(name.encode())
    source, provider = files(retry_for_s=0.3)

    def goes_down(path: str, sent: int) -> None:
        source.is_down = path == "m.bin"

    source.before_chunk = goes_down
    with pytest.raises(SourceUnavailableError):
        provider.local_files(ModelRef("double://owner/name/m.xml", hashlib.sha256(b"m.xml").hexdigest()))


def test_a_place_that_cannot_be_reached_is_asked_once_for_all_files(files: Files, root: Path) -> None:
    folder = root / "owner/name"
    (folder / "m.index.json").write_text(json.dumps({"weight_map": {"a": "s1", "b": "s2"}}))
    for name in ("s1", "s2"):
        (folder / name).write_bytes(name.encode())
    source, provider = files()
    provider.local_files(ModelRef("double://owner/name/m.index.json"))
    source.is_down, source.asked = True, []
    found = provider.local_files(ModelRef("double://owner/name/m.index.json"))
    assert (found.path.parent / "s2").read_bytes() == b"s2"
    assert source.asked == ["m.index.json"]


def test_weights_of_another_kind_need_no_xml(files: Files, root: Path) -> None:
    (root / "owner/name/pytorch_model.bin").write_bytes(b"weights")
    _, provider = files()
    assert (
        provider.local_files(ModelRef("double://owner/name/pytorch_model.bin")).path.read_bytes()
        == b"weights"
    )
