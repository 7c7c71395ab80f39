"""Box arithmetic: pure functions on float arrays of shape (n, 4).

Corners are (x1, y1, x2, y2), with x to the right and y down. Tensor boxes are in pixels of
the model's input, source boxes in pixels of the whole picture.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.frame import Transform

Floats = NDArray[np.floating[Any]]


def cxcywh_to_xyxy(boxes: Floats) -> Floats:
    """(centre x, centre y, width, height) to corners."""
    half = boxes[:, 2:] * 0.5
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)


def xyxy_to_xywh(boxes: Floats) -> Floats:
    """Corners to (left, top, width, height)."""
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def to_source(boxes: Floats, transform: Transform) -> NDArray[np.float64]:
    """Corners in tensor pixels to corners in source pixels: undoes pad, scale and roi."""
    pad = np.array((transform.pad_x, transform.pad_y) * 2)
    scale = np.array((transform.scale_x, transform.scale_y) * 2)
    offset = np.array(transform.roi[:2] * 2, np.float64)
    return np.asarray((boxes - pad) / scale + offset)


def clip(boxes: Floats, width: int, height: int) -> Floats:
    """Corners limited to a picture; what lies outside becomes a box without area."""
    return np.clip(boxes, 0, np.array((width, height, width, height), boxes.dtype))


def areas(boxes: Floats) -> Floats:
    """Areas (n,) of corners; 0 where a box is inside out."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])
