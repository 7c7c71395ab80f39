"""When to connect again, and how the frames go on."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from streaming.base import VideoFrame


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next connection: anything up to a limit that doubles (full jitter)."""

    first_s: float = 0.5
    most_s: float = 30.0
    calm_s: float = 10.0
    """Seconds of frames after which the next trouble is a new one."""
    random: Callable[[], float] = field(default=random.random)
    """Gives numbers from 0 to below 1."""
    clock: Callable[[], float] = field(default=time.monotonic)
    """Gives seconds."""

    def delay_s(self, attempt: int) -> float:
        """Return the seconds before an attempt; the first is 1."""
        limit = min(self.most_s, self.first_s * 2.0 ** min(attempt - 1, 64))
        return self.random() * limit


class Attempts:
    """Counts the connections of one trouble; of one thread."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._first_frame_s: float | None = None
        self.count = 0
        """Attempts since frames last came for long enough."""

    def frame(self) -> None:
        """Note that a frame came."""
        now = self._backoff.clock()
        if self._first_frame_s is None:
            self._first_frame_s = now
        if now - self._first_frame_s >= self._backoff.calm_s:
            self.count = 0

    def next_delay_s(self) -> float:
        """Begin another attempt; returns the seconds to wait before it."""
        self._first_frame_s = None
        self.count += 1
        return self._backoff.delay_s(self.count)


class Timeline:
    """Makes several connections one stream: numbers go on, times never go back; of one thread."""

    def __init__(self, clock: Callable[[], float], *, steady: bool) -> None:
        """Create it.

        Args:
            clock: gives seconds.
            steady: also within one connection, a time that would go back goes on by the clock instead. Off,
                the first connection's times are as the container has them.
        """
        self._clock = clock
        self._steady = steady
        self._last_ms: float | None = None
        self._last_s = 0.0
        self._last_number = -1
        self._first_number = 0
        self._shift_ms = 0.0
        self._begins = False

    def connected(self) -> None:
        """Begin with another connection."""
        self._first_number = self._last_number + 1
        self._begins = True

    def placed(self, frame: VideoFrame) -> VideoFrame:
        """Return a connection's next frame with its number and time in the whole stream."""
        now = self._clock()
        last_ms = self._last_ms
        time_ms = frame.timestamp_ms + self._shift_ms
        if last_ms is not None and (self._begins or (self._steady and time_ms < last_ms)):
            time_ms = last_ms + max(0.0, now - self._last_s) * 1e3
            self._shift_ms = time_ms - frame.timestamp_ms
        self._begins = False
        self._last_ms, self._last_s = time_ms, now
        self._last_number = self._first_number + frame.frame_number
        return replace(frame, timestamp_ms=time_ms, frame_number=self._last_number)
