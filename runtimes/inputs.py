"""Tells what a model's inputs are to be fed with, from their shapes alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from runtimes.spec import DYNAMIC, Layout, TensorKind, TensorSpec

Axis = int | str | None
"""One axis as a model file declares it: its size, the name of an open size, or nothing."""

IMAGE_DTYPES = frozenset({"float32", "float16", "uint8", "int8"})
IMAGE_CHANNELS = frozenset({1, 3})
_IMAGE_RANK = 4
_INTEGERS = frozenset({"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"})
_CHANNEL_NAMES = frozenset({"c", "ch", "chan", "channel", "channels", "num_channels", "in_channels"})
_HEIGHT_NAMES = frozenset({"h", "height", "image_height", "img_height"})
_WIDTH_NAMES = frozenset({"w", "width", "image_width", "img_width"})


@dataclass(frozen=True, slots=True)
class DeclaredTensor:
    """An input or output as a model file declares it."""

    name: str
    axes: tuple[Axis, ...]
    dtype: str
    """numpy's name of the element type."""


def input_specs(declared: Sequence[DeclaredTensor]) -> tuple[TensorSpec, ...]:
    """Return the inputs with their kinds; the first that can be a picture is the image."""
    layouts = [image_layout(tensor.axes, tensor.dtype) for tensor in declared]
    image = next((index for index, layout in enumerate(layouts) if layout is not None), None)
    return tuple(
        TensorSpec(
            name=tensor.name,
            shape=sizes(tensor.axes),
            dtype=tensor.dtype,
            kind=TensorKind.IMAGE if index == image else _plain_kind(tensor),
            layout=layouts[index] if index == image else None,
        )
        for index, tensor in enumerate(declared)
    )


def sizes(axes: Sequence[Axis]) -> tuple[int, ...]:
    """Return the sizes of the axes, `DYNAMIC` where one is open."""
    return tuple(axis if isinstance(axis, int) and axis >= 0 else DYNAMIC for axis in axes)


def image_layout(axes: Sequence[Axis], dtype: str) -> Layout | None:
    """Return where the channels are if this can be a picture, None if it cannot or may be either.

    One or three channels at exactly one of axis 1 and axis 3 decide; names of open axes
    ("channels", "height", "width") decide where the sizes do not.
    """
    if len(axes) != _IMAGE_RANK or dtype not in IMAGE_DTYPES:
        return None
    by_name = _layout_by_names(axes)
    first, last = (sizes(axes)[axis] in IMAGE_CHANNELS for axis in (1, 3))
    if first != last:
        by_size = Layout.NCHW if first else Layout.NHWC
        return by_size if by_name in {None, by_size} else None
    return by_name


def _layout_by_names(axes: Sequence[Axis]) -> Layout | None:
    names = [axis.lower() if isinstance(axis, str) else "" for axis in axes]
    if names[3] in _CHANNEL_NAMES or (names[1] in _HEIGHT_NAMES and names[2] in _WIDTH_NAMES):
        return Layout.NHWC
    if names[1] in _CHANNEL_NAMES or (names[2] in _HEIGHT_NAMES and names[3] in _WIDTH_NAMES):
        return Layout.NCHW
    return None


def _plain_kind(tensor: DeclaredTensor) -> TensorKind:
    if not tensor.axes or (tensor.axes == (1,) and tensor.dtype in _INTEGERS):
        return TensorKind.SCALAR
    return TensorKind.TENSOR
