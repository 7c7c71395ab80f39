"""Tells what a coded picture builds upon, from its first bytes: whether decoding can begin with it.

H.264: ITU-T H.264, 7.3.1 and table 7-1. VP8: RFC 6386, 9.1.
"""

import re
import struct
from enum import Enum, auto

from streaming.header import FrameFormat


class Role(Enum):
    """What a packet is to those after it."""

    KEY = auto()
    """Builds upon nothing before it."""
    INTER = auto()
    """Builds upon pictures before it."""
    PARAMETERS = auto()
    """No picture, but what pictures are read by."""


_UNIT = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)
"""Annex B: a start code and the first byte of what it starts."""
_IDR_SLICE, _PARTS = 5, frozenset({1, 2, 3, 4})
_SEQUENCE_PARAMETERS = 7
"""Encoders send these before pictures that decoding may begin with, also before those that are no IDR."""


def role_of(format_: FrameFormat, data: memoryview) -> Role:
    """Tell what a packet of H264 or VP8 is."""
    return _READERS[format_](data)


def _h264(data: memoryview) -> Role:
    """Look at the units up to the first part of a picture."""
    parameters = found = False
    for unit in _UNIT.finditer(data):
        kind = unit[1][0] & 0x1F
        found = True
        if kind == _IDR_SLICE or (kind in _PARTS and parameters):
            return Role.KEY
        if kind in _PARTS:
            return Role.INTER
        parameters = parameters or kind == _SEQUENCE_PARAMETERS
    return Role.PARAMETERS if found else Role.INTER


def _vp8(data: memoryview) -> Role:
    """The first bit is 0 for a key frame."""
    return Role.INTER if not len(data) or data[0] & 1 else Role.KEY


def size_of(format_: FrameFormat, data: memoryview) -> tuple[int, int] | None:
    """Return width and height where a key picture has them in plain sight: VP8 does, H264 does not."""
    if format_ is not FrameFormat.VP8 or len(data) < 10:
        return None
    width, height = struct.unpack_from("<HH", data, 6)
    return width & 0x3FFF, height & 0x3FFF


_READERS = {FrameFormat.H264: _h264, FrameFormat.VP8: _vp8}
