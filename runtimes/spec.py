"""What a compiled model says of itself: its tensors, its metadata, its device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

TensorMap = Mapping[str, NDArray[Any]]
"""Tensors by name; each keeps its batch axis, which is 1 for a single item."""

DYNAMIC = -1
"""The size of an axis that the model leaves open."""


class Layout(StrEnum):
    """Where the channels of an image tensor are."""

    NCHW = "nchw"
    NHWC = "nhwc"


class TensorKind(StrEnum):
    """What a model wants to be fed with at one of its inputs."""

    IMAGE = "image"
    TENSOR = "tensor"
    SCALAR = "scalar"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model."""

    name: str
    shape: tuple[int, ...]
    """Sizes of the axes, `DYNAMIC` where the model leaves one open."""
    dtype: str
    """numpy's name of the element type: "float32", "float16", "uint8" …"""
    kind: TensorKind = TensorKind.TENSOR
    layout: Layout | None = None
    """Of an image input; None for everything else."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) of an image input, `DYNAMIC` where open."""
        height, width = self.shape[2:4] if self.layout is Layout.NCHW else self.shape[1:3]
        return width, height

    @property
    def channels(self) -> int:
        """Channels of an image input, `DYNAMIC` where open."""
        return self.shape[1] if self.layout is Layout.NCHW else self.shape[3]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model file says of itself beside its tensors."""

    labels: tuple[str, ...] = ()
    """Class names by class id; empty where the file holds none."""
    task: str | None = None
    """"detect", "segment", "pose", "classify" … as the exporter wrote it."""
    stride: int | None = None
    image_size: tuple[int, int] | None = None
    """(width, height) that the exporter recommends."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """All key-value pairs of the file, as written."""


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """The device that was asked for, the one in effect, and why they differ."""

    asked: str
    effective: str
    fallback_reason: str | None = None

    @property
    def on_cpu(self) -> bool:
        """Whether predict takes the cores that preparing takes too; a double counts as such."""
        return self.effective.lower().startswith(("cpu", "fake"))


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A compiled model without its means to run: what the rooms above decide by."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: ModelMetadata
