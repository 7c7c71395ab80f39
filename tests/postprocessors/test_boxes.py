"""Box arithmetic, each function by a table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postprocessors import boxes
from preprocess.frame import Transform


@pytest.mark.parametrize(
    ("centred", "corners"),
    [
        ((5, 5, 4, 2), (3, 4, 7, 6)),
        ((0, 0, 0, 0), (0, 0, 0, 0)),
        ((1.5, -2, 1, 3), (1, -3.5, 2, -0.5)),
    ],
)
def test_centres_become_corners(centred, corners):
    assert boxes.cxcywh_to_xyxy(np.array([centred], np.float32)).tolist() == [list(corners)]


def test_corners_become_sizes():
    assert boxes.xyxy_to_xywh(np.array([[3, 4, 7, 6.5]])).tolist() == [[3, 4, 4, 2.5]]


@pytest.mark.parametrize(
    ("corners", "clipped"),
    [
        ((-5, -1, 3, 4), (0, 0, 3, 4)),
        ((90, 40, 120, 60), (90, 40, 100, 50)),
        ((101, 10, 120, 20), (100, 10, 100, 20)),
        ((0, 0, 100, 50), (0, 0, 100, 50)),
    ],
)
def test_clip_limits_to_the_picture(corners, clipped):
    assert boxes.clip(np.array([corners], np.float64), 100, 50).tolist() == [list(clipped)]


@pytest.mark.parametrize(
    ("corners", "area"), [((1, 2, 4, 4), 6), ((4, 4, 1, 2), 0), ((4, 2, 1, 4), 0), ((1, 1, 1, 5), 0)]
)
def test_areas_of_boxes_inside_out_are_zero(corners, area):
    assert boxes.areas(np.array([corners], np.float32)).tolist() == [area]


def test_to_source_undoes_pad_scale_and_roi():
    transform = Transform(1000, 800, (100, 50, 200, 100), 0.5, 0.25, 10, 20, 120, 65)
    tensor_box = np.array([[10, 20, 110, 45]], np.float32)
    assert boxes.to_source(tensor_box, transform).tolist() == [[100, 50, 300, 150]]


coordinates = st.floats(-2000, 2000, width=32)


@given(
    st.lists(st.tuples(*[coordinates] * 4), max_size=8),
    st.floats(0.1, 8),
    st.floats(0.1, 8),
    st.floats(0, 300),
    st.tuples(st.integers(0, 500), st.integers(0, 500)),
)
def test_to_source_is_the_inverse_of_the_transform(corners, scale_x, scale_y, pad, offset):
    transform = Transform(1000, 1000, (*offset, 400, 400), scale_x, scale_y, pad, 0.0, 640, 640)
    source = np.array(corners, np.float64).reshape(-1, 4)
    tensor = source.copy()
    tensor[:, 0::2] = (source[:, 0::2] - offset[0]) * scale_x + pad
    tensor[:, 1::2] = (source[:, 1::2] - offset[1]) * scale_y
    np.testing.assert_allclose(boxes.to_source(tensor, transform), source, atol=1e-6)


@given(st.lists(st.tuples(*[coordinates] * 4), min_size=1, max_size=8))
def test_clipping_twice_changes_nothing(corners):
    once = boxes.clip(np.array(corners, np.float64), 640, 480)
    assert (boxes.clip(once, 640, 480) == once).all()
    assert (once >= 0).all()
    assert (once <= [640, 480, 640, 480]).all()


def test_no_boxes_are_no_trouble():
    none = np.empty((0, 4), np.float32)
    transform = Transform(10, 10, (0, 0, 10, 10), 1, 1, 0, 0, 10, 10)
    for function in (boxes.cxcywh_to_xyxy, boxes.xyxy_to_xywh, lambda b: boxes.to_source(b, transform)):
        assert function(none).shape == (0, 4)
