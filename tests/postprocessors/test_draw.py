"""Drawing: in the picture's own order of channels, inside it, and on a copy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postprocessors import draw
from postprocessors.results import Detection
from preprocess.options import ChannelOrder

GRAY = 90


def picture(width=320, height=240):
    return np.full((height, width, 3), GRAY, np.uint8)


def detection(bbox, class_id=0, score=0.87, **more):
    return Detection(bbox=[float(number) for number in bbox], score=score, class_id=class_id, **more)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Detection(bbox=[], score=0.871), "0.87"),
        (Detection(bbox=[], score=0.5, class_id=3), "3 0.50"),
        (Detection(bbox=[], score=1.0, class_id=3, class_name="dog"), "dog 1.00"),
    ],
)
def test_label_text(found, text):
    assert draw.label_text(found) == text


def test_the_picture_itself_is_left_alone():
    original = picture()
    original.flags.writeable = False
    drawn = draw.annotate(original, [detection((50, 80, 100, 60))])
    assert (original == GRAY).all()
    assert (drawn != GRAY).any()
    assert (draw.annotate(original, []) == original).all()


@pytest.mark.parametrize("class_id", [0, 1, 5, len(draw.PALETTE) + 1])
def test_the_line_has_the_color_of_the_class(class_id):
    found = detection((50, 80, 100, 60), class_id)
    color = draw.color_of(class_id)
    assert color == draw.PALETTE[class_id % len(draw.PALETTE)]
    assert tuple(draw.annotate(picture(), [found])[140, 100]) == color
    assert tuple(draw.annotate(picture(), [found], ChannelOrder.BGR)[140, 100]) == color[::-1]


def test_rgb_and_bgr_differ_in_order_alone():
    found = [detection((50, 80, 100, 60), 1, class_name="dog"), detection((60, 90, 200, 100), 2)]
    rgb = draw.annotate(picture(), found, ChannelOrder.RGB)
    bgr = draw.annotate(picture(), found, ChannelOrder.BGR)
    assert (rgb == bgr[:, :, ::-1]).all()


@pytest.mark.parametrize("bbox", [(0, 0, 320, 240), (0, 0, 5, 5), (310, 0, 10, 10), (300, 230, 20, 10)])
def test_a_label_at_the_border_is_whole(bbox):
    in_the_middle = draw.annotate(picture(), [detection((100, 100, 0.01, 0.01), 1, class_name="dog")])
    at_the_border = draw.annotate(picture(), [detection(bbox, 1, class_name="dog")])
    colored = [int((drawn == draw.color_of(1)).all(axis=2).sum()) for drawn in (in_the_middle, at_the_border)]
    assert colored[1] >= 0.9 * colored[0]


def test_labels_move_out_of_each_others_way():
    one = draw.annotate(picture(), [detection((100, 100, 60, 60), 1, class_name="dog")])
    two = draw.annotate(
        picture(),
        [
            detection((100, 100, 60, 60), 1, class_name="dog"),
            detection((100, 100, 60, 60), 2, class_name="cat"),
        ],
    )
    assert ((two == draw.color_of(1)).all(axis=2) >= (one == draw.color_of(1)).all(axis=2)).mean() > 0.99
    assert (two == draw.color_of(2)).all(axis=2).sum() > 100


def test_colors_are_distinct_and_readable():
    palette = np.array(draw.PALETTE, float)
    distances = np.linalg.norm(palette[:, None] - palette[None], axis=2) + 1000 * np.eye(len(palette))
    assert distances.min() > 45
    luma = palette @ [0.299, 0.587, 0.114]
    assert (luma > 60).all()


sizes = st.integers(1, 400)


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.lists(st.tuples(*[st.floats(-50, 500)] * 4), max_size=4))
def test_any_picture_and_boxes(width, height, boxes):
    found = [detection(box, index, class_name="a long class name") for index, box in enumerate(boxes)]
    assert draw.annotate(picture(width, height), found).shape == (height, width, 3)
