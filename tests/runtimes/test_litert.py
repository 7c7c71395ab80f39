"""The LiteRT adapter on tiny models written here, and on real ones where they are at hand."""

import _ctypes
import gc
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from contract import tiny_tflite
from contract.tiny_tflite import MEAN, REDUCER_OPTIONS, RESHAPE, Operator, Tensor

from model_files import ModelFiles
from runtimes.base import CompiledModel
from runtimes.errors import InferenceError, ModelLoadError
from runtimes.litert import LIBRARIES, LitertRuntime, import_library
from runtimes.litert_devices import DELEGATES, DelegateDevice
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, Layout, TensorKind


def compile_file(path: Path, **options: object) -> CompiledModel:
    return LitertRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions(**options))


# shape, (width, height), max_batch_size
SHAPES = [
    ((1, 8, 8, 3), (8, 8), 1),
    ((1, 6, 8, 3), (8, 6), 1),
    ((1, 8, 8, 1), (8, 8), 1),
    ((-1, 8, 8, 3), (8, 8), 1),
    ((4, 8, 8, 3), (8, 8), 4),
    ((1, -1, -1, 3), (DYNAMIC, DYNAMIC), 1),
    ((-1, -1, -1, 3), (DYNAMIC, DYNAMIC), 1),
]


@pytest.mark.parametrize(("shape", "size", "max_batch"), SHAPES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_pictures_of_every_shape(
    tmp_path: Path, shape: tuple[int, ...], size: tuple[int, int], max_batch: int, count: int
) -> None:
    model = compile_file(tiny_tflite.means(tmp_path / "m.tflite", shape), lanes=2)
    [spec] = model.inputs
    assert (spec.name, spec.kind, spec.layout, spec.dtype) == (
        "images",
        TensorKind.IMAGE,
        Layout.NHWC,
        "float32",
    )
    assert (spec.image_size, spec.channels, model.max_batch_size) == (size, shape[3], max_batch)

    lane = model.open_lane()
    rng = np.random.default_rng(count)
    for side in (5, 9) if DYNAMIC in size else (0,):  # one lane, pictures of one size and then another
        run_shape = [1, *(axis if axis > 0 else side for axis in spec.shape[1:])]
        batch = [{"images": rng.random(run_shape, np.float32)} for _ in range(count)]
        for item, result in zip(batch, lane.infer(batch), strict=True):
            np.testing.assert_allclose(result["means"], item["images"].mean(axis=(1, 2)), rtol=1e-5)


# dtype, scale, zero point, what the house sees, offset of a pixel
PIXELS = [
    ("uint8", 1 / 255, 0, "uint8", 0),
    ("uint8", 1 / 128, 128, "uint8", 0),
    ("int8", 1 / 255, -128, "int8", -128),
    ("int8", 1 / 127.5, 0, "int8", -128),
    ("int8", 0.0187, -14, "float32", None),
    ("uint8", 0.0187, 114, "float32", None),
    ("int16", 1 / 32768, 0, "float32", None),
]


@pytest.mark.parametrize(("dtype", "scale", "zero_point", "shown", "offset"), PIXELS)
def test_quantised_models_give_and_take_real_numbers_or_pixels(
    tmp_path: Path, dtype: str, scale: float, zero_point: int, shown: str, offset: int | None
) -> None:
    quantised = {"dtype": dtype, "scale": scale, "zero_point": zero_point}
    path = tiny_tflite.means(tmp_path / "m.tflite", image=quantised, answer=quantised)
    model = compile_file(path)
    assert (model.inputs[0].dtype, model.outputs[0].dtype) == (shown, "float32")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3))
    if offset is None:
        real = (pixels / 255).astype(np.float32)
        [result] = model.open_lane().infer([{"images": real}])
    else:
        real = (pixels + offset - zero_point) * scale
        [result] = model.open_lane().infer([{"images": (pixels + offset).astype(dtype)}])
    assert result["means"].dtype == np.float32
    np.testing.assert_allclose(result["means"], real.mean(axis=(1, 2)), atol=scale)


def test_real_numbers_beyond_the_range_are_limited_and_nan_is_no_crash(tmp_path: Path) -> None:
    quantised = {"dtype": "int8", "scale": 0.02, "zero_point": -14}
    model = compile_file(tiny_tflite.means(tmp_path / "m.tflite", image=quantised, answer=quantised))
    lane = model.open_lane()
    for value, wanted in [(1e30, 2.82), (-1e30, -2.28), (np.inf, 2.82)]:
        [result] = lane.infer([{"images": np.full((1, 8, 8, 3), value, np.float32)}])
        np.testing.assert_allclose(result["means"], wanted, rtol=1e-5)
    assert lane.infer([{"images": np.full((1, 8, 8, 3), np.nan, np.float32)}])


def test_names_are_those_of_the_signature(tmp_path: Path) -> None:
    path = tiny_tflite.means(tmp_path / "m.tflite", signature_names={"x": "images", "y": "means"})
    model = compile_file(path)
    assert ([spec.name for spec in model.inputs], [spec.name for spec in model.outputs]) == (["x"], ["y"])
    [result] = model.open_lane().infer([{"x": np.ones((1, 8, 8, 3), np.float32)}])
    assert (result["y"] == 1).all()


def test_several_inputs_in_their_kinds(tmp_path: Path) -> None:
    options = (REDUCER_OPTIONS, tiny_tflite.schema.ReducerOptionsT(keepDims=False))
    path = tiny_tflite.save(
        tmp_path / "m.tflite",
        [
            Tensor("state", (2, 4)),
            Tensor("images", (1, 8, 8, 3)),
            Tensor("axes", (2,), "int32", data=np.array([1, 2], np.int32)),
            Tensor("means", (1, 3)),
            Tensor("rows", (1,), "int32", data=np.array([0], np.int32)),
            Tensor("sums", (4,)),
        ],
        [
            Operator(MEAN, ["images", "axes"], ["means"], options),
            Operator(MEAN, ["state", "rows"], ["sums"], options),
        ],
        ["state", "images"],
        ["means", "sums"],
    )
    model = compile_file(path)
    assert [spec.kind for spec in model.inputs] == [TensorKind.TENSOR, TensorKind.IMAGE]
    item = {"state": np.full((2, 4), 3, np.float32), "images": np.full((1, 8, 8, 3), 5, np.float32)}
    first, second = model.open_lane().infer([item, item])
    assert (second["means"].tolist(), second["sums"].tolist()) == ([[5.0] * 3], [3.0] * 4)
    assert first["means"] is not second["means"]


def test_types_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tiny_tflite.save(
        tmp_path / "m.tflite",
        [
            Tensor("words", (4,), "string"),
            Tensor("shape", (2,), "int32", data=np.array([2, 2], np.int32)),
            Tensor("same", (2, 2), "string"),
        ],
        [Operator(RESHAPE, ["words", "shape"], ["same"])],
        ["words"],
        ["same"],
    )
    with pytest.raises(ModelLoadError, match=r"numeric tensors .* words is"):
        compile_file(path)


BROKEN = [
    (b"", "is empty"),
    (b"hello world" * 10, "is not a TensorFlow Lite model, or is truncated or damaged"),
    (b"\x1c\0\0\0TFL3", "truncated"),
    (b"\x1c\0\0\0TFL3" + b"\xff" * 1000, "truncated or damaged"),
    (b"\x1c\0\0\0TFL2" + bytes(100), "is not a TensorFlow Lite model"),
    (b"\x08\0\0\0ORTM" + bytes(100), "is a model in ORT format, not a TensorFlow Lite model"),
    (b"PK\x03\x04" + bytes(100), "is a zip archive, as PyTorch models are"),
    (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
]


@pytest.mark.parametrize(("content", "text"), BROKEN)
def test_a_file_that_is_no_model_says_what_it_is(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError) as caught:
        compile_file(path)
    assert text in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_model_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no such file"):
        compile_file(tmp_path / "none.tflite")
    with pytest.raises(ModelLoadError, match="is a folder"):
        compile_file(tmp_path)


def test_an_operator_that_the_library_does_not_have(tmp_path: Path) -> None:
    path = tiny_tflite.save(
        tmp_path / "m.tflite",
        [Tensor("images", (1, 8, 8, 3)), Tensor("out", (1, 3))],
        [Operator("NoSuchOperator", ["images"], ["out"])],
        ["images"],
        ["out"],
    )
    with pytest.raises(ModelLoadError, match="NoSuchOperator"):
        compile_file(path)


def test_a_size_that_the_model_cannot_take_fails_the_run_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tiny_tflite.save(
        tmp_path / "m.tflite",
        [
            Tensor("images", (1, 1, 1, 3), signature=(1, -1, -1, 3)),
            Tensor("shape", (2,), "int32", data=np.array([1, 12], np.int32)),
            Tensor("flat", (1, 12)),
        ],
        [Operator(RESHAPE, ["images", "shape"], ["flat"])],
        ["images"],
        ["flat"],
    )
    lane = compile_file(path).open_lane()
    good = [{"images": np.ones((1, 2, 2, 3), np.float32)}]
    assert lane.infer(good)[0]["flat"].shape == (1, 12)
    capfd.readouterr()
    for _ in range(2):
        with pytest.raises(InferenceError, match=r"(?i)reshape"):
            lane.infer([{"images": np.ones((1, 5, 5, 3), np.float32)}])
        assert lane.infer(good)[0]["flat"].shape == (1, 12)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("used", [False, True])
def test_a_closed_model_fails_its_lanes(tmp_path: Path, used: bool) -> None:
    model = compile_file(tiny_tflite.means(tmp_path / "m.tflite"))
    lane, item = model.open_lane(), [{"images": np.zeros((1, 8, 8, 3), np.float32)}]
    if used:
        lane.infer(item)
    model.close()
    for each in (lane, model.open_lane()):
        with pytest.raises(InferenceError, match="closed"):
            each.infer(item)


def test_results_outlive_the_model(tmp_path: Path) -> None:
    model = compile_file(tiny_tflite.means(tmp_path / "m.tflite"))
    lane = model.open_lane()
    [result] = lane.infer([{"images": np.ones((1, 8, 8, 3), np.float32)}])
    model.close()
    del lane, model
    gc.collect()
    assert (result["means"] == 1).all()


class LibraryDouble(ModuleType):
    """Stands for a library's module: what a process without the other one imports."""


def test_the_older_library_serves_where_the_newer_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    double = LibraryDouble("tflite_runtime.interpreter")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", double)
    assert import_library() is double
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", None)
    with pytest.raises(ImportError, match="ai_edge_litert"):
        import_library()


def test_the_newer_library_comes_first() -> None:
    assert import_library().__name__ == LIBRARIES[0] == "ai_edge_litert.interpreter"


class DelegateDouble:
    """Stands for a delegate that is there; without nodes to run it leaves the model as it is."""


class InterpreterDouble:
    """The real interpreter, but for delegates, which no test machine has."""

    def __init__(self, real: Callable[..., Any], refuses: bool) -> None:
        self.real = real
        self.refuses = refuses
        self.given: list[object] = []

    def __call__(self, *, experimental_delegates: object, **settings: Any) -> Any:
        self.given.append(experimental_delegates)
        if experimental_delegates and self.refuses:
            raise RuntimeError("ModifyGraphWithDelegate\nfailed")
        return self.real(**settings)


@pytest.mark.parametrize("refuses", [False, True])
def test_a_delegate_drives_the_model_or_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    library = import_library()
    interpreters = InterpreterDouble(library.Interpreter, refuses)
    loadable = DelegateDevice((_ctypes.__file__,), "reinstall Python")
    monkeypatch.setitem(DELEGATES, "gpu", loadable)
    monkeypatch.setattr(library, "load_delegate", lambda _: DelegateDouble())
    monkeypatch.setattr(library, "Interpreter", interpreters)
    model = compile_file(tiny_tflite.means(tmp_path / "m.tflite"), device="GPU")
    item = [{"images": np.ones((1, 8, 8, 3), np.float32)}]
    assert all((model.open_lane().infer(item)[0]["means"] == 1).all() for _ in range(2))
    if refuses:
        assert (model.device.asked, model.device.effective) == ("GPU", "cpu")
        assert model.device.fallback_reason == "the gpu delegate failed: ModifyGraphWithDelegate failed"
        assert interpreters.given[1:] == [None, None]
    else:
        assert (model.device.effective, model.device.fallback_reason) == ("gpu", None)
        first, second = interpreters.given
        assert first[0] is not second[0], "each interpreter has a delegate of its own"


@pytest.mark.parametrize("device", ["gpu", "edgetpu", "Coral", "npu"])
def test_a_device_that_is_not_here_runs_on_the_cpu_and_says_why(tmp_path: Path, device: str) -> None:
    model = compile_file(tiny_tflite.means(tmp_path / "m.tflite"), device=device)
    assert (model.device.asked, model.device.effective) == (device, "cpu")
    assert model.device.fallback_reason
    assert "\n" not in model.device.fallback_reason
    assert model.open_lane().infer([{"images": np.zeros((1, 8, 8, 3), np.float32)}])


# file, image size, dtype of the image, labels, task
REAL: list[tuple[str, tuple[int, int], str, int, str | None]] = [
    ("tflite/yolov8n_int8_dynamic_floatio", (640, 640), "float32", 80, "detect"),
    ("tflite/yolov8n_full_integer_quant", (640, 640), "float32", 80, "detect"),
    ("tflite/ssd_mobilenet_v1_coco_quant", (300, 300), "uint8", 90, None),
    ("tflite/mobilenet_v1_0.25_224_quant", (224, 224), "uint8", 1001, None),
    ("tflite/movenet_singlepose_lightning_int8", (192, 192), "uint8", 0, None),
    ("tflite/deeplabv3_pascal", (257, 257), "float32", 21, None),
    ("mediapipe/blaze_face_short_range", (128, 128), "float32", 0, None),
    ("mediapipe/selfie_segmenter", (256, 256), "float32", 0, None),
]


@pytest.mark.parametrize(("name", "size", "dtype", "labels", "task"), REAL)
def test_real_models(
    shared_data: Path, name: str, size: tuple[int, int], dtype: str, labels: int, task: str | None
) -> None:
    model = compile_file(shared_data / "models" / f"{name}.tflite")
    [image] = model.inputs
    assert (image.kind, image.layout, image.image_size) == (TensorKind.IMAGE, Layout.NHWC, size)
    assert (image.dtype, len(model.metadata.labels), model.metadata.task) == (dtype, labels, task)
    if task:
        assert (model.metadata.stride, model.metadata.image_size) == (32, size)
    [result] = model.open_lane().infer([{image.name: np.zeros(image.shape, dtype)}])
    assert {key: tensor.shape for key, tensor in result.items()} == {
        spec.name: spec.shape for spec in model.outputs
    }
    assert all(tensor.dtype == np.float32 for tensor in result.values())


def test_four_lanes_at_once_give_what_one_gives(shared_data: Path) -> None:
    path = shared_data / "models/tflite/mobilenet_v1_0.25_224_quant.tflite"
    model = compile_file(path, lanes=4)
    rng = np.random.default_rng(0)
    batch = [{"input": rng.integers(0, 256, (1, 224, 224, 3), np.uint8)} for _ in range(25)]
    expected = model.open_lane().infer(batch)

    def run(_lane: int) -> list[Mapping[str, Any]]:
        return model.open_lane().infer(batch)

    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(run, range(4)):
            for result, wanted in zip(results, expected, strict=True):
                for name, tensor in result.items():
                    np.testing.assert_array_equal(tensor, wanted[name])
