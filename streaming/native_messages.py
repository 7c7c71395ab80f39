"""Frames in messages as browsers speak them to a native host: a length, then JSON in UTF-8.

    {"timestampMs": 40, "width": 640, "height": 480, "format": "jpeg", "data": "<base64>"}

`timestampMs` is a number, not negative, whose fraction is rounded; `width` and `height` are whole
numbers, which may be left out where the data tell them; `format` is a name of `FrameFormat`, in any
case, or its number; `data` is the whole frame. Other keys are ignored.

A message is told from a bare header and data by its 17th byte. There the header has its format, 0
to 4, and these are bytes that JSON never has; so both kinds may come in one stream.
"""

from typing import Annotated

import msgspec

from streaming.errors import BadStreamError
from streaming.header import HEADER_BYTES, FrameFormat, FrameHeader, unpack_header

_Size = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class NativeMessage(msgspec.Struct, rename="camel", frozen=True):
    """One frame in JSON."""

    timestamp_ms: Annotated[float, msgspec.Meta(ge=0, lt=2**63)]
    format: str | int
    data: bytes
    width: _Size = 0
    height: _Size = 0


def is_native_message(item: memoryview) -> bool:
    """Tell whether this is JSON, and not a header with data."""
    start = bytes(item[:HEADER_BYTES])
    return start.lstrip(b" \t\r\n").startswith(b"{") and min(start) >= ord("\t")


def read_native_message(item: memoryview, max_pixels: int) -> tuple[FrameHeader, memoryview]:
    """Return the header that a message is worth, and the frame's data.

    Raises:
        BadStreamError: not the JSON that is told above, or the data do not go with the size.
        StreamTooLargeError: more than `max_pixels`.
    """
    try:
        message = _DECODER.decode(item)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise BadStreamError(f"a message is not a frame in JSON: {exc}") from exc
    header = FrameHeader(round(message.timestamp_ms), message.width, message.height, _format(message.format))
    header = unpack_header(header.pack(), max_pixels)  # one set of rules for both kinds
    return header, memoryview(message.data)


def _format(said: str | int) -> FrameFormat:
    found = _FORMATS.get(said.lower() if isinstance(said, str) else said)
    if found is None:
        raise BadStreamError(f"frame format {said!r} is unknown; known are {', '.join(map(str, _FORMATS))}")
    return found


def _keys(format_: FrameFormat) -> tuple[str | int, ...]:
    return format_.name.lower(), format_.value


_DECODER = msgspec.json.Decoder(NativeMessage)
_FORMATS = {key: format_ for format_ in FrameFormat for key in _keys(format_)}
