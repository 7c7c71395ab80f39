"""How Core ML models are run, against a double: no test here has run on a Mac."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools", reason="coremltools is not installed")

from contract.coreml_double import LibraryDouble, PictureDouble
from coremltools.proto import FeatureTypes_pb2, Model_pb2

from model_files import ModelFiles
from runtimes.base import CompiledModel
from runtimes.coreml import CoreMLRuntime
from runtimes.coreml_library import InstalledLibrary
from runtimes.errors import InferenceError, RuntimeUnavailableError
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, TensorKind

Colors = FeatureTypes_pb2.ImageFeatureType
Arrays = FeatureTypes_pb2.ArrayFeatureType


def new_spec(kind: str = "neuralNetwork"):
    spec = Model_pb2.Model(specificationVersion=7)
    getattr(spec, kind).SetInParent()
    return spec


def add_image(spec, color: int = Colors.RGB) -> None:
    image = spec.description.input.add(name="image").type.imageType
    image.width, image.height, image.colorSpace = 8, 6, color


def add_array(features, name: str, shape: tuple[int, ...], dtype: int = Arrays.FLOAT32):
    array = features.add(name=name).type.multiArrayType
    array.shape.extend(shape)
    array.dataType = dtype
    return array


def picture_model(color: int = Colors.RGB):
    spec = new_spec()
    add_image(spec, color)
    add_array(spec.description.output, "out", (1, 2))
    return spec


def open_rows(array, most: int = -1) -> None:
    for axis, size in enumerate(array.shape):
        array.shapeRange.sizeRanges.add(lowerBound=size, upperBound=most if axis == 0 else size)


def compiled(tmp_path: Path, spec, library: LibraryDouble, **options: object) -> CompiledModel:
    path = tmp_path / "m.mlmodel"
    path.write_bytes(spec.SerializeToString())
    return CoreMLRuntime(library).compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions(**options))


def brightest(item: dict[str, Any]) -> dict[str, Any]:
    pixels = item["image"].pixels
    return {"out": np.array([[pixels.max(), pixels.min()]], np.float32)}


def bytes_of(value: int, channels: int = 3) -> dict[str, np.ndarray]:
    return {"image": np.full((1, 6, 8, channels), value, np.uint8)}


@pytest.mark.parametrize(
    ("color", "channels", "mode", "shape", "dtype"),
    [
        (Colors.RGB, 3, "RGB", (6, 8, 3), "uint8"),
        (Colors.BGR, 3, "RGB", (6, 8, 3), "uint8"),
        (Colors.GRAYSCALE, 1, "L", (6, 8), "uint8"),
        (Colors.GRAYSCALE_FLOAT16, 1, "F", (6, 8), "float32"),
    ],
)
def test_pictures_stay_bytes(
    tmp_path: Path, color: int, channels: int, mode: str, shape: tuple[int, ...], dtype: str
) -> None:
    library = LibraryDouble(brightest)
    model = compiled(tmp_path, picture_model(color), library)
    item = bytes_of(9, channels)
    [result] = model.open_lane().infer([item])
    picture = library.model.calls[0]["image"]
    assert (picture.mode, picture.pixels.shape, picture.pixels.dtype) == (mode, shape, dtype)
    assert np.shares_memory(picture.pixels, item["image"]) == (dtype == "uint8")
    np.testing.assert_array_equal(result["out"], [[9, 9]])


@pytest.mark.parametrize("count", [0, 1, 2, 33, 70])
def test_pictures_of_a_batch_are_a_list(tmp_path: Path, count: int) -> None:
    library = LibraryDouble(brightest)
    model = compiled(tmp_path, picture_model(), library)
    assert (model.max_batch_size, model.inputs[0].shape[0]) == (32, DYNAMIC)
    results = model.open_lane().infer([bytes_of(value) for value in range(count)])
    assert [float(result["out"][0, 0]) for result in results] == list(range(count))
    sizes = [len(call) if isinstance(call, list) else 1 for call in library.model.calls]
    assert sum(sizes) == count
    assert max(sizes, default=0) <= 32


def test_rows_of_an_open_axis_are_one_call(tmp_path: Path) -> None:
    spec = new_spec()
    open_rows(add_array(spec.description.input, "x", (1, 3, 8, 8)), 5)
    open_rows(add_array(spec.description.output, "y", (1, 3)), 5)
    library = LibraryDouble(lambda item: {"y": item["x"].mean((2, 3))})
    model = compiled(tmp_path, spec, library)
    assert model.max_batch_size == 5
    lane = model.open_lane()
    batch = [{"x": np.full((1, 3, 8, 8), value, np.float32)} for value in range(7)]
    assert [float(result["y"][0, 0]) for result in lane.infer(batch)] == list(range(7))
    assert all(isinstance(call, dict) for call in library.model.calls)
    assert library.model.calls[0]["x"].shape[0] == 5


def test_listed_rows_are_padded_to(tmp_path: Path) -> None:
    spec = new_spec()
    for array in (
        add_array(spec.description.input, "x", (1, 5)),
        add_array(spec.description.output, "y", (1, 5)),
    ):
        for rows in (1, 4):
            array.enumeratedShapes.shapes.add(shape=(rows, 5))
    library = LibraryDouble(lambda item: {"y": item["x"] * 2})
    model = compiled(tmp_path, spec, library)
    assert model.max_batch_size == 4
    results = model.open_lane().infer([{"x": np.full((1, 5), value, np.float32)} for value in range(3)])
    assert [float(result["y"][0, 0]) for result in results] == [0, 2, 4]
    assert {call["x"].shape[0] for call in library.model.calls} == {4, 1}


def test_a_fixed_number_of_rows_is_padded_to(tmp_path: Path) -> None:
    spec = new_spec()
    add_array(spec.description.input, "x", (4, 3, 8, 8))
    add_array(spec.description.output, "y", (4, 3, 8, 8))
    library = LibraryDouble(lambda item: {"y": item["x"].copy()})
    model = compiled(tmp_path, spec, library)
    assert model.max_batch_size == 4
    results = model.open_lane().infer([{"x": np.full((1, 3, 8, 8), v, np.float32)} for v in range(3)])
    assert [float(result["y"].max()) for result in results] == [0, 1, 2]
    assert len(library.model.calls) == 1


def test_arrays_are_held_by_the_lane_and_16_bits_are_widened(tmp_path: Path) -> None:
    spec = new_spec()
    add_array(spec.description.input, "x", (3, 6, 8), Arrays.FLOAT16)
    add_array(spec.description.output, "y", (3,), Arrays.FLOAT16)
    library = LibraryDouble(lambda item: {"y": item["x"].mean((1, 2))})
    model = compiled(tmp_path, spec, library)
    assert (model.inputs[0].dtype, model.outputs[0].dtype) == ("float16", "float32")
    lane = model.open_lane()
    for value in (1, 2):
        [result] = lane.infer([{"x": np.full((1, 3, 6, 8), value, np.float16)}])
        np.testing.assert_array_equal(result["y"], [[value] * 3])
    first, second = (call["x"] for call in library.model.calls)
    assert first is second
    assert (first.dtype, first.shape) == ("float32", (3, 6, 8))


def test_thresholds_are_filled_in(tmp_path: Path) -> None:
    spec = picture_model()
    for name in ("iouThreshold", "confidenceThreshold"):
        spec.description.input.add(name=name).type.doubleType.SetInParent()
    library = LibraryDouble(brightest)
    model = compiled(tmp_path, spec, library)
    assert [(item.name, item.kind) for item in model.inputs] == [("image", TensorKind.IMAGE)]
    model.open_lane().infer([bytes_of(1)])
    [call] = library.model.calls
    assert (call["iouThreshold"], call["confidenceThreshold"]) == (0.45, 0.25)


def test_every_kind_of_output(tmp_path: Path) -> None:
    spec = new_spec("neuralNetworkClassifier")
    spec.neuralNetworkClassifier.stringClassLabels.vector.extend(["cat", "dog"])
    add_image(spec)
    outputs = spec.description.output
    outputs.add(name="label").type.stringType.SetInParent()
    outputs.add(name="scores").type.dictionaryType.stringKeyType.SetInParent()
    outputs.add(name="count").type.int64Type.SetInParent()
    picture = outputs.add(name="mask").type.imageType
    picture.width, picture.height, picture.colorSpace = 4, 3, Colors.GRAYSCALE
    boxes = add_array(outputs, "boxes", ())
    for low, high in ((0, -1), (4, 4)):
        boxes.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
    answer = {
        "label": "dog",
        "scores": {"dog": 0.75, "cat": 0.25},
        "count": 2,
        "mask": PictureDouble(np.ones((3, 4), np.uint8), "L"),
        "boxes": np.zeros((2, 4)),
    }
    model = compiled(tmp_path, spec, LibraryDouble(lambda _: answer))
    [result] = model.open_lane().infer([bytes_of(1)])
    assert list(result) == [item.name for item in model.outputs] == ["scores", "count", "mask", "boxes"]
    np.testing.assert_allclose(result["scores"], [[0.25, 0.75]])
    assert {name: (tensor.shape, str(tensor.dtype)) for name, tensor in result.items()} == {
        "scores": ((1, 2), "float32"),
        "count": ((1, 1), "int64"),
        "mask": ((1, 3, 4, 1), "uint8"),
        "boxes": ((1, 2, 4), "float32"),
    }
    for item in model.outputs:
        assert all(a in {DYNAMIC, b} for a, b in zip(item.shape, result[item.name].shape, strict=True))


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"other": np.zeros((1, 6, 8, 3), np.uint8)},
        {"image": np.zeros((1, 6, 8, 3), np.float32)},
        {"image": np.zeros((1, 6, 4, 3), np.uint8)},
        {"image": np.zeros((2, 6, 8, 3), np.uint8)},
        {"image": np.zeros((6, 8, 3), np.uint8)},
    ],
)
def test_a_bad_item_is_an_inference_error_and_the_lane_lives_on(tmp_path: Path, bad: Any) -> None:
    lane = compiled(tmp_path, picture_model(), LibraryDouble(brightest)).open_lane()
    with pytest.raises(InferenceError):
        lane.infer([bytes_of(1), bad])
    assert len(lane.infer([bytes_of(1)])) == 1


def test_a_failing_predict_is_one_line_and_the_lane_lives_on(tmp_path: Path) -> None:
    def answer(item: dict[str, Any]) -> dict[str, Any]:
        if item["image"].pixels.max() == 7:
            raise Exception("Error computing\nNN outputs.")
        return brightest(item)

    lane = compiled(tmp_path, picture_model(), LibraryDouble(answer)).open_lane()
    with pytest.raises(InferenceError, match=r"^Error computing NN outputs\.$"):
        lane.infer([bytes_of(7)])
    assert len(lane.infer([bytes_of(1)])) == 1


@pytest.mark.parametrize("answer", [{}, {"out": "words"}, {"out": None}])
def test_an_answer_that_is_not_as_declared(tmp_path: Path, answer: dict[str, Any]) -> None:
    lane = compiled(tmp_path, picture_model(), LibraryDouble(lambda _: answer)).open_lane()
    with pytest.raises(InferenceError, match="the model"):
        lane.infer([bytes_of(1)])


def test_lanes_take_turns(tmp_path: Path) -> None:
    pause = threading.Event()

    def answer(item: dict[str, Any]) -> dict[str, Any]:
        pause.wait(0.002)
        return brightest(item)

    library = LibraryDouble(answer)
    model = compiled(tmp_path, picture_model(), library)

    def run() -> None:
        lane = model.open_lane()
        for _ in range(10):
            lane.infer([bytes_of(1)])

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(library.model.calls) == 30
    assert library.model.most_inside == 1


@pytest.mark.parametrize(
    ("device", "unit", "effective"), [("", "ALL", "all"), ("ANE", "CPU_AND_NE", "ane"), ("x", "ALL", "all")]
)
def test_the_device_that_was_asked_for(tmp_path: Path, device: str, unit: str, effective: str) -> None:
    library = LibraryDouble(brightest)
    report = compiled(tmp_path, picture_model(), library, device=device).device
    assert (library.unit, report.effective) == (unit, effective)
    assert (report.fallback_reason is None) == (device != "x")


def test_a_closed_model_fails_its_lanes(tmp_path: Path) -> None:
    model = compiled(tmp_path, picture_model(), LibraryDouble(brightest))
    lane = model.open_lane()
    model.close()
    model.close()
    with pytest.raises(InferenceError, match="closed"):
        lane.infer([bytes_of(1)])


def test_pictures_are_made_by_pillow_which_is_asked_for_where_it_is_missing() -> None:
    try:
        from PIL import Image
    except ImportError:
        with pytest.raises(RuntimeUnavailableError, match=r"Pillow.*pip install 'inferpipe\[coreml\]'"):
            InstalledLibrary().picture(np.zeros((2, 2), np.uint8), "L")
        return
    for pixels, mode in (
        (np.arange(18, dtype=np.uint8).reshape(2, 3, 3), "RGB"),
        (np.arange(6, dtype=np.uint8).reshape(2, 3), "L"),
        (np.arange(6, dtype=np.float32).reshape(2, 3), "F"),
    ):
        picture = InstalledLibrary().picture(pixels, mode)
        assert isinstance(picture, Image.Image)
        assert (picture.mode, picture.size) == (mode, (3, 2))
        np.testing.assert_array_equal(np.asarray(picture), pixels)
