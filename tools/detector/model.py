"""The network: a small convolutional backbone, a two-way feature pyramid and one head shared by three levels.

ReLU everywhere: every runtime folds it into the convolution before it, which no smoother activation gets.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
BINS = 16
"""Each side of a box is a distribution over distances of 0..15 strides from the cell's centre."""


class RawOutput(NamedTuple):
    """What the head says of every cell, levels one after another."""

    sides: Tensor
    """Logits over distances to left, top, right, bottom, (batch, cells, 4, BINS)."""
    scores: Tensor
    """Class logits, (batch, cells, classes)."""
    regions: list[Tensor]
    """In training, for each level the logits of what is seen at each cell: (batch, 1 + classes, h, w)."""


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
        nn.ReLU(inplace=True),
    )


def separable(inputs: int, outputs: int, kernel: int = 5, stride: int = 1) -> nn.Sequential:
    """A depthwise convolution, then a pointwise one."""
    return nn.Sequential(conv(inputs, inputs, kernel, stride, inputs), conv(inputs, outputs))


class Residual(nn.Module):
    """Two 3x3 convolutions (or two separable ones) around a skip connection."""

    def __init__(self, channels: int, light: bool, skip: bool = True) -> None:
        super().__init__()
        step = (lambda: separable(channels, channels)) if light else (lambda: conv(channels, channels, 3))
        self.body = nn.Sequential(step(), step())
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.skip else self.body(x)


class Stage(nn.Module):
    """Cross-stage partial block: half of the channels pass through residuals, every step is kept."""

    def __init__(self, inputs: int, outputs: int, depth: int, light: bool, skip: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.left, self.right = conv(inputs, half), conv(inputs, half)
        self.blocks = nn.ModuleList(Residual(half, light, skip) for _ in range(depth))
        self.merge = conv(half * (2 + depth), outputs)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.left(x), self.right(x)]
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.merge(torch.cat(parts, 1))


class PyramidPool(nn.Module):
    """Pools over ever larger neighbourhoods, so that a cell of the coarsest level sees the whole picture."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.shrink = conv(channels, hidden)
        self.grow = conv(hidden * 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.shrink(x)]
        for _ in range(3):
            parts.append(functional.max_pool2d(parts[-1], 5, 1, 2))
        return self.grow(torch.cat(parts, 1))


class Backbone(nn.Module):
    """Picture (batch, 3, h, w) to features at strides 8, 16 and 32."""

    channels = (64, 96, 128)

    def __init__(self) -> None:
        super().__init__()
        c3, c4, c5 = self.channels
        self.stem = nn.Sequential(conv(3, 16, 3, 2), conv(16, 32, 3, 2), Stage(32, 32, 1, light=False))
        self.level3 = nn.Sequential(conv(32, c3, 3, 2), Stage(c3, c3, 2, light=False))
        self.level4 = nn.Sequential(conv(c3, c4, 3, 2), Stage(c4, c4, 1, light=False))
        self.level5 = nn.Sequential(
            separable(c4, c5, 5, 2), Stage(c5, c5, 1, light=True), PyramidPool(c5, 32)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        level3 = self.level3(self.stem(x))
        level4 = self.level4(level3)
        return level3, level4, self.level5(level4)


class Neck(nn.Module):
    """Carries what the coarse levels know down to the fine ones, and back up."""

    def __init__(self, channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        c3, c4, c5 = channels
        self.top = conv(c5, width)
        self.down4 = Stage(c4 + width, width, 1, light=True, skip=False)
        self.down3 = Stage(c3 + width, width, 1, light=True, skip=False)
        self.to4, self.to5 = separable(width, width, 5, 2), separable(width, width, 5, 2)
        self.up4 = Stage(width * 2, width, 1, light=True, skip=False)
        self.up5 = Stage(width * 2, width, 1, light=True, skip=False)

    def forward(self, x3: Tensor, x4: Tensor, x5: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        top = self.top(x5)
        mid = self.down4(torch.cat([x4, _double(top)], 1))
        fine = self.down3(torch.cat([x3, _double(mid)], 1))
        mid = self.up4(torch.cat([self.to4(fine), mid], 1))
        return fine, mid, self.up5(torch.cat([self.to5(mid), top], 1))


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Head(nn.Module):
    """Box sides and class scores of each cell; the same weights at every level."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.boxes = nn.ModuleList([conv(width, 48, 3), *separable(48, 64), nn.Conv2d(64, 4 * BINS, 1)])
        self.names = nn.ModuleList([*separable(width, 64), *separable(64, 64), nn.Conv2d(64, classes, 1)])
        self.scales = nn.Parameter(torch.ones(len(STRIDES)))
        nn.init.constant_(self.names[-1].bias, -4.6)  # a score of 0.01: nearly every cell is background
        nn.init.constant_(self.boxes[-1].bias, 0.5)

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        sides, scores = list(levels), list(levels)
        for layer in self.boxes:
            sides = _at_all_levels(layer, sides)
        for layer in self.names:
            scores = _at_all_levels(layer, scores)
        return [x * scale for x, scale in zip(sides, self.scales, strict=True)], scores


def _at_all_levels(layer: nn.Module, levels: Sequence[Tensor]) -> list[Tensor]:
    """Applies a layer to each level; in training its norm sees all of them at once.

    Normed one by one, they would be trained with statistics that differ from those kept for use.
    """
    if not layer.training or isinstance(layer, nn.Conv2d):
        return [layer(x) for x in levels]
    convolved = [layer[0](x).permute(0, 2, 3, 1) for x in levels]
    rows = torch.cat([x.reshape(-1, x.shape[3]) for x in convolved])
    normed = layer[2](layer[1](rows[None, :, None].permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    parts = normed.reshape(rows.shape).split([x.shape[:3].numel() for x in convolved])
    return [part.reshape(x.shape).permute(0, 3, 1, 2) for part, x in zip(parts, convolved, strict=True)]


class Detector(nn.Module):
    """Pictures (batch, 3, h, w), float32 0..1, sides divisible by 32, to a `RawOutput`."""

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = Backbone()
        self.neck = Neck(Backbone.channels, width)
        self.head = Head(width, classes)
        self.hints = nn.ModuleList(nn.Conv2d(width, 1 + classes, 1) for _ in STRIDES)

    def forward(self, x: Tensor) -> RawOutput:
        features = self.neck(*self.backbone(x))
        sides, scores = [], []
        for side, score in zip(*self.head(features), strict=True):
            cells = int(side.shape[2]) * int(side.shape[3])  # a constant in the exported graph
            sides.append(side.permute(0, 2, 3, 1).reshape(-1, cells, 4, BINS))
            scores.append(score.permute(0, 2, 3, 1).reshape(-1, cells, self.classes))
        regions = [hint(f) for hint, f in zip(self.hints, features, strict=True)] if self.training else []
        return RawOutput(torch.cat(sides, 1), torch.cat(scores, 1), regions)


def cell_grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Centres in pixels, (cells, 2) as x, y, and strides in pixels, (cells, 1), of all levels."""
    centres, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        centres.append((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((len(centres[-1]), 1), float(stride)))
    return torch.cat(centres), torch.cat(strides)


def distances(sides: Tensor) -> Tensor:
    """Expected distances in strides, (..., 4), of side logits (..., 4, BINS)."""
    steps = torch.arange(BINS, dtype=torch.float32).reshape(BINS, 1)
    return (sides.softmax(-1) @ steps).squeeze(-1)


def corners(sides: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """Boxes x1, y1, x2, y2 in pixels, (batch, cells, 4)."""
    reach = distances(sides) * strides
    return torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], -1)
