"""How many of the objects that are in a picture were found."""

from collections.abc import Sequence
from typing import Any

MATCH_IOU = 0.5
"""Overlap from which a found box counts as the object's, as in COCO's AP50."""


def recall(found: Sequence[dict[str, Any]], truth: Sequence[dict[str, Any]]) -> int:
    """Return how many true objects have a found one of their class that overlaps them, each used once."""
    free = list(found)
    hits = 0
    for wanted in truth:
        match = next((one for one in free if _is_match(one, wanted)), None)
        if match is not None:
            free.remove(match)
            hits += 1
    return hits


def _is_match(one: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return one["className"] == wanted["className"] and overlap(one["bbox"], wanted["bbox"]) >= MATCH_IOU


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the intersection over union of two boxes [x, y, width, height]."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared) if shared else 0.0
