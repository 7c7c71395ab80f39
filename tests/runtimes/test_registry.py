"""Names of runtimes, kinds of files, and what is said when one cannot be had."""

from importlib import import_module
from pathlib import Path

import pytest

import runtimes
from runtimes import KNOWN_RUNTIMES, RUNTIMES, get_runtime, runtime_for, runtime_names
from runtimes.cores import available_cores
from runtimes.errors import ModelLoadError, RuntimeUnavailableError, UnknownRuntimeError
from runtimes.file_kinds import RUNTIME_BY_SUFFIX


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_every_entry_of_the_table_can_be_loaded(name: str) -> None:
    module, _, attribute = RUNTIMES[name].partition(":")
    try:
        runtime = get_runtime(name)
    except RuntimeUnavailableError as exc:
        pytest.skip(str(exc))
    assert isinstance(runtime, getattr(import_module(module), attribute))


@pytest.mark.parametrize("name", ["", "onnx", "ONNXRUNTIME", "tensorflow"])
def test_an_unknown_runtime_names_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownRuntimeError) as caught:
        get_runtime(name)
    assert all(known in str(caught.value) for known in runtime_names())


def test_the_tables_cover_the_protocol() -> None:
    assert {"coreml", "openvino", "onnxruntime", "fake"} <= KNOWN_RUNTIMES
    assert set(RUNTIME_BY_SUFFIX.values()) <= KNOWN_RUNTIMES
    assert set(runtimes.EXTRAS) == KNOWN_RUNTIMES - {"fake"}


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "onnxruntime", "no_such_library:Runtime")
    with pytest.raises(RuntimeUnavailableError) as caught:
        get_runtime("onnxruntime")
    assert "no_such_library" in str(caught.value)
    assert "pip install 'inferpipe[onnx]'" in str(caught.value)


def test_another_distribution_can_add_a_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "guest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[inferpipe.runtimes]\nguest = runtimes.fake:FakeRuntime\nfake = nowhere:Nothing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert type(get_runtime("guest")).__name__ == "FakeRuntime"
    assert type(get_runtime("fake")).__name__ == "FakeRuntime"  # the built-in one stays
    assert "guest" in runtime_names()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("m.onnx", "onnxruntime"),
        ("/models/M.ONNX", "onnxruntime"),
        (Path("m.onnx"), "onnxruntime"),
        ("file:///models/m.onnx", "onnxruntime"),
        ("m.xml", "openvino"),
        ("m.bin", "openvino"),
        ("m.tflite", "litert"),
        ("m.mlpackage", "coreml"),
        ("m.mlmodel", "coreml"),
        ("m.pt", "torch"),
        ("m.pth", "torch"),
        ("m.pt2", "torch"),
        ("fake:noop?size=640", "fake"),
        ("fake:noop.onnx", "fake"),
    ],
)
def test_auto_goes_by_the_kind_of_file(path: Path | str, name: str) -> None:
    assert runtime_for(path) == name


@pytest.mark.parametrize("path", ["model", "m.txt", "", "onnx", "m.onnx.zip"])
def test_auto_refuses_what_it_cannot_tell(path: str) -> None:
    with pytest.raises(ModelLoadError, match="cannot tell the runtime"):
        runtime_for(path)


def test_there_is_a_core_to_run_on() -> None:
    assert available_cores() >= 1
