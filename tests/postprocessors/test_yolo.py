"""Options, geometry and checks of a bound YOLO postprocessor."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from postprocessors import bind
from postprocessors.base import (
    NonFiniteOutputError,
    PostprocessContext,
    PostprocessorError,
    ResultOptions,
    UnknownClassError,
)
from preprocess.frame import Transform

ANCHORS = 64 + 16 + 4  # 64x64 pixels at strides 8, 16 and 32
NAMES = {"names": "['cat', 'dog', 'cat']"}
A, A_SHIFTED, FAR = (20, 20, 20, 20), (22, 20, 20, 20), (50, 50, 10, 10)


def head(*objects, classes=3):
    """A yolov8 output with objects of (centre x, centre y, width, height), score and class."""
    output = np.zeros((1, 4 + classes, ANCHORS), np.float32)
    output[:, :4] = np.linspace(4, 60, ANCHORS)
    for index, (box, score, class_id) in enumerate(objects):
        output[0, :4, index * 3] = box
        output[0, 4 + class_id, index * 3] = score
    return {"output0": output}


@pytest.fixture
def detect(describe, context):
    """Decode a yolov8 output of three classes with options; the picture is the tensor."""
    bound = bind("yolov8", describe((-1, 7, ANCHORS), **NAMES))

    def run(outputs, **options):
        return bound.run(outputs, context(**options)).detections

    return run


def brief(found):
    return [(each.class_id, each.score) for each in found]


def test_a_detection_has_box_score_class_and_name(detect):
    (found,) = detect(head((A, 0.8, 1)))
    assert msgspec.to_builtins(found) == {
        "bbox": [10.0, 10.0, 20.0, 20.0],
        "score": 0.8,
        "classId": 1,
        "className": "dog",
    }


def test_without_labels_there_is_no_name(describe, context):
    bound = bind("yolov8", describe((1, 7, ANCHORS)))
    (found,) = bound.run(head((A, 0.8, 1)), context()).detections
    assert msgspec.to_builtins(found).keys() == {"bbox", "score", "classId"}


def test_a_class_beyond_the_labels_has_no_name(describe, context):
    bound = bind("yolov10", describe((1, 300, 6), **NAMES))
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0], rows[0, 1] = (10, 10, 30, 30, 0.9, 7), (10, 10, 30, 30, 0.8, 3)
    names = [found.class_name for found in bound.run({"output0": rows}, context()).detections]
    assert names == [msgspec.UNSET, msgspec.UNSET]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [(0, 0.9), (1, 0.8), (1, 0.5)]),
        ({"confidence": 0.5}, [(0, 0.9), (1, 0.8), (1, 0.5)]),
        ({"confidence": 0.51}, [(0, 0.9), (1, 0.8)]),
        ({"confidence": 0.1}, [(0, 0.9), (1, 0.8), (1, 0.5), (2, 0.2)]),
        ({"confidence": 1.0}, []),
        ({"agnostic": True}, [(0, 0.9), (1, 0.5)]),
        ({"agnostic": True, "iou": 0.95}, [(0, 0.9), (1, 0.8), (1, 0.5)]),
        ({"max_detections": 2}, [(0, 0.9), (1, 0.8)]),
        ({"max_detections": 0}, []),
        ({"classes": (1,)}, [(1, 0.8), (1, 0.5)]),
        ({"classes": ("dog",)}, [(1, 0.8), (1, 0.5)]),
        ({"classes": ("cat",), "confidence": 0.1}, [(0, 0.9), (2, 0.2)]),
        ({"classes": (0, "dog"), "max_detections": 2}, [(0, 0.9), (1, 0.8)]),
        ({"classes": (1,), "agnostic": True}, [(1, 0.8), (1, 0.5)]),
        ({"classes": ()}, []),
    ],
)
def test_options(detect, options, expected):
    outputs = head((A, 0.8, 1), (A_SHIFTED, 0.9, 0), (FAR, 0.5, 1), ((8, 50, 6, 6), 0.2, 2))
    assert brief(detect(outputs, **options)) == expected


@pytest.mark.parametrize("classes", [("bird",), ("dog", "bird"), (3,), (-1,), ("Dog",)])
def test_classes_that_the_model_does_not_have_are_the_requests_fault(detect, classes):
    with pytest.raises(UnknownClassError, match="the model has no class"):
        detect(head(), classes=classes)


def test_any_class_id_may_be_asked_for_where_their_number_is_unknown(describe, context):
    bound = bind("yolov10", describe((1, 300, 6)))
    assert bound.run({"output0": np.zeros((1, 300, 6))}, context(classes=(500,))).detections == []


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 20, 10), [0, 0, 10, 5]),
        ((60, 60, 20, 20), [50, 50, 14, 14]),
        ((32, 32, 500, 500), [0, 0, 64, 64]),
        ((-20, 30, 20, 20), None),
        ((80, 30, 20, 20), None),
        ((30, 30, 0, 20), None),
        ((30, 30, 20, 0.001), None),
        ((30, 30, -5, 20), None),
    ],
)
def test_boxes_are_clipped_and_dropped_where_nothing_is_left(detect, box, expected):
    assert [found.bbox for found in detect(head((box, 0.9, 0)))] == ([expected] if expected else [])


def test_boxes_come_back_through_letterbox_and_roi(describe):
    # 64x64 tensor of the right half of a 400x100 picture: 200x100 scaled by 0.32, 16 pixels above.
    transform = Transform(400, 100, (200, 0, 200, 100), 0.32, 0.32, 0, 16, 64, 64)
    bound = bind("yolov8", describe((1, 7, ANCHORS), **NAMES))
    context = PostprocessContext(transform, ResultOptions())
    (found,) = bound.run(head(((32, 32, 16, 16), 0.9, 0)), context).detections
    assert found.bbox == [275.0, 25.0, 50.0, 50.0]


def test_numbers_are_short_and_borders_exact(describe):
    transform = Transform(1000, 700, (0, 0, 1000, 700), 0.064, 0.064, 0, 9.6, 64, 64)
    bound = bind("yolov8", describe((1, 7, ANCHORS), **NAMES))
    outputs = head(((61.1, 50.3, 13.7, 7.77), 0.123456, 0))
    (found,) = bound.run(outputs, PostprocessContext(transform, ResultOptions(confidence=0.1))).detections
    assert found.score == 0.1235
    assert all(number == round(number, 2) for number in found.bbox)
    assert found.bbox[0] + found.bbox[2] == 1000


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types(describe, context, dtype):
    bound = bind("yolov8", describe((1, 7, ANCHORS), dtype=np.dtype(dtype).name, **NAMES))
    outputs = {"output0": head((A, 0.75, 1))["output0"].astype(dtype)}
    (found,) = bound.run(outputs, context()).detections
    assert (found.bbox, found.score) == ([10, 10, 20, 20], 0.75)


def test_a_transposed_output_is_the_same(describe, context):
    outputs = head((A, 0.8, 1), (FAR, 0.7, 0))
    straight = bind("yolo", describe((1, 7, ANCHORS), **NAMES)).run(outputs, context())
    turned = {"output0": outputs["output0"].transpose(0, 2, 1)}
    assert bind("yolo", describe((1, ANCHORS, 7), **NAMES)).run(turned, context()) == straight


@pytest.mark.parametrize(
    ("name", "announced", "shape"),
    [
        ("yolov8", (1, 7, ANCHORS), (1, 8, ANCHORS)),
        ("yolov8", (1, 7, ANCHORS), (2, 7, ANCHORS)),
        ("yolov8", (1, 7, ANCHORS), (7, ANCHORS)),
        ("yolov8", (-1, -1, -1), (1, 4, ANCHORS)),
        ("yolov8", (-1, -1, -1), (1, ANCHORS, 7)),
        ("yolov5", (-1, -1, -1), (1, 3 * ANCHORS, 5)),
        ("yolov10", (1, -1, -1), (1, 300, 7)),
        ("yolox", (1, -1, 8), (1, 300, 8)),
    ],
)
def test_an_output_that_was_not_announced_is_refused(describe, context, name, announced, shape):
    bound = bind(name, describe(announced))
    with pytest.raises(PostprocessorError):
        bound.run({"output0": np.zeros(shape, np.float32)}, context())


@pytest.mark.parametrize("shape", [(1, 7, ANCHORS), (1, 7, 0)])
def test_nothing_there_is_nothing_found(describe, context, shape):
    bound = bind("yolov8", describe((1, 7, -1), **NAMES))
    assert bound.run({"output0": np.zeros(shape, np.float32)}, context()).detections == []


def test_one_nan_score_among_thousands_is_an_error(detect):
    outputs = head((A, 0.8, 1))
    outputs["output0"][0, 6, 80] = math.nan
    with pytest.raises(NonFiniteOutputError):
        detect(outputs)


def test_the_output_is_left_as_it_was(detect):
    outputs = head((A, 0.8, 1), (FAR, 0.7, 0))
    before = outputs["output0"].copy()
    outputs["output0"].flags.writeable = False
    first = detect(outputs)
    assert detect(outputs) == first
    assert (outputs["output0"] == before).all()


ANY_FLOAT = (
    st.floats(width=32) | st.floats(0, 1, width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 3e38])
)
SHAPES = {
    "yolov5": (1, 3 * ANCHORS, 8),
    "yolov8": (1, 7, ANCHORS),
    "yolov10": (1, 20, 6),
    "yolox": (1, ANCHORS, 8),
}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(SHAPES)).flatmap(
        lambda name: st.tuples(st.just(name), arrays.arrays(np.float32, SHAPES[name], elements=ANY_FLOAT))
    ),
    st.floats(0, 1),
    st.floats(0, 1),
    st.booleans(),
)
def test_any_output_gives_proper_boxes_or_an_error_of_ours(
    describe, context, case, confidence, iou, agnostic
):
    name, output = case
    bound = bind(name, describe(SHAPES[name]))
    try:
        result = bound.run({"output0": output}, context(confidence=confidence, iou=iou, agnostic=agnostic))
    except PostprocessorError:
        return
    assert b"null" not in msgspec.json.encode(result)
    for found in result.detections:
        x, y, width, height = found.bbox
        assert min(x, y) >= 0
        assert min(width, height) > 0
        assert max(x + width, y + height) <= 64.005
        assert 0 <= found.score <= 1
    scores = [found.score for found in result.detections]
    assert scores == sorted(scores, reverse=True)
