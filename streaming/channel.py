"""Finds frames in what a data channel or a pipe brings."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from streaming.errors import BadStreamError, BrokenStreamError, StreamTooLargeError
from streaming.header import HEADER_BYTES, FrameHeader, unpack_header
from streaming.native_messages import is_native_message, read_native_message

Bytes = bytes | bytearray | memoryview

MAX_ENCODED_BYTES = 64 << 20
"""Of one encoded frame; browsers send no longer message to a native host either."""
BASE64_GROWTH = 4 / 3


@dataclass(frozen=True, slots=True, eq=False)
class IncomingFrame:
    """One frame as it came, complete."""

    header: FrameHeader
    data: memoryview
    """Without the header; a view of what came where that was in one piece."""


class Framing(Protocol):
    """Makes frames of pieces; holds at most one that is not complete."""

    def feed(self, piece: Bytes) -> Iterator[IncomingFrame]:
        """Give the frames that are complete with this piece.

        Raises:
            BadStreamError: what came breaks the rules; nothing can be read after it.
            StreamTooLargeError: a frame is larger than it may be.
        """
        ...

    def end(self) -> None:
        """Take note that nothing comes any more.

        Raises:
            BrokenStreamError: a frame is not complete.
        """
        ...


class DataChannelFraming:
    """One item is one frame; RGB and BGR are continued by items without a header until they are complete."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._begun: FrameHeader | None = None
        self._pixels = bytearray()
        self._filled = 0

    def feed(self, piece: Bytes) -> Iterator[IncomingFrame]:
        item = _bytes_of(piece)
        frame = self._begin(item) if self._begun is None else self._continue(self._begun, item)
        if frame is not None:
            yield frame

    def end(self) -> None:
        if self._begun is not None:
            raise BrokenStreamError(
                f"the stream ends within the frame of {self._begun.timestamp_ms} ms: "
                f"{self._filled} of its {len(self._pixels)} bytes have come"
            )

    def _begin(self, item: memoryview) -> IncomingFrame | None:
        header = unpack_header(item, self._max_pixels)
        data = item[HEADER_BYTES:]
        nbytes = header.raw_bytes
        if nbytes is not None and len(data) < nbytes:
            self._begun, self._pixels, self._filled = header, bytearray(nbytes), 0
            return self._continue(header, data)
        return _whole(header, data)

    def _continue(self, header: FrameHeader, data: memoryview) -> IncomingFrame | None:
        """Add to a frame that has begun: here, and nowhere else, pixels are copied."""
        end = self._filled + len(data)
        if end > len(self._pixels):
            raise _wrong_length(header, end)
        self._pixels[self._filled : end] = data
        self._filled = end
        if end < len(self._pixels):
            return None
        frame = IncomingFrame(header, memoryview(self._pixels))
        self._begun, self._pixels = None, bytearray()
        return frame


class ByteStreamFraming:
    """A `u32` length before each frame, in chunks of any size: as pipes bring them.

    The length counts what follows it: a header and its data, complete, or a message as browsers
    send it (see `native_messages`); both kinds may come in one stream. The length is
    little-endian. Browsers write it in the machine's own order, which is the same on every
    machine that this runs on.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        longest_frame = HEADER_BYTES + max(3 * max_pixels, MAX_ENCODED_BYTES)
        self._items = LengthPrefixes(int(longest_frame * BASE64_GROWTH) + 4096)

    def feed(self, piece: Bytes) -> Iterator[IncomingFrame]:
        for item in self._items.feed(piece):
            yield self._frame(item)

    def end(self) -> None:
        self._items.end()

    def _frame(self, item: memoryview) -> IncomingFrame:
        if is_native_message(item):
            header, data = read_native_message(item, self._max_pixels)
        else:
            header, data = unpack_header(item, self._max_pixels), item[HEADER_BYTES:]
        return _whole(header, data)


class LengthPrefixes:
    """Cuts a byte stream at its lengths; memory grows with what has come, not with what is promised."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._partial = bytearray()  # of one item, with its length

    def feed(self, piece: Bytes) -> Iterator[memoryview]:
        """Give the items that are complete with this piece: views of it where they lie in it wholly."""
        rest = _bytes_of(piece)
        while len(rest):
            if not self._partial and len(rest) >= _LENGTH.size:
                end = _LENGTH.size + self._length(rest)
                if len(rest) >= end:
                    yield rest[_LENGTH.size : end]
                    rest = rest[end:]
                    continue
            rest = self._gather(rest)
            item = self._complete()
            if item is not None:
                yield item

    def end(self) -> None:
        """Raise `BrokenStreamError` where the stream ends within an item."""
        if self._partial:
            raise BrokenStreamError(f"the stream ends within a frame, after {len(self._partial)} bytes of it")

    def _gather(self, rest: memoryview) -> memoryview:
        """Take what still belongs to the item that has begun, and return what is left."""
        for _ in ("length", "item"):
            count = self._missing()
            self._partial += rest[:count]
            rest = rest[count:]
        return rest

    def _missing(self) -> int:
        have = len(self._partial)
        if have < _LENGTH.size:
            return _LENGTH.size - have
        return _LENGTH.size + self._length(self._partial) - have

    def _complete(self) -> memoryview | None:
        if len(self._partial) < _LENGTH.size or self._missing():
            return None
        item = memoryview(self._partial)[_LENGTH.size :]
        self._partial = bytearray()
        return item

    def _length(self, data: bytearray | memoryview) -> int:
        (length,) = _LENGTH.unpack_from(data)
        if not length:
            raise BadStreamError("a frame of length 0 is announced")
        _refuse_longer(length, self._max_bytes)
        return int(length)


def _bytes_of(piece: Bytes) -> memoryview:
    return memoryview(piece).cast("B")


def _whole(header: FrameHeader, data: memoryview) -> IncomingFrame:
    if header.raw_bytes is None:
        _refuse_longer(len(data), MAX_ENCODED_BYTES)
    elif len(data) != header.raw_bytes:
        raise _wrong_length(header, len(data))
    return IncomingFrame(header, data)


def _wrong_length(header: FrameHeader, length: int) -> BadStreamError:
    size = f"{header.width}x{header.height} {header.format.name}"
    return BadStreamError(
        f"the frame of {header.timestamp_ms} ms: {size} has {header.raw_bytes} bytes, got {length}"
    )


def _refuse_longer(length: int, max_bytes: int) -> None:
    if length > max_bytes:
        raise StreamTooLargeError(f"a frame of {length} bytes is longer than {max_bytes}")


_LENGTH = struct.Struct("<I")
