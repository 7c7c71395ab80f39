"""Request packets made by hand, byte for byte as docs/protocol.md has them: nothing of `protocol` is used."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

COMMAND, INFER_JPEG, INFER_RAW, INFER_BATCH, CACHE_FRAME, INFER_CACHED, INFER_SHARED = range(7)
WITH_OPTIONS = 0x80

RGB, BGR, GRAY, RGBA, BGRA, NV12, I420 = range(7)
ENCODED = 0x7F

Item = tuple[int, int, int, bytes]
"""width, height, pixel_format, pixels."""


def packet(request_id: int, type_byte: int, payload: bytes = b"") -> bytes:
    return struct.pack("<IIB", 5 + len(payload), request_id, type_byte) + payload


def command(request_id: int, fields: Mapping[str, Any]) -> bytes:
    return packet(request_id, COMMAND, json.dumps(fields).encode())


def jpeg(model: int, data: bytes) -> bytes:
    return bytes([model]) + data


def raw(model: int, width: int, height: int, pixel_format: int, pixels: bytes) -> bytes:
    return struct.pack("<BIIB", model, width, height, pixel_format) + pixels


def batch(model: int, items: Sequence[Item], count: int | None = None) -> bytes:
    head = struct.pack("<BB", model, len(items) if count is None else count)
    return head + b"".join(
        struct.pack("<IIBI", width, height, pixel_format, len(pixels)) + pixels
        for width, height, pixel_format, pixels in items
    )


def cache(frame_id: int, width: int, height: int, pixel_format: int, pixels: bytes) -> bytes:
    return struct.pack("<IIIB", frame_id, width, height, pixel_format) + pixels


def cached(model: int, frame_id: int) -> bytes:
    return struct.pack("<BI", model, frame_id)


def shared(
    model: int, region_id: int, offset: int, width: int, height: int, pixel_format: int, size: int
) -> bytes:
    return struct.pack("<BIQIIBI", model, region_id, offset, width, height, pixel_format, size)


def options(fields: Mapping[str, Any] | bytes, payload: bytes) -> bytes:
    """Put options before an ordinary payload; the type byte wants `WITH_OPTIONS` too."""
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return struct.pack("<H", len(text)) + text + payload


def pixels(width: int, height: int, channels: int = 3, value: int = 90) -> bytes:
    return bytes([value]) * (width * height * channels)


SMALL = 16
"""Side of the picture that tests use where any picture does."""


def any_raw(model: int = 0, value: int = 90) -> bytes:
    """A payload of INFER_RAW: some small picture."""
    return raw(model, SMALL, SMALL, RGB, pixels(SMALL, SMALL, value=value))


def any_item(value: int = 90) -> Item:
    """An item of a batch: some small picture."""
    return SMALL, SMALL, RGB, pixels(SMALL, SMALL, value=value)
