"""Keeps account of what is damaged in a stream, and says where it began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    from av.error import FFmpegError


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a stream something is, as far as that is known."""

    number: int | None
    """Of a frame; None before the first one."""
    timestamp_ms: float
    byte: int | None = None

    def __str__(self) -> str:
        if self.number is None:
            return "before the first frame" + self._at_byte
        return f"frame {self.number} ({self.timestamp_ms / 1000:.3f} s{self._at_byte})"

    @property
    def _at_byte(self) -> str:
        return "" if self.byte is None or self.byte < 0 else f", byte {self.byte:,}"


class Damage:
    """What was damaged so far."""

    def __init__(self) -> None:
        self.pieces: set[int | None] = set()
        """Timestamps of packets that came damaged and are in the decoder."""
        self._unreadable = 0
        self._incomplete = 0
        self._lost_bytes = 0
        self._first = ""
        self._why = ""

    def __bool__(self) -> bool:
        return bool(self._unreadable or self._incomplete or self._lost_bytes)

    def __str__(self) -> str:
        counts = [
            _count(self._unreadable, "packet", "unreadable"),
            _count(self._incomplete, "frame", "incomplete"),
            _count(self._lost_bytes, "byte", "no packets"),
        ]
        return f"{' and '.join(filter(None, counts))}; it begins {self._first}{self._why}"

    def unreadable(self, error: FFmpegError, last: Place, byte: int | None) -> None:
        """Note a packet that gave no frame, after this one."""
        self._unreadable += 1
        if not self._first:
            where = Place(last.number, last.timestamp_ms, byte)
            self._first = str(where) if where.number is None else f"after {where}"
            self._why = f": {error.strerror}"

    def lost(self, size: int, last: Place, byte: int) -> None:
        """Note bytes in which no packet was found, and where they begin."""
        self._lost_bytes += size
        self._first = self._first or f"after {Place(last.number, last.timestamp_ms, byte)}"

    def finish(self, last: Place) -> None:
        """Note packets that came damaged and gave no frame though the decoder said nothing; no more come."""
        if not self._unreadable:
            self._unreadable = len(self.pieces)
            self._first = self._first or f"after {last}"

    def is_damaged(self, frame: av.VideoFrame, place: Place) -> bool:
        """Whether something of a frame is missing; notes it."""
        damaged = frame.is_corrupt or (bool(self.pieces) and frame.pts in self.pieces)
        self.pieces.discard(frame.pts)
        if damaged:
            self._incomplete += 1
            self._first = self._first or f"at {place}"
        return damaged


def _count(number: int, what: str, state: str) -> str:
    if number == 0:
        return ""
    return f"1 {what} is {state}" if number == 1 else f"{number:,} {what}s are {state}"
