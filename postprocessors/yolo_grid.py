"""The grids that YOLO heads lay over a picture: how many anchors, and where each one is.

A head predicts once (anchor-free) or three times (YOLOv5, v7) in every cell of a grid for each
of its strides; the grids follow each other from the finest to the coarsest, each row by row.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""(width, height) in pixels."""

STRIDE_SETS: tuple[tuple[int, ...], ...] = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
"""Strides of heads in use: the usual, P6, P2, tiny. Their counts never coincide, nor does
three times one of them with another, so that a count tells strides and anchors a cell."""


def grid_sizes(size: Size, strides: Iterable[int]) -> list[Size]:
    """(columns, rows) of each grid; a picture's incomplete last cell counts."""
    return [(-(-size[0] // stride), -(-size[1] // stride)) for stride in strides]


def anchor_count(size: Size, strides: Iterable[int]) -> int:
    """Cells of all grids: 8400 for 640x640 at strides 8, 16 and 32."""
    return sum(columns * rows for columns, rows in grid_sizes(size, strides))


def match_strides(count: int, size: Size, anchors_per_cell: int = 1) -> tuple[int, ...] | None:
    """The strides whose grids give this many anchors; None where no known head does."""
    for strides in STRIDE_SETS:
        if anchors_per_cell * anchor_count(size, strides) == count:
            return strides
    return None


def cells(
    indices: NDArray[np.intp], size: Size, strides: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where anchors are, one a cell: their (column, row), float32 (n, 2), and stride, float32 (n,)."""
    grids = grid_sizes(size, strides)
    ends = np.cumsum([columns * rows for columns, rows in grids])
    level = np.searchsorted(ends, indices, side="right")
    starts = np.concatenate(([0], ends[:-1]))
    columns = np.array([grid[0] for grid in grids])[level]
    row, column = np.divmod(indices - starts[level], columns)
    return np.stack((column, row), axis=1).astype(np.float32), np.array(strides, np.float32)[level]
