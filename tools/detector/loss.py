"""The training loss: class scores, box overlap, and the distribution of each box side."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tools.detector.assign import Assigner, Objects, assign
from tools.detector.model import BINS, RawOutput, corners

SCORE_WEIGHT, OVERLAP_WEIGHT, SIDES_WEIGHT = 0.7, 7.0, 1.5


class Losses(NamedTuple):
    """The weighted parts of the loss, scalars."""

    scores: Tensor
    overlap: Tensor
    sides: Tensor

    def total(self) -> Tensor:
        return self.scores + self.overlap + self.sides


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
    return Losses(SCORE_WEIGHT * score, OVERLAP_WEIGHT * overlap, SIDES_WEIGHT * sides)
