"""`Picture` and `SharedPicture`: pixels in a request or in shared memory, checked against their header."""

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


class SharedPicture(msgspec.Struct, frozen=True, gc=False):
    """A picture that lies in a region: what there is to know of it without looking."""

    width: int
    """Pixels; may be 0 for ENCODED."""
    height: int
    format: PixelFormat
    size: int
    """Bytes that it takes in the region. A raw format: exactly its pixels. ENCODED: the whole file."""


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
    pixel_format, size = _checked(width, height, format_byte, len(data), strict)
    return Picture(width, height, pixel_format, data[:size])


def describe_picture(width: int, height: int, format_byte: int, size: int, strict: bool) -> SharedPicture:
    """Check a picture's header against the bytes that its request says there are.

    Args:
        width: pixels.
        height: pixels.
        format_byte: `pixel_format` as it came.
        size: bytes, as it came.
        strict: as in wrap_picture.

    Raises:
        ValueError: as wrap_picture.
    """
    pixel_format, taken = _checked(width, height, format_byte, size, strict)
    return SharedPicture(width, height, pixel_format, taken)


def _checked(width: int, height: int, format_byte: int, given: int, strict: bool) -> tuple[PixelFormat, int]:
    """The format, and how many of the given bytes the picture takes; ValueError where they disagree."""
    pixel_format = _FORMATS.get(format_byte)
    if pixel_format is None:
        raise ValueError(f"unknown pixel format {format_byte}")
    if pixel_format is PixelFormat.ENCODED:
        if not given:
            raise ValueError("an encoded picture of no bytes")
        return pixel_format, given
    needed = _pixels_needed(width, height, pixel_format)
    if given < needed:
        raise ValueError(f"{width}x{height} {pixel_format.name} needs {needed} bytes, got {given}")
    if strict and given > needed:
        raise ValueError(f"{width}x{height} {pixel_format.name} takes {needed} bytes, got {given}")
    return pixel_format, needed


def _pixels_needed(width: int, height: int, pixel_format: PixelFormat) -> int:
    """Bytes of a raw picture of a possible size; ValueError for an impossible one."""
    if width == 0 or height == 0:
        raise ValueError(f"width and height must be at least 1, got {width}x{height}")
    if pixel_format in SUBSAMPLED and (width | height) & 1:
        raise ValueError(f"{pixel_format.name} needs an even width and height, got {width}x{height}")
    return pixel_bytes(pixel_format, width, height)
