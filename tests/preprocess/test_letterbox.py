import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.errors import RegionError
from preprocess.letterbox import Placement, place, region, transform
from preprocess.options import Anchor, InputRecipe, PrepareOptions, ResizeMode

TOP_LEFT = InputRecipe(anchor=Anchor.TOP_LEFT)

PLACEMENTS = [
    # source, options, (left, top, width, height)
    ((1920, 1080), PrepareOptions(640, 640), (0, 140, 640, 360)),
    ((1080, 1920), PrepareOptions(640, 640), (140, 0, 360, 640)),
    ((810, 1080), PrepareOptions(640, 640), (80, 0, 480, 640)),
    ((640, 640), PrepareOptions(640, 640), (0, 0, 640, 640)),
    ((100, 50), PrepareOptions(640, 640), (0, 160, 640, 320)),  # enlarged as well
    ((640, 639), PrepareOptions(640, 640), (0, 0, 640, 639)),  # the odd row goes below
    ((1000, 333), PrepareOptions(640, 640), (0, 213, 640, 213)),
    ((1920, 1080), PrepareOptions(416, 256), (0, 11, 416, 234)),
    ((100_000, 1), PrepareOptions(640, 640), (0, 319, 640, 1)),  # never less than a row
    ((1920, 1080), PrepareOptions(640, 640, recipe=TOP_LEFT), (0, 0, 640, 360)),
    ((810, 1080), PrepareOptions(416, 416, recipe=TOP_LEFT), (0, 0, 312, 416)),
    ((1920, 1080), PrepareOptions(300, 200, mode=ResizeMode.RESIZE), (0, 0, 300, 200)),
]


@pytest.mark.parametrize(("source", "options", "expected"), PLACEMENTS)
def test_place(source, options, expected):
    assert place(*source, options) == Placement(*expected)


SIDES = st.integers(1, 5000)


@given(
    SIDES,
    SIDES,
    st.integers(8, 1300),
    st.integers(8, 1300),
    st.sampled_from(Anchor),
    st.sampled_from(ResizeMode),
)
def test_the_picture_lies_within_the_tensor_and_touches_two_sides(
    width, height, to_width, to_height, anchor, mode
):
    options = PrepareOptions(to_width, to_height, mode=mode, recipe=InputRecipe(anchor=anchor))
    placed = place(width, height, options)
    assert min(placed.left, placed.top) >= 0
    assert min(placed.width, placed.height) >= 1
    assert placed.right <= to_width
    assert placed.bottom <= to_height
    assert placed.width == to_width or placed.height == to_height


@given(st.integers(20, 5000), st.integers(20, 5000), st.sampled_from(Anchor))
def test_exporters_ratio_and_padding_agree_within_half_a_tensor_pixel(width, height, anchor):
    options = PrepareOptions(640, 640, recipe=InputRecipe(anchor=anchor))
    geometry = transform(width, height, (0, 0, width, height), options)
    gain = min(640 / width, 640 / height)
    centred = anchor is Anchor.CENTER
    for side, scale, pad in (
        (width, geometry.scale_x, geometry.pad_x),
        (height, geometry.scale_y, geometry.pad_y),
    ):
        exporters_pad = (640 - side * gain) / 2 if centred else 0
        for source in (0, side / 3, side):
            assert source * scale + pad == pytest.approx(source * gain + exporters_pad, abs=1.01)


@given(SIDES, SIDES, st.data())
def test_the_region_s_edges_map_to_the_placement_s_edges(width, height, data):
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    roi = (x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    options = PrepareOptions(640, 480)
    geometry, placed = transform(width, height, roi, options), place(roi[2], roi[3], options)
    assert geometry.roi == roi
    assert (geometry.source_width, geometry.source_height) == (width, height)
    assert (geometry.tensor_width, geometry.tensor_height) == (640, 480)
    assert roi[2] * geometry.scale_x + geometry.pad_x == pytest.approx(placed.right)
    assert roi[3] * geometry.scale_y + geometry.pad_y == pytest.approx(placed.bottom)


def test_no_region_is_the_whole_picture():
    assert region(30, 20, None) == (0, 0, 30, 20)
    assert region(30, 20, (29, 19, 1, 1)) == (29, 19, 1, 1)


@pytest.mark.parametrize(
    "roi",
    [(-1, 0, 5, 5), (0, -1, 5, 5), (26, 0, 5, 5), (0, 16, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0), (9, 9, -2, 2)],
)
def test_a_region_outside_is_refused_with_the_picture_s_size(roi):
    with pytest.raises(RegionError, match="30x20"):
        region(30, 20, roi)
