"""Makes pixels into a model's input tensor: resize, border, layout, channel order, dtype, scale.

Three passes over memory that is used again, each in native code without the interpreter lock:
resize into a small picture, pack it into a uint8 canvas of the tensor's layout and channel order,
convert the canvas. A 1080p picture becomes a letterboxed 640x640 float32 NCHW tensor in 0.47 ms
of one core of an AMD EPYC (0.33 of it the resize), a 640x640 one in 0.15; a resize into a canvas
and one numpy multiply over its transpose took 0.73 and 0.41.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.buffers import BufferPool
from preprocess.errors import UnsupportedInputError
from preprocess.frame import Box, Pixels, Prepared
from preprocess.letterbox import Placement, place, region, transform
from preprocess.options import ChannelOrder, InputRecipe, PrepareOptions
from protocol.pixel_format import PixelFormat
from runtimes.spec import Layout

# Parallelism is the worker's, one picture a thread: two of OpenCV's own threads a picture gained
# nothing here and made the times jitter.
cv2.setNumThreads(1)

Picture = NDArray[np.uint8]
"""uint8 (height, width, channels), or (height, width) of one channel."""

_SENTINELS = 2
"""Bytes behind the canvas that hold 0 and 255: see `_to_float`."""


def prepare(pixels: Pixels, options: PrepareOptions, roi: Box | None, pool: BufferPool) -> Prepared:
    """Return the tensor that a model wants of a picture, or of a region of it.

    Args:
        pixels: the whole picture; it is only read.
        options: what the model wants.
        roi: the part to prepare, in pixels of the picture; None is the whole of it.
        pool: where the tensor's memory comes from.

    Raises:
        RegionError: `roi` is empty, or does not lie within the picture.
        UnsupportedInputError: a tensor of this dtype is not made here.
    """
    convert = _CONVERTERS.get(options.dtype)
    if convert is None:
        raise UnsupportedInputError(f"image inputs of dtype {options.dtype} are not supported")
    box = region(pixels.width, pixels.height, roi)
    placed = place(box[2], box[3], options)
    picture = _resized(pixels.array, box, placed, pool)
    channels = _channels(options.recipe.channels)
    count = channels * options.height * options.width
    memory = pool.tensor((count + _SENTINELS,), np.uint8)
    _PACKERS[options.layout](picture, pixels.format, memory[:count], placed, options)
    tensor = convert(memory, options, pool)[:count].reshape(_shape(channels, options))
    return Prepared(tensor, transform(pixels.width, pixels.height, box, options))


def _channels(order: ChannelOrder) -> int:
    return 1 if order is ChannelOrder.GRAY else 3


def _shape(channels: int, options: PrepareOptions) -> tuple[int, int, int, int]:
    if options.layout is Layout.NCHW:
        return 1, channels, options.height, options.width
    return 1, options.height, options.width, channels


def _resized(source: Picture, box: Box, placed: Placement, pool: BufferPool) -> Picture:
    """Return the region `box` in the size of its place; the source itself where it fits."""
    x, y, width, height = box
    part = source[y : y + height, x : x + width]
    if (width, height) == (placed.width, placed.height):
        return part
    small = pool.tensor((placed.height, placed.width, *source.shape[2:]), np.uint8)
    cv2.resize(part, (placed.width, placed.height), dst=small, interpolation=cv2.INTER_LINEAR)
    return small


_COLOR_CODES: dict[tuple[PixelFormat, ChannelOrder], int | None] = {
    (PixelFormat.RGB, ChannelOrder.RGB): None,
    (PixelFormat.RGB, ChannelOrder.BGR): cv2.COLOR_RGB2BGR,
    (PixelFormat.RGB, ChannelOrder.GRAY): cv2.COLOR_RGB2GRAY,
    (PixelFormat.BGR, ChannelOrder.RGB): cv2.COLOR_BGR2RGB,
    (PixelFormat.BGR, ChannelOrder.BGR): None,
    (PixelFormat.BGR, ChannelOrder.GRAY): cv2.COLOR_BGR2GRAY,
    (PixelFormat.RGBA, ChannelOrder.RGB): cv2.COLOR_RGBA2RGB,
    (PixelFormat.RGBA, ChannelOrder.BGR): cv2.COLOR_RGBA2BGR,
    (PixelFormat.RGBA, ChannelOrder.GRAY): cv2.COLOR_RGBA2GRAY,
    (PixelFormat.BGRA, ChannelOrder.RGB): cv2.COLOR_BGRA2RGB,
    (PixelFormat.BGRA, ChannelOrder.BGR): cv2.COLOR_BGRA2BGR,
    (PixelFormat.BGRA, ChannelOrder.GRAY): cv2.COLOR_BGRA2GRAY,
    (PixelFormat.GRAY, ChannelOrder.RGB): cv2.COLOR_GRAY2RGB,
    (PixelFormat.GRAY, ChannelOrder.BGR): cv2.COLOR_GRAY2BGR,
    (PixelFormat.GRAY, ChannelOrder.GRAY): None,
}
"""OpenCV's conversion from a picture's channels to a tensor's; None where they are the same."""

_MEANING = {
    PixelFormat.RGB: "rgb",
    PixelFormat.BGR: "bgr",
    PixelFormat.RGBA: "rgba",
    PixelFormat.BGRA: "bgra",
}
"""What each channel of an interleaved picture is."""


def _pack_interleaved(
    picture: Picture, source: PixelFormat, canvas: Picture, placed: Placement, options: PrepareOptions
) -> None:
    """Write the picture and its border to `canvas`, (H * W * C,), channels last."""
    order = options.recipe.channels
    size = (options.height, options.width)
    whole = canvas.reshape(size if order is ChannelOrder.GRAY else (*size, 3))
    inner = whole[placed.top : placed.bottom, placed.left : placed.right]
    code = _COLOR_CODES[source, order]
    if code is None:
        inner[...] = picture
    else:
        cv2.cvtColor(picture, code, dst=inner)
    _fill_border(whole, placed, options.recipe.pad_value)


def _pack_planar(
    picture: Picture, source: PixelFormat, canvas: Picture, placed: Placement, options: PrepareOptions
) -> None:
    """Write the picture and its border to `canvas`, (C * H * W,), channels first."""
    order = options.recipe.channels
    if order is ChannelOrder.GRAY:
        _pack_interleaved(picture, source, canvas, placed, options)
        return
    planes = canvas.reshape(3, options.height, options.width)
    inner = planes[:, placed.top : placed.bottom, placed.left : placed.right]
    if source is PixelFormat.GRAY:
        inner[...] = picture
    else:
        _split(picture, [order.value.find(channel) for channel in _MEANING[source]], inner)
    for plane in planes:
        _fill_border(plane, placed, options.recipe.pad_value)


def _split(picture: Picture, targets: list[int], planes: Picture) -> None:
    """Write channel i of the picture to plane `targets[i]`, (C, h, w); -1 drops it."""
    dropped = np.empty(planes.shape[1:], np.uint8) if -1 in targets else planes[0]
    cv2.split(picture, [dropped if target < 0 else planes[target] for target in targets])


def _fill_border(canvas: Picture, placed: Placement, value: int) -> None:
    """Fill what the picture leaves of a canvas (H, W, …)."""
    canvas[: placed.top] = value
    canvas[placed.bottom :] = value
    canvas[placed.top : placed.bottom, : placed.left] = value
    canvas[placed.top : placed.bottom, placed.right :] = value


_PACKERS: dict[Layout, Callable[[Picture, PixelFormat, Picture, Placement, PrepareOptions], None]] = {
    Layout.NCHW: _pack_planar,
    Layout.NHWC: _pack_interleaved,
}


def _to_uint8(memory: Picture, _options: PrepareOptions, _pool: BufferPool) -> NDArray[Any]:
    """Pixels as they are."""
    return memory


def _to_int8(memory: Picture, _options: PrepareOptions, _pool: BufferPool) -> NDArray[Any]:
    """Pixel minus 128, by flipping the sign bit in place."""
    np.bitwise_xor(memory, 0x80, out=memory)
    return memory.view(np.int8)


def _to_float(memory: Picture, options: PrepareOptions, pool: BufferPool) -> NDArray[Any]:
    """Scale pixels: (pixel - mean) * scale; `memory` and the result have `_SENTINELS` elements more."""
    recipe = options.recipe
    tensor = pool.tensor(memory.shape, options.dtype)
    if len(recipe.scale) == 1 and len(recipe.mean) == 1:
        _convert_alike(memory, tensor, recipe)
    else:
        _convert_by_table(memory[:-_SENTINELS], tensor[:-_SENTINELS], options)
    return tensor


def _convert_alike(memory: Picture, tensor: NDArray[Any], recipe: InputRecipe) -> None:
    """Convert with one factor and one offset for all channels.

    `cv2.normalize` is the one way from Python to OpenCV's vectorised convertTo with a factor: it
    maps the smallest and the largest value it finds to two given ones. The sentinels make these 0
    and 255. float32: 0.08 ms for 640x640x3 against 0.17 of numpy; float16: 0.10 against 6.5.
    """
    low, high = ((value - recipe.mean[0]) * recipe.scale[0] for value in (0, 255))
    memory[-_SENTINELS:] = (0, 255)
    depth = cv2.CV_32F if tensor.dtype == np.float32 else cv2.CV_16F
    cv2.normalize(memory[None], tensor[None], low, high, cv2.NORM_MINMAX, depth)


def _convert_by_table(canvas: Picture, tensor: NDArray[Any], options: PrepareOptions) -> None:
    """Convert with a table of 256 values for each channel."""
    table = _table(options.recipe, options.dtype)
    channels = table.shape[2]
    # OpenCV looks up by size of element; this keeps it from minding what a float16 is.
    words = tensor.view(table.dtype)
    if options.layout is Layout.NHWC:
        cv2.LUT(canvas.reshape(-1, 1, channels), table, dst=words.reshape(-1, 1, channels))
        return
    planes = zip(canvas.reshape(channels, 1, -1), words.reshape(channels, 1, -1), strict=True)
    for channel, (source, target) in enumerate(planes):
        cv2.LUT(source, np.ascontiguousarray(table[:, :, channel]), dst=target)


@lru_cache(maxsize=64)
def _table(recipe: InputRecipe, dtype: str) -> NDArray[Any]:
    """(1, 256, C): what each pixel value becomes in each channel, as integers of the same size."""
    channels = _channels(recipe.channels)
    scale, mean = (np.broadcast_to(np.array(values), channels) for values in (recipe.scale, recipe.mean))
    table: NDArray[Any] = ((np.arange(256)[:, None] - mean) * scale).astype(dtype)
    return table.view(f"i{table.itemsize}")[None]


_CONVERTERS: dict[str, Callable[[Picture, PrepareOptions, BufferPool], NDArray[Any]]] = {
    "uint8": _to_uint8,
    "int8": _to_int8,
    "float16": _to_float,
    "float32": _to_float,
}
"""By dtype of the tensor."""
