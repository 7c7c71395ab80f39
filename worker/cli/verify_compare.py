"""How far two answers to one picture agree: boxes by overlap and score, raw tensors by their elements."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.cli.score import MATCH_IOU, overlap
from worker.client import Answer

Box = Mapping[str, Any]
"""One entry of `detections`."""

EDGE = 0.15
"""How far below the confidence an object may be in the other answer, and still be found there."""

_SHOWN = 3
"""Objects of a kind of disagreement that are named one by one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as agreement."""

    confidence: float
    """Objects from this score on must be in both answers; those below may."""
    iou: float
    """Least overlap of two boxes of one object."""
    score: float | None
    """Largest difference of their scores; None for any."""
    difference: float
    """Largest difference of two tensors, as a share of the first one's largest element."""

    @property
    def floor(self) -> float:
        """The confidence to ask with: an object at the edge is to be seen in both answers."""
        return max(0.001, self.confidence - EDGE)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a comparison gave. Figures that the kind of answer does not have are None."""

    problems: tuple[str, ...] = ()
    """Why it is no agreement, each a line; empty where it is one."""
    objects: int | None = None
    """How many objects the first answer has."""
    matched: int | None = None
    """Objects that both have, those counted that are beyond the confidence in either."""
    iou_min: float | None = None
    iou_mean: float | None = None
    score_max: float | None = None
    score_mean: float | None = None
    tensors: int | None = None
    absolute: float | None = None
    """The largest difference of two elements."""
    relative: float | None = None
    """The same as a share of the largest element of its tensor, the largest over all tensors."""

    @property
    def agrees(self) -> bool:
        return not self.problems


def compare(first: Answer, second: Answer, limits: Limits) -> Agreement:
    """Compare two answers; `first` is what the second one is measured by."""
    kinds = [answer["kind"] for answer in (first, second)]
    if kinds == ["detections", "detections"]:
        return _compare_boxes(first["detections"], second["detections"], limits)
    if kinds == ["raw", "raw"]:
        return _compare_tensors(first["tensors"], second["tensors"], limits)
    return Agreement((f"one answers with {kinds[0]}, the other with {kinds[1]}: nothing to compare",))


def found(answer: Answer, confidence: float) -> list[Box]:
    """Return the objects of an answer from a score on; none where it has tensors."""
    return [box for box in answer.get("detections", ()) if box["score"] >= confidence]


def _compare_boxes(first: Sequence[Box], second: Sequence[Box], limits: Limits) -> Agreement:
    pairs = _matched(first, second, min(MATCH_IOU, limits.iou))
    counted = [pair for pair in pairs if max(pair.scores) >= limits.confidence]
    ious = [pair.iou for pair in counted]
    gaps = [abs(pair.scores[0] - pair.scores[1]) for pair in counted]
    missing = _unmatched(first, [pair.first for pair in pairs], limits.confidence)
    added = _unmatched(second, [pair.second for pair in pairs], limits.confidence)
    moved = [pair.first for pair in counted if pair.iou < limits.iou]
    limit = math.inf if limits.score is None else limits.score
    rescored = [pair.first for pair, gap in zip(counted, gaps, strict=True) if gap > limit + 1e-9]
    kinds = {
        "misses": missing,
        "finds besides": added,
        f"has elsewhere (IoU below {limits.iou:g})": moved,
        f"scores otherwise (by more than {limit:g})": rescored,
    }
    return Agreement(
        tuple(f"{what} {_named(boxes)}" for what, boxes in kinds.items() if boxes),
        objects=len([box for box in first if box["score"] >= limits.confidence]),
        matched=len(counted),
        iou_min=min(ious, default=None),
        iou_mean=sum(ious) / len(ious) if ious else None,
        score_max=max(gaps, default=None),
        score_mean=sum(gaps) / len(gaps) if gaps else None,
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """One object, as both answers have it."""

    iou: float
    first: Box
    second: Box

    @property
    def scores(self) -> tuple[float, float]:
        return self.first["score"], self.second["score"]


def _matched(first: Sequence[Box], second: Sequence[Box], least: float) -> list[_Pair]:
    """Match boxes of one class, the best overlap first, each box once."""
    by_name = all("className" in box for box in (*first, *second))
    key = "className" if by_name else "classId"
    candidates = [
        _Pair(iou, one, other)
        for one in first
        for other in second
        if one.get(key) == other.get(key) and (iou := overlap(one["bbox"], other["bbox"])) >= least
    ]
    taken: set[int] = set()
    pairs: list[_Pair] = []
    for pair in sorted(candidates, key=lambda pair: -pair.iou):
        if taken.isdisjoint({id(pair.first), id(pair.second)}):
            taken |= {id(pair.first), id(pair.second)}
            pairs.append(pair)
    return pairs


def _unmatched(boxes: Sequence[Box], matched: Sequence[Box], confidence: float) -> list[Box]:
    taken = set(map(id, matched))
    return [box for box in boxes if id(box) not in taken and box["score"] >= confidence]


def _named(boxes: Sequence[Box]) -> str:
    best = sorted(boxes, key=lambda box: -box["score"])
    more = f" and {len(best) - _SHOWN} more" if len(best) > _SHOWN else ""
    return ", ".join(map(_name, best[:_SHOWN])) + more


def _name(box: Box) -> str:
    x, y, width, height = map(round, box["bbox"])
    what = box.get("className", f"class {box.get('classId', '?')}")
    return f"{what} {box['score']:.2f} ({width}x{height} at {x},{y})"


def _compare_tensors(first: Mapping[str, Any], second: Mapping[str, Any], limits: Limits) -> Agreement:
    if len(first) != len(second):
        return Agreement((f"has {len(second)} outputs in place of {len(first)}",))
    # Formats name their outputs differently; their order is the exporter's.
    names = list(first) if first.keys() == second.keys() else list(second)
    problems: list[str] = []
    absolute, relative = 0.0, 0.0
    for name, other_name in zip(first, names, strict=True):
        one, other = _elements(first[name]), _elements(second[other_name])
        if one.shape != other.shape:
            problems.append(f"has {name} {list(other.shape)} in place of {list(one.shape)}")
        elif not (np.isfinite(one).all() and np.isfinite(other).all()):
            problems.append(f"{name} has elements that are NaN or infinite")
        elif one.size:
            gap = float(np.abs(one - other).max())
            share = gap / max(float(np.abs(one).max()), 1e-9)
            absolute, relative = max(absolute, gap), max(relative, share)
            if not share <= limits.difference:
                problems.append(f"differs in {name} by up to {gap:.4g}, {share:.1%} of its largest element")
    return Agreement(tuple(problems), tensors=len(first), absolute=absolute, relative=relative)


def _elements(tensor: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return a tensor of an answer, its elements as float64."""
    dtype = np.dtype(tensor["dtype"]).newbyteorder("<")
    array: NDArray[Any] = np.frombuffer(base64.b64decode(tensor["data"]), dtype)
    return array.reshape(tensor["shape"]).astype(np.float64)
