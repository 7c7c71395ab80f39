"""Each family's decoder by hand-made outputs: one box where it can be worked out on paper."""

import math

import numpy as np
import pytest

from postprocessors import yolo_decode
from postprocessors.base import NonFiniteOutputError, PostprocessorError

SIZE = (64, 32)
ANCHORS = 8 * 4 + 4 * 2 + 2 * 1
BOX = (30.0, 10.0, 20.0, 12.0)
CORNERS = [20, 4, 40, 16]


def silent_v8(classes=3):
    """A head that sees nothing; its boxes cover the picture, as a real one's do."""
    output = np.zeros((4 + classes, ANCHORS), np.float32)
    output[:4] = np.linspace(4, 60, ANCHORS)
    return output


def silent_rows(columns):
    output = np.zeros((ANCHORS, columns), np.float32)
    output[:, :4] = np.linspace(4, 60, ANCHORS)[:, None]
    return output


def test_v8_takes_the_best_class_of_each_anchor():
    output = silent_v8()
    output[:, 17] = *BOX, 0.1, 0.75, 0.5
    found = yolo_decode.decode_yolov8(output, 0.25, SIZE)
    assert found.boxes.tolist() == [CORNERS]
    assert (found.scores.tolist(), found.class_ids.tolist()) == ([0.75], [1])


def test_v5_multiplies_objectness_and_class():
    output = silent_rows(8)
    output[5] = *BOX, 0.5, 0.1, 0.25, 0.75
    output[6] = *BOX, 0.9, 0.1, 0.2, 0.1
    found = yolo_decode.decode_yolov5(output, 0.25, SIZE)
    assert found.boxes.tolist() == [CORNERS]
    assert (found.scores.tolist(), found.class_ids.tolist()) == ([0.375], [2])


def test_v10_reads_rows_of_six():
    output = np.zeros((300, 6), np.float32)
    output[3] = *CORNERS, 0.5, 2
    output[0] = 0, 0, 9, 9, 0.125, 1
    found = yolo_decode.decode_yolov10(output, 0.25, SIZE)
    assert found.boxes.tolist() == [CORNERS]
    assert (found.scores.tolist(), found.class_ids.tolist()) == ([0.5], [2])


@pytest.mark.parametrize(
    ("anchor", "column", "row", "stride"),
    [(0, 0, 0, 8), (9, 1, 1, 8), (32, 0, 0, 16), (37, 1, 1, 16), (41, 1, 0, 32)],
)
def test_x_unfolds_the_grid(anchor, column, row, stride):
    output = np.zeros((ANCHORS, 7), np.float32)
    output[anchor] = 0.5, 0.25, math.log(2), math.log(1.5), 0.8, 0.25, 0.5
    found = yolo_decode.decode_yolox(output, 0.25, SIZE)
    x, y = (column + 0.5) * stride, (row + 0.25) * stride
    expected = [x - stride, y - 0.75 * stride, x + stride, y + 0.75 * stride]
    np.testing.assert_allclose(found.boxes, [expected], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.4])
    assert found.class_ids.tolist() == [1]


def test_x_refuses_boxes_that_are_decoded_already():
    output = silent_rows(7)
    output[3] = *BOX, 0.9, 0.9, 0.1
    with pytest.raises(PostprocessorError, match='set "postprocessor": "yolov5"'):
        yolo_decode.decode_yolox(output, 0.25, SIZE)
    found = yolo_decode.decode_yolov5(output, 0.25, SIZE)
    assert found.boxes.tolist() == [CORNERS]


def test_x_refuses_anchors_that_do_not_fit_the_tensor():
    with pytest.raises(PostprocessorError, match="42 anchors do not fit 640x640"):
        yolo_decode.decode_yolox(silent_rows(7), 0.25, (640, 640))


def test_boxes_as_fractions_are_scaled_to_the_input():
    output = silent_v8()
    output[:, 17] = *BOX, 0.1, 0.75, 0.5
    output[[0, 2]] /= SIZE[0]
    output[[1, 3]] /= SIZE[1]
    np.testing.assert_allclose(yolo_decode.decode_yolov8(output, 0.25, SIZE).boxes, [CORNERS], rtol=1e-5)
    rows = silent_rows(8)
    rows[5] = *BOX, 0.5, 0.1, 0.25, 0.75
    rows[:, :4] /= [64, 32, 64, 32]
    np.testing.assert_allclose(yolo_decode.decode_yolov5(rows, 0.25, SIZE).boxes, [CORNERS], rtol=1e-5)
    six = np.zeros((300, 6), np.float32)
    six[0] = *CORNERS, 0.5, 2
    six[:, :4] /= [64, 32, 64, 32]
    np.testing.assert_allclose(yolo_decode.decode_yolov10(six, 0.25, SIZE).boxes, [CORNERS], rtol=1e-5)


def test_a_tiny_box_in_the_corner_is_no_fraction():
    output = silent_v8()
    output[:, 0] = 0.5, 0.5, 1, 1, 0.1, 0.75, 0.5
    assert yolo_decode.decode_yolov8(output, 0.25, SIZE).boxes.tolist() == [[0, 0, 1, 1]]


def broken(decode, output, index, value):
    output = output.copy()
    output[index] = value
    return decode(output, 0.25, SIZE)


V8, V5, V10, X = (
    yolo_decode.decode_yolov8,
    yolo_decode.decode_yolov5,
    yolo_decode.decode_yolov10,
    yolo_decode.decode_yolox,
)


@pytest.mark.parametrize(
    ("decode", "output", "index"),
    [
        (V8, silent_v8(), (5, 20)),
        (V8, silent_v8(), (4, 0)),
        (V5, silent_rows(8), (20, 4)),
        (X, np.zeros((ANCHORS, 8), np.float32), (20, 4)),
        (V10, np.zeros((300, 6), np.float32), (299, 4)),
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_not_nothing(decode, output, index, value):
    assert not len(decode(output, 0.25, SIZE).scores)
    with pytest.raises(NonFiniteOutputError, match="scores that are NaN or infinite"):
        broken(decode, output, index, value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("decode", [V8, V5, V10, X])
def test_a_box_that_is_no_number_is_not_reported(decode, column, value):
    rows = silent_rows(6)
    rows[7] = 0.1, 0.2, 0.3, 0.4, 0.9, 1
    # In yolov8's rows the fifth column is the first class, in yolov10's the sixth is the class.
    rows[7, column] = value
    output = rows.T if decode is V8 else rows
    with np.errstate(invalid="ignore", over="ignore"), pytest.raises(PostprocessorError):
        decode(output, 0.25, SIZE)


def test_a_class_that_is_no_number_is_not_reported():
    output = np.zeros((300, 6), np.float32)
    output[0] = *CORNERS, 0.9, math.nan
    with pytest.raises(NonFiniteOutputError, match="classes"):
        V10(output, 0.25, SIZE)


@pytest.mark.parametrize("decode", [V8, V5, V10, X])
def test_half_precision_gives_the_same_objects(decode):
    rows = np.zeros((ANCHORS, 6), np.float16)
    rows[:, 4:] = 1e-6  # subnormal in half precision
    rows[5], rows[9] = (1.5, 2, 2.5, 3, 0.75, 1), (0.25, 1, 3, 2, 0.5, 1)
    rows = rows.T if decode is V8 else rows
    half, single = decode(rows, 0.25, SIZE), decode(rows.astype(np.float32), 0.25, SIZE)
    for one, other in zip(half, single, strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("value", [-0.0, -0.001, -5, -65504])
def test_half_precision_below_zero_is_low(value):
    output = silent_v8().astype(np.float16)
    output[4:, :9] = value
    output[5, 3] = 0.75
    found = V8(output, 0.25, SIZE)
    assert (found.scores.tolist(), found.class_ids.tolist()) == ([0.75], [1])


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf])
def test_half_precision_nan_is_not_nothing(value):
    output = silent_v8().astype(np.float16)
    output[5, 3] = value
    with pytest.raises(NonFiniteOutputError):
        V8(output, 0.25, SIZE)


@pytest.mark.parametrize("value", [-1, 0.25])
def test_a_column_that_holds_no_class_is_refused(value):
    output = np.zeros((300, 6), np.float32)
    output[0] = *CORNERS, 0.9, value
    with pytest.raises(PostprocessorError, match="six columns is no class id"):
        V10(output, 0.25, SIZE)


def test_an_infinite_size_among_sound_ones_is_not_reported():
    output = np.zeros((ANCHORS, 7), np.float32)
    output[:9, 4:6] = 0.9
    output[4, 2] = math.inf
    with pytest.raises(NonFiniteOutputError, match="boxes"):
        X(output, 0.25, SIZE)


def test_scores_without_a_sigmoid_are_refused():
    output = silent_v8()
    output[4, 3] = 4.2
    with pytest.raises(PostprocessorError, match=r"4\.2 is no probability"):
        V8(output, 0.25, SIZE)
    output[4, 3] = 1.001  # rounding, as half precision and quantisation leave it
    assert V8(output, 0.25, SIZE).scores.tolist() == [1.0]
