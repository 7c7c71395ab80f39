"""What a host sends into a stream: a thread that hands it on, and the credit that bounds it."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

_SMALL_BYTES = 4096
"""Less is copied together: a packet of one byte would cost two hundred."""

_GRANTS = 16
"""Credit comes back in so many parts: an event for each packet would cost more than the packet."""

_IDLE_S = 0.05
"""When nothing has come for so long, what is owed goes back too: the host may be waiting for it."""


class Appendable(Protocol):
    """A source that bytes are sent into. Errors: those of `streaming.errors`."""

    def append(self, data: memoryview) -> None:
        """Take the next bytes; waits where it has enough to read."""
        ...

    def end(self) -> None:
        """Take note that no more will come."""
        ...


class StreamInput:
    """Takes packets on the event loop, and appends them to a source on a thread: it may wait for the disk.

    Memory: at most the credit, which a host that sends more is told to have overrun.
    """

    def __init__(
        self,
        source: Appendable,
        credit: int,
        joins: bool,
        grant: Callable[[int], None],
        fail: Callable[[Exception], None],
    ) -> None:
        """Create an input; nothing runs before `start`.

        Args:
            source: where the bytes go.
            credit: how many bytes may be under way.
            joins: where one packet ends and the next begins means nothing.
            grant: called on the input's thread with the bytes that may be sent anew.
            fail: called on the input's thread with what the source raised; nothing is appended from there.
        """
        self._source = source
        self._credit = self._left = credit
        self._joins = joins
        self._grant = grant
        self._fail = fail
        self._owed = 0
        """What the source has taken and the host does not know of yet."""
        self._chunks: deque[bytearray | bytes | memoryview] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False

    def start(self, name: str) -> None:
        """Begin to hand on, on a daemon thread of this name."""
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def feed(self, data: memoryview) -> bool:
        """Take a packet's data; False where the host had no credit for it. Never waits."""
        if not data.nbytes:
            return True
        with self._changed:
            if self._closed or self._ended:
                return True
            if data.nbytes > self._left:
                return False
            self._left -= data.nbytes
            self._keep(data)
            self._changed.notify()
        return True

    def end(self) -> None:
        """Take note that the host sends no more."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def close(self) -> None:
        """Forget what waits; the source's own `close` ends an `append` that waits."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._changed.notify()

    def _keep(self, data: memoryview) -> None:
        if data.nbytes >= _SMALL_BYTES:
            self._chunks.append(data)
        elif not self._joins:
            self._chunks.append(bytes(data))
        elif self._chunks and isinstance(self._chunks[-1], bytearray):
            self._chunks[-1] += data
        else:
            self._chunks.append(bytearray(data))

    def _run(self) -> None:
        try:
            while (chunk := self._next()) is not None:
                size = len(chunk)
                self._source.append(memoryview(chunk))
                del chunk  # its memory is free for the next packet
                self._owed += size
                if self._owed >= self._credit // _GRANTS:
                    self._give_back()
            if not self._closed:
                self._source.end()
        except Exception as error:  # noqa: BLE001 - the boundary of this stream
            self.close()
            self._fail(error)

    def _next(self) -> bytearray | bytes | memoryview | None:
        with self._changed:
            if self._owed and not self._changed.wait_for(self._has_news, _IDLE_S):
                self._give_back()
            self._changed.wait_for(self._has_news)
            return self._chunks.popleft() if self._chunks else None

    def _has_news(self) -> bool:
        return bool(self._chunks) or self._ended or self._closed

    def _give_back(self) -> None:
        with self._changed:
            size, self._owed = self._owed, 0
            self._left += size
        self._grant(size)
