"""Pixel formats as they stand on the wire, and how many bytes a picture of each takes."""

from enum import IntEnum


class PixelFormat(IntEnum):
    """The `pixel_format` byte: 8 bits a channel, rows packed, no padding."""

    RGB = 0
    BGR = 1
    GRAY = 2
    RGBA = 3
    BGRA = 4
    NV12 = 5
    """Full-size Y plane, then one half-size plane of interleaved U and V (4:2:0, limited range)."""
    I420 = 6
    """Full-size Y plane, then half-size U, then half-size V (4:2:0, limited range)."""
    ENCODED = 0x7F
    """JPEG, PNG or WebP; the width and height fields may be 0."""


CHANNELS = {
    PixelFormat.RGB: 3,
    PixelFormat.BGR: 3,
    PixelFormat.GRAY: 1,
    PixelFormat.RGBA: 4,
    PixelFormat.BGRA: 4,
}
"""Interleaved formats: bytes a pixel. The planar and encoded ones are not in here."""

SUBSAMPLED = frozenset({PixelFormat.NV12, PixelFormat.I420})
"""4:2:0 formats: 12 bits a pixel, width and height even."""


def pixel_bytes(pixel_format: PixelFormat, width: int, height: int) -> int:
    """How many bytes a raw picture takes.

    Raises:
        KeyError: for ENCODED, whose size does not follow from its dimensions.
    """
    if pixel_format in SUBSAMPLED:
        return width * height * 3 // 2
    return width * height * CHANNELS[pixel_format]
