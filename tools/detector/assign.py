"""Which cells are to find which object: by place at first, then by task-aligned assignment.

At first the cells around an object's middle, at the level that suits its size, learn it: an untrained network
has no opinion worth asking, and finds none for a long time if it is asked. After that it chooses itself.
A cell is good for an object where it already scores the object's class highly and draws its box well; the
best few cells of each object learn it, each to a score that says how good it is. (TOOD, Feng et al. 2021.)
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tools.detector.model import STRIDES

SCORE_POWER = 0.5
OVERLAP_POWER = 6.0
CELLS_PER_OBJECT = 10
CELLS_ACROSS = 6.0
"""By place, an object goes to the level on which it is about this many cells wide."""


class Objects(NamedTuple):
    """A batch's objects, padded to the greatest number of them in one picture."""

    boxes: Tensor
    """x1, y1, x2, y2 in pixels, (batch, most, 4)."""
    classes: Tensor
    """(batch, most), int64."""
    present: Tensor
    """False where a row only pads, (batch, most), bool."""
    regions: Tensor
    """What is seen at each cell of the finest level, a class plus one or 0, (batch, h, w), int64."""


class Assignment(NamedTuple):
    """What each cell is to learn."""

    boxes: Tensor
    """The object's box, (batch, cells, 4)."""
    scores: Tensor
    """Target scores, (batch, cells, classes)."""
    positive: Tensor
    """Which cells have an object, (batch, cells), bool."""


Assigner = Callable[[Tensor, Tensor, Objects, Tensor, Tensor], Assignment]
"""Scores, boxes, objects, centres and strides to an assignment; see `assign`."""


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every pair, (batch, n, 4) with (batch, m, 4) to (batch, n, m)."""
    low = torch.maximum(first[:, :, None, :2], second[:, None, :, :2])
    high = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    shared = (high - low).clamp_(min=0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1) for boxes in (first, second)]
    return shared / (areas[0][:, :, None] + areas[1][:, None, :] - shared + 1e-7)


def _inside(objects: Objects, centres: Tensor, strides: Tensor) -> Tensor:
    """Cells whose centre lies in an object, (batch, most, cells); a small object counts as one cell wide."""
    middle = (objects.boxes[..., :2] + objects.boxes[..., 2:]) / 2
    half = (objects.boxes[..., 2:] - objects.boxes[..., :2]) / 2
    away = (centres[None, None] - middle[:, :, None]).abs()
    reach = torch.maximum(half[:, :, None], strides[None, None] * 0.5)
    return (away < reach).all(-1) & objects.present[:, :, None]


def _best_cells(alignment: Tensor, allowed: Tensor) -> Tensor:
    """The few best allowed cells of each object, (batch, most, cells), bool."""
    ranked = torch.where(allowed, alignment + 1e-9, 0.0)
    best = ranked.topk(CELLS_PER_OBJECT, dim=-1)
    return torch.zeros_like(allowed).scatter_(-1, best.indices, best.values > 0)


def _targets(
    objects: Objects, chosen: Tensor, preference: Tensor, quality: Tensor, classes: int
) -> Assignment:
    """Gives each chosen cell, (batch, most, cells), to the object of the highest preference there."""
    strongest, winner = torch.where(chosen, preference, 0.0).max(dim=1)
    positive = strongest > 0
    names = objects.classes.gather(1, winner)
    score = quality.gather(1, winner[:, None]).squeeze(1) * positive
    scores = torch.zeros(*names.shape, classes).scatter_(2, names[:, :, None], score[:, :, None])
    return Assignment(objects.boxes.gather(1, winner[:, :, None].expand(-1, -1, 4)), scores, positive)


@torch.no_grad()
def assign_by_place(
    scores: Tensor, boxes: Tensor, objects: Objects, centres: Tensor, strides: Tensor
) -> Assignment:
    """Assigns to each object up to nine cells around its middle, at one level; see `assign`."""
    middle = (objects.boxes[..., :2] + objects.boxes[..., 2:]) / 2
    size = (objects.boxes[..., 2:] - objects.boxes[..., :2]).clamp(min=1)
    ideal = (size.amax(-1) / CELLS_ACROSS / STRIDES[0]).log2().round().clamp(0, len(STRIDES) - 1)
    own_level = strides[:, 0].log2() - math.log2(STRIDES[0]) == ideal[:, :, None]
    near = ((centres[None, None] - middle[:, :, None]).abs() < 1.5 * strides).all(-1)
    chosen = _inside(objects, centres, strides) & near & own_level
    smallest_first = 1 / size.prod(-1)[:, :, None].expand_as(chosen)
    quality = 0.5 + 0.5 * overlaps(objects.boxes, boxes)
    return _targets(objects, chosen, smallest_first, quality, scores.shape[2])


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, objects: Objects, centres: Tensor, strides: Tensor) -> Assignment:
    """Assigns objects to cells.

    Args:
        scores: probabilities, (batch, cells, classes).
        boxes: predicted x1, y1, x2, y2 in pixels, (batch, cells, 4).
        objects: what is in the pictures.
        centres: of the cells, in pixels, (cells, 2).
        strides: of the cells, in pixels, (cells, 1).
    """
    iou = overlaps(objects.boxes, boxes)
    own = scores.transpose(1, 2).gather(1, objects.classes[:, :, None].expand(-1, -1, scores.shape[1]))
    alignment = own.pow(SCORE_POWER) * iou.pow(OVERLAP_POWER)
    chosen = _best_cells(alignment, _inside(objects, centres, strides))
    preference = iou + 1e-6
    winner = torch.where(chosen, preference, 0.0).argmax(dim=1, keepdim=True)
    chosen &= torch.zeros_like(chosen).scatter_(1, winner, True)
    alignment = torch.where(chosen, alignment, 0.0)
    best_iou = torch.where(chosen, iou, 0.0).amax(-1, keepdim=True)
    quality = alignment / (alignment.amax(-1, keepdim=True) + 1e-9) * best_iou
    return _targets(objects, chosen, preference, quality, scores.shape[2])
