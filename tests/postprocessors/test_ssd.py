"""`ssd`: which output is which, labels and backgrounds, and outputs as nobody should make them."""

import numpy as np
import pytest
from contract import tiny_tflite

from model_files import ModelFiles
from postprocessors import bind
from postprocessors.base import (
    NonFiniteOutputError,
    PostprocessContext,
    PostprocessorError,
    PostprocessorSettings,
    ResultOptions,
    UnknownClassError,
    UnknownFamilyError,
)
from preprocess.frame import Transform
from preprocess.options import ChannelOrder
from runtimes.litert import LitertRuntime
from runtimes.metadata import read_metadata
from runtimes.options import RuntimeOptions
from runtimes.spec import Layout, ModelDescription, TensorKind, TensorSpec

ROLES = "b\nc\ns\nn"
SHAPES = {"b": (1, 3, 4), "c": (1, 3), "s": (1, 3), "n": (1,)}


def describe(shapes=None, labels="['cat', 'dog', 'bird']", channels=3, **properties):
    image = TensorSpec("images", (1, 64, 64, channels), "uint8", TensorKind.IMAGE, Layout.NHWC)
    outputs = tuple(TensorSpec(name, shape, "float32") for name, shape in (shapes or SHAPES).items())
    told = {"names": labels, "detectionOutputs": ROLES} | properties
    return ModelDescription((image,), outputs, read_metadata(told))


def outputs(boxes=None, classes=(0, 1, 2), scores=(0.9, 0.8, 0.7), count=3.0):
    boxes = boxes or [[0.25, 0.5, 0.75, 1.0]] * 3
    return {
        "b": np.array([boxes], np.float32),
        "c": np.array([classes], np.float32),
        "s": np.array([scores], np.float32),
        "n": np.array([count], np.float32),
    }


def detect(model, tensors, labels=(), **options):
    transform = Transform(64, 32, (0, 0, 64, 32), 1.0, 2.0, 0.0, 0.0, 64, 64)
    bound = bind("ssd", model, PostprocessorSettings(labels))
    return bound.run(tensors, PostprocessContext(transform, ResultOptions(**options))).detections


def names(detections):
    return [(each.class_id, each.class_name) for each in detections]


def test_boxes_are_in_pixels_of_the_source_best_first():
    found = detect(describe(), outputs(scores=(0.7, 0.9, 0.8)))
    assert [each.score for each in found] == [0.9, 0.8, 0.7]
    assert [each.bbox for each in found] == [[32.0, 8.0, 32.0, 16.0]] * 3
    assert names(found) == [(1, "dog"), (2, "bird"), (0, "cat")]


@pytest.mark.parametrize("background", ["???", "background", "Background"])
def test_a_label_map_that_begins_with_the_background(background):
    labels = (background, "cat", "dog", "bird")
    for model, override in ((describe(labels=str(list(labels))), ()), (describe(), labels)):
        bound = bind("ssd", model, PostprocessorSettings(override))
        assert bound.labels == ("cat", "dog", "bird")
        assert names(detect(model, outputs(), override)) == [(0, "cat"), (1, "dog"), (2, "bird")]


def test_classes_without_a_name():
    found = detect(describe(labels="['cat', '???']"), outputs())
    assert [each.class_id for each in found] == [0, 1, 2]
    assert [isinstance(each.class_name, str) for each in found] == [True, False, False]


@pytest.mark.parametrize(
    ("options", "classes"),
    [
        ({"confidence": 0.75}, [0, 1]),
        ({"confidence": 0.95}, []),
        ({"classes": ("bird", 0)}, [0, 2]),
        ({"classes": ()}, []),
        ({"max_detections": 1}, [0]),
        ({"max_detections": 0}, []),
    ],
)
def test_options(options, classes):
    assert [each.class_id for each in detect(describe(), outputs(), **options)] == classes


@pytest.mark.parametrize("wanted", ["fish", 3, -1])
def test_a_class_that_the_model_does_not_have(wanted):
    with pytest.raises(UnknownClassError):
        detect(describe(), outputs(), classes=(wanted,))


@pytest.mark.parametrize(("count", "rows"), [(0, 0), (2, 2), (3, 3), (7, 3), (-1, 0)])
def test_only_the_rows_that_the_model_has_filled_count(count, rows):
    tensors = outputs(count=count)
    tensors["s"][0, rows:] = np.nan
    assert len(detect(describe(), tensors)) == rows


@pytest.mark.parametrize("name", ["b", "c", "s"])
def test_no_numbers_are_no_detections(name):
    tensors = outputs()
    tensors[name].reshape(-1)[0] = np.nan
    with pytest.raises(NonFiniteOutputError):
        detect(describe(), tensors)


def test_a_box_that_does_not_count_may_hold_anything():
    tensors = outputs(boxes=[[np.nan] * 4, [0, 0, 1, 1], [0.5, 2, 0.6, 3]], scores=(0.1, 0.9, 0.8))
    assert [each.bbox for each in detect(describe(), tensors)] == [[0.0, 0.0, 64.0, 32.0]]


@pytest.mark.parametrize(
    "wrong",
    [{"b": np.zeros((1, 2, 4))}, {"c": np.zeros((1, 2))}, {"s": np.zeros(3)}, {"n": np.zeros(0)}],
)
def test_outputs_of_other_shapes(wrong):
    with pytest.raises(PostprocessorError, match="not those of one picture"):
        detect(describe(), outputs() | wrong)


NAMED = [
    ("detection_boxes", "detection_classes", "detection_scores", "num_detections"),
    ("TFLite_Detection_PostProcess", *(f"TFLite_Detection_PostProcess:{n}" for n in (1, 2, 3))),
]


@pytest.mark.parametrize("four", NAMED)
def test_the_usual_names_tell_where_the_file_does_not(four):
    shapes = dict(zip(reversed(four), reversed(SHAPES.values()), strict=True))
    tensors = dict(zip(four, outputs().values(), strict=True))
    assert len(detect(describe(shapes, detectionOutputs=""), tensors)) == 3


def test_a_model_that_does_not_say_which_output_is_which_is_refused():
    with pytest.raises(UnknownFamilyError, match=r"nothing says which of the outputs b \[1, 3, 4\], c"):
        bind("ssd", describe(detectionOutputs=""))


def test_yolo_refuses_it():
    with pytest.raises(UnknownFamilyError, match="not a YOLO detector"):
        bind("yolo", describe())


def test_pictures_are_normalised_as_the_file_says():
    assert bind("ssd", describe()).recipe.scale == (1 / 127.5,)
    told = bind("ssd", describe(normalizationMean="[0, 1, 2]", normalizationStd="[255, 255, 128]")).recipe
    assert (told.mean, told.scale) == ((0, 1, 2), (1 / 255, 1 / 255, 1 / 128))
    assert bind("ssd", describe(channels=1)).recipe.channels is ChannelOrder.GRAY


def test_from_a_file_to_detections(tmp_path):
    path = tiny_tflite.ssd(
        tmp_path / "m.tflite",
        np.array([[0.1, 0.2, 0.5, 0.6], [0.6, 0.6, 0.9, 0.9]]),
        np.array([[0.1, 0.9], [0.8, 0.0]]),
        metadata=tiny_tflite.describe("labels.txt", [127.5], [127.5]),
        tail={"labels.txt": "cat\ndog\n"},
    )
    model = LitertRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions())
    bound = bind("ssd", ModelDescription(model.inputs, model.outputs, model.metadata))
    [result] = model.open_lane().infer([{"images": np.zeros((1, 8, 8, 3), np.uint8)}])
    transform = Transform(100, 100, (0, 0, 100, 100), 0.08, 0.08, 0.0, 0.0, 8, 8)
    found = bound.run(result, PostprocessContext(transform, ResultOptions())).detections
    assert names(found) == [(1, "dog"), (0, "cat")]
    assert [each.score for each in found] == pytest.approx([0.9, 0.8], abs=1e-3)
    assert found[0].bbox == pytest.approx([20, 10, 40, 40], abs=0.1)
    assert found[1].bbox == pytest.approx([60, 60, 30, 30], abs=0.1)
