"""A number survives what a picture goes through on its way into a model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.picture_ids import MAX_ID, draw_id, read_id


@given(st.integers(0, MAX_ID), st.integers(16, 200), st.integers(16, 200))
def test_a_number_is_read_back(picture_id: int, width: int, height: int) -> None:
    picture = draw_id(picture_id, width, height)
    assert picture.shape == (height, width, 3)
    assert read_id(picture[:, :, 0]) == (picture_id, (0, 0, width, height))
    assert read_id(picture[:, :, 0].astype(np.float32) / 255) == (picture_id, (0, 0, width, height))


@given(st.integers(0, MAX_ID), st.integers(0, 30), st.integers(0, 30))
def test_a_letterbox_s_border_is_told_from_the_picture(picture_id: int, left: int, top: int) -> None:
    canvas = np.full((100, 100), 114, np.uint8)
    canvas[top : top + 50, left : left + 60] = draw_id(picture_id, 60, 50)[:, :, 0]
    assert read_id(canvas) == (picture_id, (left, top, left + 60, top + 50))


@given(st.integers(0, MAX_ID), st.integers(0, 2**32 - 1))
def test_noise_does_not_matter(picture_id: int, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(-12, 13, (64, 64))
    plane = (draw_id(picture_id, 64, 64)[:, :, 0] + noise).astype(np.uint8)
    assert read_id(plane) == (picture_id, (0, 0, 64, 64))


@pytest.mark.parametrize("picture_id", [-1, MAX_ID + 1])
def test_numbers_that_do_not_fit(picture_id: int) -> None:
    with pytest.raises(ValueError, match="0 to 65535"):
        draw_id(picture_id, 64, 64)


def test_a_plane_without_a_picture() -> None:
    assert read_id(np.full((64, 64), 114, np.uint8)) is None
