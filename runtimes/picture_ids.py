"""Pictures that carry their own number, so that a test can prove which picture an answer is for.

A picture is a grid of 4 by 4 blocks. Block k, counted along the rows from the top left, is bright
where bit k of the number is set, else dark. Bright and dark are grey values far from each other and
from a letterbox's border, so a number survives JPEG, 4:2:0, BGR, padding, and scaling down to 16
pixels a side.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID = 4
MAX_ID = (1 << GRID * GRID) - 1

_DARK = 16
_BRIGHT = 239
# Of the full range: what is closer to a letterbox's 114/255 than this is border.
_BORDER = 114 / 255
_CONTRAST = 0.2


def draw_id(picture_id: int, width: int, height: int) -> NDArray[np.uint8]:
    """Return an RGB picture, (height, width, 3) uint8, that carries a number from 0 to `MAX_ID`."""
    if not 0 <= picture_id <= MAX_ID:
        raise ValueError(f"a picture carries 0 to {MAX_ID}, got {picture_id}")
    bits = np.array([picture_id >> bit & 1 for bit in range(GRID * GRID)]).reshape(GRID, GRID)
    blocks = np.where(bits, _BRIGHT, _DARK).astype(np.uint8)
    rows = np.arange(height) * GRID // height
    columns = np.arange(width) * GRID // width
    return np.ascontiguousarray(np.broadcast_to(blocks[rows][:, columns, None], (height, width, 3)))


def read_id(plane: NDArray[Any]) -> tuple[int, tuple[int, int, int, int]] | None:
    """Return the number, and where the picture lies in the plane as (x1, y1, x2, y2).

    Args:
        plane: one channel, (height, width): floats of 0 to 1, or integers of 0 to 255.

    Returns:
        None where the plane holds no such picture.
    """
    levels = plane.astype(np.float32) * (1 / 255 if plane.dtype.kind in "iu" else 1)
    drawn = np.abs(levels - _BORDER) > _CONTRAST
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows):
        return None
    x1, y1, x2, y2 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    centres = levels[np.ix_(_centres(y1, y2), _centres(x1, x2))] > _BORDER
    return sum(1 << int(bit) for bit in np.flatnonzero(centres)), (x1, y1, x2, y2)


def _centres(start: int, stop: int) -> list[int]:
    """Return the middles of the blocks along one axis, well away from their blurred edges."""
    return [start + (2 * block + 1) * (stop - start) // (2 * GRID) for block in range(GRID)]
