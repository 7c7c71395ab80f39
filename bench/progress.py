"""A line at the foot of the terminal: how far the bench is, what runs, and how long it will take."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

_BAR = 24
_CLEAR = "\r\x1b[K"


class Progress:
    """Draws where its stream is a terminal; elsewhere each scenario is one line."""

    def __init__(
        self,
        estimates: Sequence[float],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Create it; the estimates are seconds, one a scenario. The stream is stderr by default."""
        self._estimates = estimates
        self._whole = max(sum(estimates), 1e-9)
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began = clock()
        self._number = 0
        self._name = ""

    def begin(self, number: int, name: str) -> None:
        """Tell which scenario runs from here on, counted from 0."""
        self._number, self._name = number, name
        if self._stream.isatty():
            self.step("")
        else:
            print(f"[{number + 1}/{len(self._estimates)}] {name}", file=self._stream, flush=True)

    def step(self, text: str, share: float = 0.0) -> None:
        """Tell what it does, and how much of it is done (0 to 1)."""
        if self._stream.isatty():
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(_CLEAR + self.line(text, share)[:width])
            self._stream.flush()

    def line(self, text: str, share: float = 0.0) -> str:
        """Return the line."""
        done = self.share_done(share)
        filled = round(_BAR * done)
        place = f"{self._number + 1}/{len(self._estimates)} {self._name}"
        doing = f": {text}" if text else ""
        bar = "█" * filled + "░" * (_BAR - filled)
        return f"{bar} {done:4.0%}  {_spoken(self.seconds_left(share))} left  {place}{doing}"

    def share_done(self, share: float) -> float:
        """Return how much of all is done, by the estimates."""
        before = sum(self._estimates[: self._number])
        own = self._estimates[self._number] if self._number < len(self._estimates) else 0.0
        return min(1.0, (before + own * share) / self._whole)

    def seconds_left(self, share: float) -> float:
        """Return the rest by the estimates, stretched by how they have held so far."""
        done = self.share_done(share)
        spent, expected = self._clock() - self._began, done * self._whole
        # The more has been seen, the more it counts: at the very beginning the estimates alone do.
        pace = (spent + self._whole / 20) / (expected + self._whole / 20)
        return (1 - done) * self._whole * pace

    def clear(self) -> None:
        """Take the line away."""
        if self._stream.isatty():
            self._stream.write(_CLEAR)
            self._stream.flush()


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
