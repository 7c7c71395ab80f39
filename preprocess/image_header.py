"""Reads a picture's size from the first bytes of its file, so that a huge one is never decoded.

The parsers take what the libraries behind OpenCV take, in the same order, so that both mean the
same size. JPEG: ITU T.81, annex B. PNG: W3C PNG, 11.2.2. WebP: RFC 9649.
"""

import re
import struct
from collections.abc import Callable

from preprocess.errors import DecodeError

Size = tuple[int, int]
"""(width, height) in pixels, as stored: before any orientation is applied."""

MAX_JPEG_SEGMENTS = 4096
"""Bounds the walk through a hostile file. ICC profiles and extended XMP reach a few hundred."""

_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
"""As libjpeg looks for a marker: past garbage, stuffed zeros and fill bytes."""
_JPEG_SIZED = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15, without DHT, JPG and DAC."""
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
"""TEM and RST: markers without a segment."""
_JPEG_TOO_LATE = frozenset({0xD8, 0xD9, 0xDA})
"""SOI, EOI, SOS: no size comes after these."""


def probe(data: memoryview) -> Size:
    """Return the stored size of an encoded picture, at least 1x1, without decoding it.

    Raises:
        DecodeError: not a JPEG, PNG or WebP file, or its header is broken or cut short.
    """
    start = bytes(data[:12])
    for matches, read in _READERS:
        if matches(start):
            return _checked(*_parsed(read, data))
    raise DecodeError("not a JPEG, PNG or WebP picture")


def _parsed(read: Callable[[memoryview], Size], data: memoryview) -> Size:
    try:
        return read(data)
    except (struct.error, IndexError) as exc:
        raise DecodeError("the picture's header is cut short") from exc


def _checked(width: int, height: int) -> Size:
    if width < 1 or height < 1:
        raise DecodeError(f"the picture's header says {width}x{height} pixels")
    return width, height


def _jpeg_size(data: memoryview) -> Size:
    position = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            raise DecodeError("the JPEG header is cut short")
        marker, position = found[1][0], found.end()
        if marker in _JPEG_TOO_LATE:
            raise DecodeError("the JPEG header has no size")
        if marker in _JPEG_SIZED:
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
        if marker not in _JPEG_BARE:
            (length,) = struct.unpack_from(">H", data, position)
            position += max(length, 2)
    raise DecodeError(f"the JPEG header has no size in its first {MAX_JPEG_SEGMENTS} segments")


def _png_size(data: memoryview) -> Size:
    kind, width, height = struct.unpack_from(">4sII", data, 12)
    if kind != b"IHDR":
        raise DecodeError("the PNG file does not begin with its header")
    return width, height


def _webp_size(data: memoryview) -> Size:
    read = _WEBP_CHUNKS.get(bytes(data[12:16]))
    if read is None:
        raise DecodeError("the WebP file does not begin with a picture")
    return read(data)


def _webp_lossy_size(data: memoryview) -> Size:
    start, width, height = struct.unpack_from("<3sHH", data, 23)
    if start != b"\x9d\x01\x2a":
        raise DecodeError("the WebP picture does not begin with a key frame")
    return width & 0x3FFF, height & 0x3FFF


def _webp_lossless_size(data: memoryview) -> Size:
    signature, bits = struct.unpack_from("<BI", data, 20)
    if signature != 0x2F:
        raise DecodeError("the lossless WebP picture has no signature")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _webp_extended_size(data: memoryview) -> Size:
    width_low, width_high, height_low, height_high = struct.unpack_from("<HBHB", data, 24)
    return (width_high << 16 | width_low) + 1, (height_high << 16 | height_low) + 1


_WEBP_CHUNKS: dict[bytes, Callable[[memoryview], Size]] = {
    b"VP8 ": _webp_lossy_size,
    b"VP8L": _webp_lossless_size,
    b"VP8X": _webp_extended_size,
}

_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[memoryview], Size]], ...] = (
    (lambda start: start.startswith(b"\xff\xd8\xff"), _jpeg_size),
    (lambda start: start.startswith(b"\x89PNG\r\n\x1a\n"), _png_size),
    (lambda start: start[:4] == b"RIFF" and start[8:] == b"WEBP", _webp_size),
)
"""By a file's first 12 bytes."""
