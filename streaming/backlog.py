"""`Backlog`: what came and has not been read yet, in order, bounded by bytes."""

import threading
from collections import deque
from collections.abc import Callable

from streaming.channel import Bytes

PIECE_OVERHEAD = 256
"""Bytes that a piece counts beside its own, so that empty ones are bounded, too."""


def _nobody() -> None:
    """Stand for a writer that waits in `append`, if at all."""


class Backlog:
    """Between one writer and one reader in different threads."""

    def __init__(self, max_bytes: int, room: Callable[[], None] = _nobody) -> None:
        """Create it.

        Args:
            max_bytes: while more than that waits, nothing is taken in.
            room: called from the reader's thread, without a lock held, when there is room after an
                `offer` was refused; and when it is closed.
        """
        self._max_bytes = max_bytes
        self._room = room
        self._waiting: deque[Bytes] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False
        self._refused = False

    @property
    def closed(self) -> bool:
        """Whether nobody reads any more."""
        return self._closed

    def append(self, piece: Bytes) -> None:
        """Take a piece in; blocks while too much waits. After `close` it goes nowhere."""
        with self._changed:
            while not self._take_in(piece):
                self._changed.wait()

    def offer(self, piece: Bytes) -> bool:
        """Take a piece in and return True; or False where too much waits: `room` tells when to try again."""
        with self._changed:
            taken = self._take_in(piece)
            self._refused = not taken
        return taken

    def take(self) -> Bytes | None:
        """Return the next piece; blocks until there is one. None at the end, and after `close`."""
        with self._changed:
            while not self._waiting and not self._ended and not self._closed:
                self._changed.wait()
            if self._closed or not self._waiting:
                return None
            piece = self._waiting.popleft()
            self._bytes -= _cost(piece)
            self._changed.notify_all()
            tell, self._refused = self._refused, False
        if tell:
            self._room()
        return piece

    def end(self) -> None:
        """Nothing comes any more; what waits is still given."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of everything; wakes writer and reader."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._bytes = 0
            self._changed.notify_all()
        self._room()

    def _take_in(self, piece: Bytes) -> bool:
        if self._closed or self._ended:
            return True
        if self._bytes > self._max_bytes:
            return False
        self._waiting.append(piece)
        self._bytes += _cost(piece)
        self._changed.notify_all()
        return True


def _cost(piece: Bytes) -> int:
    return memoryview(piece).nbytes + PIECE_OVERHEAD
