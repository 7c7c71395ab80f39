"""From a YOLO head's output to candidate boxes, one function a family.

Each takes one picture's output without its batch axis, and does as little as possible for the
thousands of anchors that hold nothing: find the best score of each, then work on those that
reach the wanted confidence. A NaN score fails the picture: it must not look like "nothing there".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from postprocessors.base import NonFiniteOutputError, PostprocessorError
from postprocessors.boxes import Floats, cxcywh_to_xyxy
from postprocessors.yolo_grid import Size, cells, match_strides

_NORMALISED_MAX = 2.0
"""Coordinates of a whole head at most this large are fractions of the input, not pixels."""

_LARGEST_SCORE = 1.01
"""A score above it (rounding aside) is no probability: the export left its sigmoid out."""

_FLOAT16_INFINITY = 0x7C00
"""Its bits; those of NaN and of all negative numbers are above, unsigned."""

_FAR = 4.0
"""A YOLOX box this many times larger than the input, or as far outside, is no box."""


class Candidates(NamedTuple):
    """Boxes that reach the wanted confidence, before suppression."""

    boxes: Floats
    """(n, 4) corners in tensor pixels, finite."""
    scores: Floats
    """(n,) 0 to 1."""
    class_ids: NDArray[np.intp]
    """(n,)"""


NOTHING = Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.intp))
"""Of most pictures of most cameras: told by one look at the scores."""

Decoder = Callable[[Floats, float, Size], Candidates]
"""Takes the output (2-D), the lowest score wanted, and the tensor's (width, height)."""


def decode_yolov8(output: Floats, confidence: float, size: Size) -> Candidates:
    """YOLOv8, v9, 11, 12 (Ultralytics): (4 + classes, anchors), centre and size in pixels.

    The output may be the transposed view of a tensor of (anchors, 4 + classes).
    """
    scores = output[4:]
    best = _best_scores(scores)
    _require_finite(best, "scores")
    chosen = np.flatnonzero(best >= confidence)
    if not len(chosen):
        return NOTHING
    boxes = _in_pixels(_single(output[:4, chosen].T), output.T, size)
    return _candidates(cxcywh_to_xyxy(boxes), best[chosen], _single(scores[:, chosen]).argmax(axis=0))


def decode_yolov5(output: Floats, confidence: float, size: Size) -> Candidates:
    """YOLOv5, v7 (and v6): (anchors, 5 + classes), centre and size in pixels, objectness, classes.

    A score is objectness times class probability (yolov5 `utils/general.py`), hence never
    more than the objectness: most anchors are done with after one comparison.
    """
    chosen, scores, class_ids = _by_objectness(output, confidence)
    boxes = _in_pixels(_single(output[chosen, :4]), output, size)
    return _candidates(cxcywh_to_xyxy(boxes), scores, class_ids)


def decode_yolox(output: Floats, confidence: float, size: Size) -> Candidates:
    """YOLOX (Megvii `tools/export_onnx.py`): (anchors, 5 + classes), boxes relative to their cells.

    Centre = (cell + xy) * stride, size = exp(wh) * stride (`yolox/utils/demo_utils.py`,
    `demo_postprocess`).

    Raises:
        PostprocessorError: the anchors do not fit the tensor, or the boxes are absolute already.
    """
    strides = match_strides(len(output), size)
    if strides is None:
        raise PostprocessorError(f"yolox: {len(output)} anchors do not fit {size[0]}x{size[1]} pixels")
    chosen, scores, class_ids = _by_objectness(output, confidence)
    position, stride = cells(chosen, size, strides)
    raw = _single(output[chosen, :4])
    _require_finite(raw, "boxes")
    _require_relative(raw, stride, size)
    # 20: beyond any size, and below where exp overflows.
    boxes = np.concatenate((position + raw[:, :2], np.exp(np.minimum(raw[:, 2:], 20))), axis=1)
    return _candidates(cxcywh_to_xyxy(boxes * stride[:, None]), scores, class_ids)


def decode_yolov10(output: Floats, confidence: float, size: Size) -> Candidates:
    """YOLOv10, 26, and exports with suppression inside: (rows, 6), corners, score, class."""
    column = output[:, 4]
    if len(column) and np.maximum.reduce(column) < confidence:  # not so with NaN, which it gives back
        return NOTHING
    scores = _single(column)
    _require_finite(scores, "scores")
    chosen = np.flatnonzero(scores >= confidence)
    boxes = _in_pixels(_single(output[chosen, :4]), output, size)
    return _candidates(boxes, scores[chosen], _class_ids(_single(output[chosen, 5])))


def _single(values: NDArray[Any]) -> NDArray[np.float32]:
    """Float32, in which all arithmetic is done; a model's output may be float16 or float64."""
    return np.asarray(values, np.float32)


def _best_scores(scores: Floats) -> NDArray[np.float32]:
    """Each anchor's best score, (anchors,), of (classes, anchors).

    For float16 numpy compares one by one, and converting thousands of scores near 0, where
    float16 is subnormal, takes longer still: 80 x 8400 scores 4 ms, their bits as integers
    0.05 ms. Numbers from 0 are in the order of their bits; where the best is above all finite
    ones, something was negative or no number, and the slow way tells.
    """
    if scores.dtype == np.float16:
        bits = scores.view(np.uint16).max(axis=0)
        if not len(bits) or bits.max() < _FLOAT16_INFINITY:
            return _single(bits.view(np.float16))
        return np.asarray(_single(scores).max(axis=0))
    return _single(scores.max(axis=0))


def _by_objectness(output: Floats, confidence: float) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp]]:
    """Anchors whose objectness times best class reaches `confidence`: indices, scores, classes."""
    objectness = _single(output[:, 4])
    _require_finite(objectness, "scores")
    likely = np.flatnonzero(objectness >= confidence)
    class_scores = _single(output[likely, 5:])
    class_ids = class_scores.argmax(axis=1)
    # argmax finds a NaN where there is one, so that this check sees it.
    scores = class_scores[np.arange(len(likely)), class_ids] * objectness[likely]
    _require_finite(scores, "scores")
    chosen = np.flatnonzero(scores >= confidence)
    return likely[chosen], scores[chosen], class_ids[chosen]


def _class_ids(column: Floats) -> NDArray[np.intp]:
    """Class ids that were written as floats; what has none (scores, say) is no such column."""
    _require_finite(column, "classes")
    if ((column < 0) | (column != np.floor(column))).any():
        raise PostprocessorError("yolov10: the last of the output's six columns is no class id")
    return column.astype(np.intp)


def _in_pixels(boxes: Floats, head: NDArray[Any], size: Size) -> Floats:
    """Scale boxes that an exporter wrote as fractions of the input (TFLite exports do).

    Told by the whole head, whose anchors cover the picture: one candidate alone may be a
    small box in the corner. The head is looked at only where the candidates leave it open.
    """
    if not len(boxes) or boxes.max() > _NORMALISED_MAX or head[:, :2].max() > _NORMALISED_MAX:
        return boxes
    return np.asarray(boxes * np.array(size * 2, boxes.dtype))


def _candidates(boxes: Floats, scores: Floats, class_ids: NDArray[np.intp]) -> Candidates:
    _require_finite(boxes, "boxes")
    if len(scores) and scores.max() > _LARGEST_SCORE:
        raise PostprocessorError(
            f"a score of {scores.max():.4g} is no probability; the model lacks a sigmoid"
        )
    return Candidates(boxes, np.minimum(scores, 1), class_ids)


def _require_finite(values: Floats, what: str) -> None:
    if not np.isfinite(values).all():
        raise NonFiniteOutputError(f"the model's output holds {what} that are NaN or infinite")


def _require_relative(raw: Floats, stride: Floats, size: Size) -> None:
    """Refuse boxes in pixels (YOLOX exported with decoding, YOLOv6): same shape, other meaning."""
    reach = _FAR * max(size) / stride[:, None]
    far = (np.abs(raw[:, :2]) > reach).any(axis=1) | (raw[:, 2:] > np.log(reach)).any(axis=1)
    if np.count_nonzero(far) * 2 > len(raw):
        raise PostprocessorError(
            "yolox: boxes lie far outside the picture, as if the model had decoded them itself; export YOLOX "
            'without decode_in_inference, and for YOLOv6 set "postprocessor": "yolov5"'
        )
