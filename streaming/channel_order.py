"""Puts the channels of pixels into another order."""

import numpy as np
from numpy.typing import NDArray

from protocol.pixel_format import CHANNELS, PixelFormat
from streaming.errors import UnsupportedStreamError
from streaming.libraries import library


def reordered(pixels: NDArray[np.uint8], have: PixelFormat, wanted: PixelFormat) -> NDArray[np.uint8]:
    """Return the same picture in another order of channels; the same array where that is the one it has.

    Args:
        pixels: (height, width, channels), or (height, width) of GRAY.
        have: their order: RGB, BGR, GRAY, RGBA or BGRA.
        wanted: the order of what is returned, one of these, too.

    Raises:
        UnsupportedStreamError: another format is wanted, or OpenCV is not installed.
    """
    if have is wanted:
        return pixels
    if wanted not in CHANNELS:
        raise UnsupportedStreamError(f"{have.name} is not made into {wanted.name}; ask for BGR, RGB or GRAY")
    cv2 = library("cv2", "opencv")
    converted: NDArray[np.uint8] = cv2.cvtColor(pixels, getattr(cv2, f"COLOR_{have.name}2{wanted.name}"))
    return converted
