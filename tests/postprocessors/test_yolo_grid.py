"""Anchors: how many, which strides, which cell."""

import numpy as np
import pytest

from postprocessors import yolo_grid


@pytest.mark.parametrize(
    ("size", "per_cell", "count", "strides"),
    [
        ((640, 640), 1, 8400, (8, 16, 32)),
        ((640, 640), 3, 25200, (8, 16, 32)),
        ((416, 416), 1, 3549, (8, 16, 32)),
        ((320, 320), 1, 2100, (8, 16, 32)),
        ((640, 384), 1, 5040, (8, 16, 32)),
        ((1280, 1280), 3, 102000, (8, 16, 32, 64)),
        ((640, 640), 1, 34000, (4, 8, 16, 32)),
        ((416, 416), 3, 2535, (16, 32)),
        ((100, 60), 1, 13 * 8 + 7 * 4 + 4 * 2, (8, 16, 32)),
        ((640, 640), 1, 25200, None),
        ((640, 640), 3, 8400, None),
        ((640, 640), 1, 300, None),
        ((640, 640), 1, 0, None),
    ],
)
def test_match_strides(size, per_cell, count, strides):
    assert yolo_grid.match_strides(count, size, per_cell) == strides
    if strides:
        assert yolo_grid.anchor_count(size, strides) * per_cell == count


@pytest.mark.parametrize("width", range(64, 1281, 64))
@pytest.mark.parametrize("height", [64, 320, 640, 1280])
def test_a_count_tells_strides_and_anchors_a_cell(width, height):
    counts = [
        times * yolo_grid.anchor_count((width, height), strides)
        for times in (1, 3)
        for strides in yolo_grid.STRIDE_SETS
    ]
    assert len(set(counts)) == len(counts)


def test_cells_follow_grids_from_fine_to_coarse_row_by_row():
    size, strides = (96, 64), (8, 16, 32)
    count = yolo_grid.anchor_count(size, strides)
    expected = [
        (column, row, stride)
        for stride in strides
        for row in range(64 // stride)
        for column in range(96 // stride)
    ]
    position, stride = yolo_grid.cells(np.arange(count), size, strides)
    assert [(*cell, step) for cell, step in zip(position.tolist(), stride.tolist(), strict=True)] == expected


def test_cells_of_chosen_anchors_only():
    position, stride = yolo_grid.cells(np.array([95, 96, 125, 0]), (96, 64), (8, 16, 32))
    assert position.tolist() == [[11, 7], [0, 0], [2, 1], [0, 0]]
    assert stride.tolist() == [8, 16, 32, 8]
