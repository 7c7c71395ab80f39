"""The 17-byte header."""

import pytest

from streaming.errors import BadStreamError, StreamTooLargeError
from streaming.header import FrameFormat, FrameHeader, unpack_header


def test_header_is_the_bytes_of_the_wire() -> None:
    header = FrameHeader(timestamp_ms=0x0102, width=640, height=480, format=FrameFormat.JPEG)
    data = bytes.fromhex("0201000000000000 80020000 e0010000 04")
    assert header.pack() == data
    assert unpack_header(data + b"the rest", max_pixels=1 << 20) == header


@pytest.mark.parametrize("number", range(5))
def test_every_format_comes_back(number: int) -> None:
    header = FrameHeader(7, 3, 5, FrameFormat(number))
    assert unpack_header(header.pack(), 15) == header
    assert header.raw_bytes == (45 if number < 2 else None)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes is shorter"),
        (bytes(16), "16 bytes is shorter"),
        (bytes(17), "0x0 RGB has no pixels"),
        (FrameHeader(0, 8, 0, FrameFormat.BGR).pack(), "8x0 BGR has no pixels"),
        (FrameHeader(0, 8, 8, FrameFormat.RGB).pack()[:-1] + b"\x05", "format 5 is unknown"),
        (FrameHeader(2**63, 8, 8, FrameFormat.RGB).pack(), "timestamp"),
    ],
)
def test_the_impossible_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(BadStreamError, match=said):
        unpack_header(data, 1 << 20)


def test_coded_frames_may_leave_their_size_open() -> None:
    header = FrameHeader(0, 0, 0, FrameFormat.H264)
    assert unpack_header(header.pack(), 1) == header


@pytest.mark.parametrize("format_", FrameFormat)
def test_too_many_pixels_are_refused_before_anything_is_decoded(format_: FrameFormat) -> None:
    with pytest.raises(StreamTooLargeError, match="4294967295x4294967295"):
        unpack_header(FrameHeader(0, 2**32 - 1, 2**32 - 1, format_).pack(), 64 << 20)
