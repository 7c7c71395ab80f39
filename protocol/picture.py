"""`Picture`: the pixels in a request, checked against what its header says."""

import msgspec

from protocol.pixel_format import SUBSAMPLED, PixelFormat, pixel_bytes

_FORMATS = {int(member): member for member in PixelFormat}


class Picture(msgspec.Struct, frozen=True, gc=False):
    """A picture as it stands in a packet, not decoded and not copied."""

    width: int
    """Pixels; may be 0 for ENCODED."""
    height: int
    format: PixelFormat
    data: memoryview
    """A raw format: exactly its pixels. ENCODED: the whole file."""


def wrap_picture(width: int, height: int, format_byte: int, data: memoryview, strict: bool) -> Picture:
    """Check a picture's header against its bytes.

    Args:
        width: pixels.
        height: pixels.
        format_byte: `pixel_format` as it came.
        data: everything that came for it.
        strict: bytes beyond the pixels are a fault (protocol 3); else they are cut off.

    Raises:
        ValueError: the reason, to be put behind the request's own prefix.
    """
    pixel_format = _FORMATS.get(format_byte)
    if pixel_format is None:
        raise ValueError(f"unknown pixel format {format_byte}")
    if pixel_format is PixelFormat.ENCODED:
        if not data:
            raise ValueError("an encoded picture of no bytes")
        return Picture(width, height, pixel_format, data)
    needed = _pixels_needed(width, height, pixel_format)
    if len(data) < needed:
        raise ValueError(f"{width}x{height} {pixel_format.name} needs {needed} bytes, got {len(data)}")
    if strict and len(data) > needed:
        raise ValueError(f"{width}x{height} {pixel_format.name} takes {needed} bytes, got {len(data)}")
    return Picture(width, height, pixel_format, data[:needed])


def _pixels_needed(width: int, height: int, pixel_format: PixelFormat) -> int:
    """Bytes of a raw picture of a possible size; ValueError for an impossible one."""
    if width == 0 or height == 0:
        raise ValueError(f"width and height must be at least 1, got {width}x{height}")
    if pixel_format in SUBSAMPLED and (width | height) & 1:
        raise ValueError(f"{pixel_format.name} needs an even width and height, got {width}x{height}")
    return pixel_bytes(pixel_format, width, height)
