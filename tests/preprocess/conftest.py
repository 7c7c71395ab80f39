"""Pictures in every form that a host may send, and what plain code makes of them."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from preprocess.buffers import BufferPool
from preprocess.frame import Frame
from protocol.pixel_format import PixelFormat

Rgb = NDArray[np.uint8]


@pytest.fixture
def pool() -> BufferPool:
    return BufferPool(64 << 20)


@pytest.fixture
def smooth() -> Callable[..., Rgb]:
    """Make an RGB picture without edges, of coloured spots about `spot` pixels across."""

    def make(width: int, height: int, spot: int = 8) -> Rgb:
        noise = np.random.default_rng(0).integers(20, 236, (height // spot + 2, width // spot + 2, 3))
        return cv2.resize(noise.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)

    return make


def _i420(rgb: Rgb) -> bytes:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).tobytes()


def _nv12(rgb: Rgb) -> bytes:
    height, width = rgb.shape[:2]
    i420 = np.frombuffer(_i420(rgb), np.uint8)
    luma, u, v = np.split(i420, [width * height, width * height * 5 // 4])
    return luma.tobytes() + np.column_stack([u, v]).tobytes()


def _with_alpha(picture: Rgb) -> bytes:
    alpha = np.arange(picture.shape[0] * picture.shape[1]).reshape(picture.shape[:2])
    return np.dstack([picture, alpha.astype(np.uint8)]).tobytes()


RAW: dict[PixelFormat, Callable[[Rgb], bytes]] = {
    PixelFormat.RGB: lambda rgb: rgb.tobytes(),
    PixelFormat.BGR: lambda rgb: rgb[..., ::-1].tobytes(),
    PixelFormat.GRAY: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).tobytes(),
    PixelFormat.RGBA: _with_alpha,
    PixelFormat.BGRA: lambda rgb: _with_alpha(rgb[..., ::-1]),
    PixelFormat.NV12: _nv12,
    PixelFormat.I420: _i420,
}


@pytest.fixture
def frame_of() -> Callable[[Rgb, PixelFormat], Frame]:
    """Make a raw frame of an RGB picture."""

    def make(rgb: Rgb, pixel_format: PixelFormat) -> Frame:
        return Frame(memoryview(RAW[pixel_format](rgb)), rgb.shape[1], rgb.shape[0], pixel_format)

    return make
