"""Non-maximum suppression, best first.

Greedy, as everyone does it: the best box stays, every box that overlaps it by more than the
limit goes, and so on. Candidates are taken in blocks, so that numpy works on matrices and a
request for few results stops early.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from postprocessors.boxes import Floats, areas

MAX_CANDIDATES = 30_000
"""More candidates than this are cut to the best before anything is compared (as Ultralytics does)."""

_BLOCK = 256
"""Candidates that are compared with each other at once: a matrix of this stays in the L2 cache."""

Indices = NDArray[np.intp]
Booleans = NDArray[np.bool_]


def best_first(scores: Floats, limit: int = MAX_CANDIDATES) -> Indices:
    """Indices of the `limit` highest scores, descending; equal ones in their own order."""
    return np.argsort(-scores, kind="stable")[:limit]


def suppress(
    boxes: Floats, scores: Floats, class_ids: NDArray[Any] | None, iou: float, limit: int
) -> Indices:
    """Indices of the boxes that stay, best first.

    Args:
        boxes: (n, 4) corners, finite.
        scores: (n,) finite.
        class_ids: (n,) integers; boxes of different classes leave each other alone.
            None compares all with all.
        iou: intersection over union above which the weaker box goes.
        limit: at most this many stay.
    """
    order = best_first(scores)
    if len(order) < 2 or limit < 1:
        return order[: max(limit, 0)]
    # One row a coordinate, so that taking a block of candidates is one indexing.
    table = np.concatenate((boxes, areas(boxes)[:, None]), axis=1)[order].T
    classes = None if class_ids is None else class_ids[order]
    kept = np.empty(0, np.intp)
    for start in range(0, len(order), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(order)))
        if len(kept):
            block = block[~_overlap(table, classes, kept, block, iou).any(axis=0)]
        kept = np.concatenate((kept, block[_greedy(_overlap(table, classes, block, block, iou))]))
        if len(kept) >= limit:
            break
    return order[kept[:limit]]


def _overlap(
    table: Floats, classes: NDArray[Any] | None, first: Indices, second: Indices, iou: float
) -> Booleans:
    """Which of `first` (rows) overlap which of `second` (columns) too much, and share a class."""
    left1, top1, right1, bottom1, area1 = table[:, first, None]
    left2, top2, right2, bottom2, area2 = table[:, None, second]
    width = np.minimum(right1, right2) - np.maximum(left1, left2)
    height = np.minimum(bottom1, bottom2) - np.maximum(top1, top2)
    shared = np.maximum(width, 0, out=width)
    shared *= np.maximum(height, 0, out=height)
    # shared / (area1 + area2 - shared) > iou, without a division by zero.
    over = np.asarray(shared * (1 + iou) > (area1 + area2) * iou)
    if classes is not None:
        over &= classes[first, None] == classes[None, second]
    return over


def _greedy(over: Booleans) -> Indices:
    """Positions that stay, of boxes in descending order; `over` is symmetric (n, n)."""
    over = np.triu(over, 1)
    alive = np.ones(len(over), np.bool_)
    spared = ~over
    for position in np.flatnonzero(over.any(axis=1)):
        if alive[position]:
            alive &= spared[position]
    return np.flatnonzero(alive)
