"""Converts NV12 and I420 to BGR, by the matrices of ITU-R BT.601 and BT.709, limited range."""

from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.buffers import BufferPool
from preprocess.options import ColorSpace
from protocol.pixel_format import PixelFormat

Plane = NDArray[np.uint8]
"""uint8 (height, width), or (height, width, channels)."""


def yuv_to_bgr(planes: Plane, layout: PixelFormat, color_space: ColorSpace, pool: BufferPool) -> Plane:
    """Return BGR (height, width, 3) of 4:2:0 planes (height * 3 / 2, width), in memory of `pool`."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    bgr: Plane = pool.tensor((height, width, 3), np.uint8)
    _CONVERTERS[color_space](planes, layout, bgr, pool)
    return bgr


_BT601_CODES = {PixelFormat.NV12: cv2.COLOR_YUV2BGR_NV12, PixelFormat.I420: cv2.COLOR_YUV2BGR_I420}


def _bt601(planes: Plane, layout: PixelFormat, bgr: Plane, _pool: BufferPool) -> None:
    cv2.cvtColor(planes, _BT601_CODES[layout], dst=bgr)


def _bt709(planes: Plane, layout: PixelFormat, bgr: Plane, pool: BufferPool) -> None:
    """Convert by matrix: for 4:2:0, OpenCV has BT.601 alone.

    Each chroma sample serves its four pixels, as it does in OpenCV's conversion. 1080p takes three
    times as long as BT.601; two conversions of it on rescaled chroma took longer still.
    """
    height, width = bgr.shape[:2]
    full = [pool.tensor((height, width), np.uint8) for _ in range(2)]
    for chroma, target in zip(_CHROMA[layout](planes[height:]), full, strict=True):
        cv2.resize(chroma, (width, height), dst=target, interpolation=cv2.INTER_NEAREST)
    cv2.merge([planes[:height], *full], dst=bgr)
    cv2.transform(bgr, _BT709_MATRIX, dst=bgr)


def _interleaved(chroma: Plane) -> Iterable[NDArray[Any]]:
    """Return U and V, each (h, w), of rows that alternate between them, (h, 2 * w)."""
    return cv2.split(chroma.reshape(chroma.shape[0], -1, 2))


def _one_after_the_other(chroma: Plane) -> Iterable[NDArray[Any]]:
    """Return U and V, each (h, w), of planes that share rows two by two, (h, 2 * w)."""
    return chroma.reshape(2, chroma.shape[0], -1)


_CHROMA: dict[PixelFormat, Callable[[Plane], Iterable[NDArray[Any]]]] = {
    PixelFormat.NV12: _interleaved,
    PixelFormat.I420: _one_after_the_other,
}


def _matrix(red: float, blue: float) -> NDArray[np.float64]:
    """Return the (3, 4) matrix from (Y, U, V, 1) to (B, G, R), both 0 to 255.

    Y spans 16 to 235, U and V 16 to 240; `red` and `blue` are the standard's K_R and K_B.
    """
    green = 1 - red - blue
    luma, chroma = 255 / 219, 255 / 112
    from_u, from_v = chroma * (1 - blue), chroma * (1 - red)
    rows = np.array(
        [
            [luma, from_u, 0.0],
            [luma, -from_u * blue / green, -from_v * red / green],
            [luma, 0.0, from_v],
        ]
    )
    return np.column_stack([rows, -rows @ [16.0, 128.0, 128.0]])


_BT709_MATRIX = _matrix(red=0.2126, blue=0.0722)

_CONVERTERS: dict[ColorSpace, Callable[[Plane, PixelFormat, Plane, BufferPool], None]] = {
    ColorSpace.BT601: _bt601,
    ColorSpace.BT709: _bt709,
}
