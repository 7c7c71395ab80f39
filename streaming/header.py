"""The 17 bytes before a frame's data: when it was taken, how large it is, and what its bytes are."""

import struct
from dataclasses import dataclass
from enum import IntEnum

from streaming.errors import BadStreamError, StreamTooLargeError

_HEADER = struct.Struct("<QIIB")
HEADER_BYTES = _HEADER.size

_LATEST_MS = 2**63 - 1
"""Decoders count in signed numbers; this is 292 million years."""


class FrameFormat(IntEnum):
    """What a frame's data are; another enumeration than the pixel formats of requests."""

    RGB = 0
    BGR = 1
    H264 = 2
    """Annex B: one picture, with its parameter sets before a key frame, or these alone."""
    VP8 = 3
    JPEG = 4


RAW_FORMATS = frozenset({FrameFormat.RGB, FrameFormat.BGR})
"""Three bytes a pixel, rows packed."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What is said of a frame before its data."""

    timestamp_ms: int
    width: int
    """Pixels; 0 may stand where the data tell it themselves (H264, VP8, JPEG)."""
    height: int
    format: FrameFormat

    @property
    def raw_bytes(self) -> int | None:
        """How many bytes the data of RGB and BGR have; None for the others."""
        return self.width * self.height * 3 if self.format in RAW_FORMATS else None

    def pack(self) -> bytes:
        """Return the 17 bytes."""
        return _HEADER.pack(self.timestamp_ms, self.width, self.height, self.format)


def unpack_header(data: bytes | bytearray | memoryview, max_pixels: int) -> FrameHeader:
    """Read the header that `data` begin with.

    Raises:
        BadStreamError: too short, of an unknown format, or of no size.
        StreamTooLargeError: more than `max_pixels`.
    """
    if len(data) < HEADER_BYTES:
        raise BadStreamError(f"a frame of {len(data)} bytes is shorter than its header of {HEADER_BYTES}")
    timestamp_ms, width, height, number = _HEADER.unpack_from(data)
    if number not in _FORMATS:
        known = ", ".join(f"{format_.value} {format_.name}" for format_ in FrameFormat)
        raise BadStreamError(f"frame format {number} is unknown; known are {known}")
    if timestamp_ms > _LATEST_MS:
        raise BadStreamError(f"the timestamp {timestamp_ms} ms is beyond {_LATEST_MS}")
    header = FrameHeader(timestamp_ms, width, height, FrameFormat(number))
    if header.raw_bytes == 0:
        raise BadStreamError(f"a frame of {width}x{height} {header.format.name} has no pixels")
    refuse_larger(width, height, max_pixels)
    return header


def refuse_larger(width: int, height: int, max_pixels: int) -> None:
    """Raise `StreamTooLargeError` where a picture has more than `max_pixels`."""
    if width * height > max_pixels:
        raise StreamTooLargeError(f"a frame has {width}x{height} pixels, more than {max_pixels}")


_FORMATS = frozenset(format_.value for format_ in FrameFormat)
