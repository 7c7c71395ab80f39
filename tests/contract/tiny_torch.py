"""Writes PyTorch programs of a few kilobytes, each with a known answer. Needs torch."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Means(nn.Module):
    """Answers the mean of each channel: [batch, channels]."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


class Convolved(nn.Module):
    """A convolution, pooled: [batch, 4]."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images)).relu().mean((2, 3))


class Nested(nn.Module):
    """Answers with tensors in every kind of nest."""

    def forward(self, images: Tensor):
        return {"boxes": images.mean((2, 3)), "more": [images + 1, (images * 2,)]}, images.amax(1)


class Flat(nn.Module):
    """Takes one size alone: a dense layer behind 8x8 pixels of one channel."""

    def __init__(self, side: int = 28) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense = nn.Linear(side * side, 10)

    def forward(self, digits: Tensor) -> Tensor:
        return self.dense(digits.flatten(1))


class InPlace(nn.Module):
    """Writes into its input, as scripted preprocessing often does."""

    def forward(self, images: Tensor) -> Tensor:
        return images.div_(2).flatten(1)


class Same(nn.Module):
    """Answers with its input, and with a part of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("anchors", torch.ones(1, 5))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, self.anchors


class HiddenBatch(nn.Module):
    """Has the exporter's batch size in a reshape."""

    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(1, -1)[:, :4]


class Flatter(nn.Module):
    """Answers with what torch.jit.trace carries: tuples."""

    def forward(self, images: Tensor):
        return images.mean((2, 3)), (images + 1, images * 2)


def quietly(action, *arguments, **named):
    """Call what is deprecated in the library: the files that it writes are what users have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return action(*arguments, **named)


def traced(path: Path, module: nn.Module, *examples: Tensor, config: Mapping[str, Any] | None = None) -> Path:
    """Write what torch.jit.trace makes of a module, with a `config.txt` as YOLO exporters leave it."""
    extra = {} if config is None else {"config.txt": json.dumps(config)}
    quietly(torch.jit.save, quietly(torch.jit.trace, module.eval(), examples), str(path), _extra_files=extra)
    return path


def scripted(path: Path, module: nn.Module, config: Mapping[str, Any] | None = None) -> Path:
    """Write what torch.jit.script makes of a module: without an example of its inputs."""
    extra = {} if config is None else {"config.txt": json.dumps(config)}
    quietly(torch.jit.save, quietly(torch.jit.script, module.eval()), str(path), _extra_files=extra)
    return path


def exported(path: Path, module: nn.Module, *examples: Tensor, extra=None, **settings: Any) -> Path:
    """Write what torch.export makes of a module; `settings` are its own."""
    torch.export.save(torch.export.export(module.eval(), examples, **settings), path, extra_files=extra)
    return path


def means(path: Path) -> Path:
    """Write `Means` for pictures of 8x8, any number at once."""
    return traced(path, Means(), torch.zeros(2, 3, 8, 8))


def single(path: Path) -> Path:
    """Write `Means` for one picture of 8x8."""
    return exported(path, Means(), torch.zeros(1, 3, 8, 8))
