"""The golden picture, and the shapes that a model promises."""

import numpy as np
import pytest

from runtimes.spec import DYNAMIC, TensorSpec
from worker.golden import golden_frame, misshapen


@pytest.mark.parametrize(("width", "height"), [(640, 640), (320, 192), (8, 8), (1, 1), (1, 500)])
def test_the_picture_has_the_size_that_was_asked_for(width, height):
    frame = golden_frame(width, height)
    assert (frame.width, frame.height, len(frame.data)) == (width, height, width * height * 3)


def test_the_picture_is_not_blank_in_any_part_or_channel():
    picture = np.frombuffer(golden_frame(640, 480).data, np.uint8).reshape(480, 640, 3)
    assert (picture.reshape(-1, 3).std(axis=0) > 50).all()
    tiles = picture.reshape(8, 60, 8, 80, 3).swapaxes(1, 2).reshape(64, -1)
    assert (tiles.std(axis=1) > 1).all()


@pytest.mark.parametrize(
    ("declared", "shape", "fault"),
    [
        ((1, 84, 8400), (1, 84, 8400), None),
        ((DYNAMIC, 84, DYNAMIC), (1, 84, 2100), None),
        ((8, 84, 8400), (1, 84, 8400), None),
        ((), (1, 300, 6), None),
        ((1, 84, 8400), (1, 84, 2100), "[1, 84, 2100], declared as [1, 84, 8400]"),
        ((1, 84, 8400), (84, 8400), "[84, 8400]"),
        ((1, 84), (2, 84), "[2, 84]"),
    ],
)
def test_shapes(declared, shape, fault):
    found = misshapen({"y": np.zeros(shape)}, [TensorSpec("y", declared, "float32")])
    assert found is None if fault is None else fault in found


def test_an_output_that_is_not_there():
    assert "y is missing" in misshapen({}, [TensorSpec("y", (1,), "float32")])
