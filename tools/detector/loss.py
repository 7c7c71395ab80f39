"""The training loss: class scores, box overlap, and the distribution of each box side."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tools.detector.assign import Assigner, Objects, assign
from tools.detector.model import BINS, RawOutput, corners

SCORE_WEIGHT, OVERLAP_WEIGHT, SIDES_WEIGHT, REGION_WEIGHT = 0.7, 5.0, 1.2, 4.0
BACKGROUND_WEIGHT = 0.2
"""Of the cells that see no object, against those that do."""


class Losses(NamedTuple):
    """The weighted parts of the loss, scalars."""

    scores: Tensor
    overlap: Tensor
    sides: Tensor
    regions: Tensor

    def total(self) -> Tensor:
        return self.scores + self.overlap + self.sides + self.regions


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """Overlap less penalties for distance and for another aspect ratio (CIoU, Zheng et al. 2020), (n,)."""
    low, high = torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    size1, size2 = first[:, 2:] - first[:, :2], second[:, 2:] - second[:, :2]
    iou = shared / (size1.prod(-1) + size2.prod(-1) - shared + 1e-7)
    hull = torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    apart = (first[:, :2] + first[:, 2:] - second[:, :2] - second[:, 2:]).square().sum(-1) / 4
    angles = [torch.atan(size[:, 0] / size[:, 1].clamp(min=1e-3)) for size in (size1, size2)]
    aspect = (angles[0] - angles[1]).square() * (4 / torch.pi**2)
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + 1e-7)
    return iou - apart / (hull.square().sum(-1) + 1e-7) - weight * aspect


def side_loss(sides: Tensor, target: Tensor) -> Tensor:
    """Cross entropy with the two bins around each true distance (Li et al. 2020).

    Args:
        sides: logits, (n, 4, BINS).
        target: distances in strides, (n, 4).

    Returns:
        The mean over the sides, (n,).
    """
    target = target.clamp(0, BINS - 1.01)
    lower = target.floor()
    share = target - lower
    log_odds = sides.log_softmax(-1)
    index = lower.long().unsqueeze(-1)
    near = log_odds.gather(-1, index).squeeze(-1)
    far = log_odds.gather(-1, index + 1).squeeze(-1)
    return -(near * (1 - share) + far * share).mean(-1)


def region_loss(levels: list[Tensor], regions: Tensor) -> Tensor:
    """Cross entropy of what is seen at each cell, the mean over the levels.

    Far more cells have something to say here than there are objects to find, so that the features learn to
    tell the classes apart before the head could teach them. Only training has these outputs.
    """
    if not levels:
        return regions.new_zeros((), dtype=torch.float32)
    weight = torch.full((levels[0].shape[1],), 1.0)
    weight[0] = BACKGROUND_WEIGHT
    losses = []
    for logits in levels:
        step = regions.shape[1] // logits.shape[2]
        seen = regions[:, step // 2 :: step, step // 2 :: step]
        losses.append(functional.cross_entropy(logits, seen, weight))
    return torch.stack(losses).mean()


def detection_loss(
    raw: RawOutput, objects: Objects, centres: Tensor, strides: Tensor, assigner: Assigner = assign
) -> Losses:
    """The losses of a batch, each divided by the sum of the target scores."""
    boxes = corners(raw.sides, centres, strides)
    wanted = assigner(raw.scores.detach().sigmoid(), boxes.detach(), objects, centres, strides)
    count = wanted.scores.sum().clamp(min=1)
    score = functional.binary_cross_entropy_with_logits(raw.scores, wanted.scores, reduction="sum") / count
    weight = wanted.scores.sum(-1)[wanted.positive] / count
    cell = wanted.positive.nonzero()[:, 1]
    truth = wanted.boxes[wanted.positive]
    overlap = ((1 - complete_iou(boxes[wanted.positive], truth)) * weight).sum()
    reach = torch.cat([centres[cell] - truth[:, :2], truth[:, 2:] - centres[cell]], -1) / strides[cell]
    sides = (side_loss(raw.sides[wanted.positive], reach) * weight).sum()
    regions = region_loss(raw.regions, objects.regions)
    return Losses(
        SCORE_WEIGHT * score, OVERLAP_WEIGHT * overlap, SIDES_WEIGHT * sides, REGION_WEIGHT * regions
    )
