"""Finding frames in the items of a data channel and in the chunks of a pipe."""

import struct
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.channel import ByteStreamFraming, DataChannelFraming, Framing, IncomingFrame, LengthPrefixes
from streaming.errors import BadStreamError, BrokenStreamError, StreamError, StreamTooLargeError
from streaming.header import FrameFormat, FrameHeader

PIXELS = bytes(range(36))
SMALL = FrameHeader(40, 4, 3, FrameFormat.RGB)
CODED = FrameHeader(80, 0, 0, FrameFormat.VP8)
MAX_PIXELS = 1 << 20


def fed(framing: Framing, *pieces: bytes) -> list[IncomingFrame]:
    return [frame for piece in pieces for frame in framing.feed(piece)]


def prefixed(item: bytes) -> bytes:
    return struct.pack("<I", len(item)) + item


def test_an_item_is_a_frame_and_its_pixels_stay_where_they_are() -> None:
    item = SMALL.pack() + PIXELS
    (frame,) = fed(DataChannelFraming(MAX_PIXELS), item)
    assert frame.header == SMALL
    assert bytes(frame.data) == PIXELS
    assert np.shares_memory(np.frombuffer(frame.data, np.uint8), np.frombuffer(item, np.uint8))


@given(st.lists(st.integers(0, 35), max_size=6))
def test_raw_frames_are_continued_wherever_they_are_cut(cuts: list[int]) -> None:
    pieces = [PIXELS[start:end] for start, end in pairwise([0, *sorted(cuts), 36])]
    framing = DataChannelFraming(MAX_PIXELS)
    whole = FrameHeader(41, 4, 3, FrameFormat.BGR)
    frames = fed(framing, SMALL.pack() + pieces[0], *pieces[1:], whole.pack() + PIXELS)
    assert [frame.header for frame in frames] == [SMALL, whole]
    assert all(bytes(frame.data) == PIXELS for frame in frames)
    framing.end()


@pytest.mark.parametrize("pieces", [[PIXELS + b"x"], [PIXELS[:30], PIXELS[30:] + b"x"]])
def test_too_many_pixels_for_the_size_are_refused(pieces: list[bytes]) -> None:
    with pytest.raises(BadStreamError, match=r"40 ms: 4x3 RGB has 36 bytes, got 37"):
        fed(DataChannelFraming(MAX_PIXELS), SMALL.pack() + pieces[0], *pieces[1:])


def test_a_frame_that_never_becomes_complete_is_told_at_the_end() -> None:
    framing = DataChannelFraming(MAX_PIXELS)
    assert fed(framing, SMALL.pack() + PIXELS[:10]) == []
    with pytest.raises(BrokenStreamError, match="40 ms: 10 of its 36"):
        framing.end()


@given(st.integers(1, 80), st.booleans())
def test_a_pipe_may_be_cut_anywhere(size: int, as_array: bool) -> None:
    stream = (prefixed(SMALL.pack() + PIXELS) + prefixed(CODED.pack() + b"picture")) * 3
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    framing = ByteStreamFraming(MAX_PIXELS)
    frames = fed(framing, *(bytearray(chunk) if as_array else chunk for chunk in chunks))
    framing.end()
    assert [(frame.header, bytes(frame.data)) for frame in frames] == [
        (SMALL, PIXELS),
        (CODED, b"picture"),
    ] * 3


def test_a_frame_in_one_chunk_of_a_pipe_is_not_copied() -> None:
    chunk = prefixed(SMALL.pack() + PIXELS)
    (frame,) = fed(ByteStreamFraming(MAX_PIXELS), chunk)
    assert np.shares_memory(np.frombuffer(frame.data, np.uint8), np.frombuffer(chunk, np.uint8))


def test_in_a_pipe_a_frame_is_not_continued() -> None:
    with pytest.raises(BadStreamError, match="36 bytes, got 35"):
        fed(ByteStreamFraming(MAX_PIXELS), prefixed(SMALL.pack() + PIXELS[:-1]))


@pytest.mark.parametrize("cut", [1, 4, 20, 56])
def test_a_pipe_that_ends_within_a_frame_says_so(cut: int) -> None:
    framing = ByteStreamFraming(MAX_PIXELS)
    stream = prefixed(SMALL.pack() + PIXELS)
    fed(framing, stream, stream[:cut])
    with pytest.raises(BrokenStreamError, match=f"after {cut} bytes"):
        framing.end()


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (struct.pack("<I", 0), BadStreamError),
        (struct.pack("<I", 2**32 - 1), StreamTooLargeError),
        (prefixed(b"too short"), BadStreamError),
        (prefixed(bytes([9]) * 40), BadStreamError),
        (prefixed(b"[" * 20_000), BadStreamError),
    ],
)
def test_hostile_pipes_give_errors(stream: bytes, error: type[StreamError]) -> None:
    with pytest.raises(error):
        fed(ByteStreamFraming(MAX_PIXELS), stream)


@given(st.binary(max_size=200))
def test_garbage_gives_frames_or_errors_of_a_stream(garbage: bytes) -> None:
    for framing in (ByteStreamFraming(MAX_PIXELS), DataChannelFraming(MAX_PIXELS)):
        try:
            fed(framing, garbage)
            framing.end()
        except StreamError:
            pass


def test_a_promise_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        items = LengthPrefixes(1 << 30)
        assert list(items.feed(struct.pack("<I", 1 << 29) + b"a little")) == []
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_an_encoded_frame_has_a_longest_length() -> None:
    with pytest.raises(StreamTooLargeError, match="longer than"):
        fed(DataChannelFraming(MAX_PIXELS), CODED.pack() + bytes((64 << 20) + 1))
