"""Frames in the messages of browsers."""

import base64
import json
import struct
from typing import Any

import pytest

from streaming.channel import ByteStreamFraming, IncomingFrame
from streaming.errors import BadStreamError, StreamTooLargeError
from streaming.header import FrameFormat, FrameHeader

PIXELS = bytes(range(36))
FIELDS = {
    "timestampMs": 40,
    "width": 4,
    "height": 3,
    "format": "rgb",
    "data": base64.b64encode(PIXELS).decode(),
}


def message(**changes: Any) -> bytes:
    """A message as a browser writes it, with its length in the machine's order."""
    fields = {key: value for key, value in {**FIELDS, **changes}.items() if value is not None}
    body = json.dumps(fields).encode()
    return struct.pack("=I", len(body)) + body


def read(stream: bytes, max_pixels: int = 1 << 20) -> list[IncomingFrame]:
    framing = ByteStreamFraming(max_pixels)
    frames = list(framing.feed(stream))
    framing.end()
    return frames


@pytest.mark.parametrize("name", ["rgb", "RGB", 0])
def test_a_message_is_a_frame(name: str | int) -> None:
    (frame,) = read(message(format=name))
    assert frame.header == FrameHeader(40, 4, 3, FrameFormat.RGB)
    assert bytes(frame.data) == PIXELS


def test_what_a_page_has_at_hand_will_do() -> None:
    """`performance.now()` has fractions, and a coded frame knows its size."""
    (frame,) = read(message(timestampMs=1234.6, width=None, height=None, format="h264", tab=7))
    assert frame.header == FrameHeader(1235, 0, 0, FrameFormat.H264)


@pytest.mark.parametrize("timestamp_ms", [0, 0x7B, 0x227B, 0x2020_2020_2020_207B])
@pytest.mark.parametrize("format_", FrameFormat)
def test_bare_frames_and_messages_are_told_apart(timestamp_ms: int, format_: FrameFormat) -> None:
    """Also where a timestamp begins with the bytes of an opening brace."""
    bare = FrameHeader(timestamp_ms, 0x2020 if format_ > 1 else 4, 3, format_)
    item = bare.pack() + PIXELS
    frames = read(struct.pack("<I", len(item)) + item + message())
    assert [frame.header for frame in frames] == [bare, FrameHeader(40, 4, 3, FrameFormat.RGB)]


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "gif"},
        {"format": 9},
        {"format": True},
        {"format": None},
        {"width": -1},
        {"width": 2**32},
        {"width": "4"},
        {"width": None},
        {"timestampMs": -1},
        {"timestampMs": 1e300},
        {"data": "not base64!"},
        {"data": None},
        {"data": FIELDS["data"][:-4]},
    ],
)
def test_messages_that_are_no_frames_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadStreamError):
        read(message(**changes))


@pytest.mark.parametrize("body", [b"{}", b'{"a":', b"{" * 5000, b'{"x":' * 50_000, b'{"format":"\xff\xfe"}'])
def test_broken_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadStreamError, match="not a frame in JSON"):
        read(struct.pack("=I", len(body)) + body)


def test_a_message_may_not_be_larger_than_a_frame_may() -> None:
    with pytest.raises(StreamTooLargeError):
        read(message(), max_pixels=11)
