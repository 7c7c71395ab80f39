"""`Frame`: a picture as it came, encoded or raw; and the geometry from it to a tensor."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.pixel_format import PixelFormat

Box = tuple[int, int, int, int]
"""x, y, width, height in whole pixels of the source picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture in memory that the frame keeps alive but does not own or write."""

    data: memoryview
    """The pixels, rows packed, or the encoded file."""
    width: int
    """Pixels; 0 while encoded and not yet known."""
    height: int
    format: PixelFormat


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A decoded picture."""

    array: NDArray[np.uint8]
    """uint8 (height, width, channels) for RGB, BGR, RGBA and BGRA, (height, width) for GRAY."""
    format: PixelFormat
    """Interleaved, or GRAY."""

    @property
    def width(self) -> int:
        return int(self.array.shape[1])

    @property
    def height(self) -> int:
        return int(self.array.shape[0])


@dataclass(frozen=True, slots=True)
class Transform:
    """Geometry of one prepared tensor: tensor = (source - offset) * scale + pad, a coordinate.

    Source coordinates are pixels of the whole picture, tensor coordinates pixels of the tensor.
    """

    source_width: int
    source_height: int
    roi: Box
    """The part of the source that was prepared; the whole of it without a region of interest."""
    scale_x: float
    scale_y: float
    pad_x: float
    pad_y: float
    tensor_width: int
    tensor_height: int


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A tensor ready for a model, and the way back to the picture."""

    tensor: NDArray[Any]
    """(1, C, H, W) or (1, H, W, C), C-contiguous, of the model's dtype."""
    transform: Transform
