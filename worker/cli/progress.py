"""One line at the foot of the terminal that tells how far a command has come."""

import time

from worker.cli.terminal import STDERR, STDOUT, columns, shortened

_BAR_COLUMNS = 24
_REDRAW_S = 0.05
"""Faster than anybody reads; thousands of pictures would spend their time on drawing."""
_CLEAR = "\r\x1b[K"


class Progress:
    """Draws on stderr where that is a terminal, and nothing at all where it is not."""

    def __init__(self) -> None:
        # Behind a pipe is a program that may well write to the same terminal, and into our line.
        self._shown = STDERR.is_terminal and not STDOUT.is_pipe
        self._began = time.perf_counter()
        self._drawn = float("-inf")

    def status(self, text: str) -> None:
        """Show what goes on."""
        self._draw(text)

    def advance(self, done: int, total: int, name: str) -> None:
        """Show a bar, the count, the speed, and what was last."""
        now = time.perf_counter()
        if now - self._drawn < _REDRAW_S and done < total:
            return
        self._drawn = now
        filled = _BAR_COLUMNS * done // max(1, total)
        bar = "█" * filled + "░" * (_BAR_COLUMNS - filled)
        speed = done / max(now - self._began, 1e-6)
        self._draw(f"{bar}  {done}/{total}  {speed:.1f}/s  {name}")

    def clear(self) -> None:
        """Take the line away: before anything else is printed, and at the end."""
        if self._shown:
            STDERR.stream.write(_CLEAR)
            STDERR.stream.flush()

    def _draw(self, text: str) -> None:
        if self._shown:
            # The last column stays free: some terminals wrap as soon as it is written.
            STDERR.stream.write(_CLEAR + shortened(text, columns() - 1))
            STDERR.stream.flush()
