"""Tells whether a container ended where it said that it would; libavformat is silent about that in some."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from streaming.mp4_layout import BoxWalk

if TYPE_CHECKING:
    from streaming.container import BinaryReader

HEAD_BYTES = 4096


class WatchedFile:
    """A file object as libavformat takes it, which remembers how it began and how long it was."""

    def __init__(self, file: BinaryReader) -> None:
        self._file = file
        seekable = getattr(file, "seekable", None)
        self._seek: Callable[[int, int], int] | None = getattr(file, "seek", None)
        if self._seek is None or not hasattr(file, "tell") or (seekable is not None and not seekable()):
            self._seek = None
        self._position = 0
        self._head = bytearray()
        self._read_to_end = False

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._read_to_end |= not data
        if self._position < HEAD_BYTES and self._position == len(self._head):
            self._head += data[: HEAD_BYTES - len(self._head)]
        self._position += len(data)
        return data

    def seekable(self) -> bool:
        return self._seek is not None

    def seek(self, offset: int, whence: int = 0) -> int:
        if self._seek is None:
            raise OSError("this stream cannot be sought in")
        self._position = self._seek(offset, whence)
        return self._position

    def tell(self) -> int:
        return self._position

    def missing(self) -> str | None:
        """Return what is missing at the end, which is there by now; None: nothing, as far as that is said."""
        if not self.seekable() and not self._read_to_end:
            return None
        size = self.seek(0, 2) if self.seekable() else self._position
        if size == 0:
            return "it is empty"
        if self.seekable() and (boxes := self._boxes().truncation(size)) is not None:
            return boxes
        missing = (check(bytes(self._head), size) for check in (_matroska, _riff, _mpegts))
        return next(filter(None, missing), None)

    def _boxes(self) -> BoxWalk:
        walk = BoxWalk()
        walk.advance(self._read_at)
        return walk

    def _read_at(self, offset: int, size: int) -> bytes:
        self.seek(offset)
        return self._file.read(size)


def _matroska(head: bytes, size: int) -> str | None:
    """A segment says how long it is, unless it was written live."""
    start = head.find(_SEGMENT) if head.startswith(_EBML) else -1
    if start < 0 or start + 12 > len(head):
        return None
    first = head[start + 4]
    length = 9 - first.bit_length()
    value = int.from_bytes(head[start + 4 : start + 4 + length], "big") & ~(1 << 7 * length)
    if value == (1 << 7 * length) - 1:
        return None
    return _ends_early(size, start + 4 + length + value)


_EBML = bytes.fromhex("1a45dfa3")
_SEGMENT = bytes.fromhex("18538067")


def _riff(head: bytes, size: int) -> str | None:
    return _ends_early(size, int.from_bytes(head[4:8], "little") + 8) if head[:4] == b"RIFF" else None


def _mpegts(head: bytes, size: int) -> str | None:
    if head[:1] + head[188:189] != b"\x47\x47" or size % 188 == 0:
        return None
    return f"it ends at byte {size:,}, inside a packet"


def _ends_early(size: int, expected: int) -> str | None:
    return f"it ends at byte {size:,} of {expected:,}" if size < expected else None
