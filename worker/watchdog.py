"""Ends the process when its host is gone, whatever else hangs: a thread of its own looks."""

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

_LOOK_EVERY_S = 0.5
"""With a hang-up noticed at once, what is left of the 2 s in which the worker must be gone."""


class Watchdog:
    """Watches the answers' pipe, the parent process, and a process that the host names."""

    def __init__(self, writer: int, leave: Callable[[str], None]) -> None:
        """Start watching.

        Args:
            writer: descriptor of the answers.
            leave: ends the process; gets the reason. Called on the watchdog's thread.
        """
        self.also_watched: int | None = None
        """`parentPid`: a process whose end is the worker's too."""
        self._parent = os.getppid()
        self._writer = writer
        self._leave = leave
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        wait = self._wait_polling if hasattr(select, "poll") else self._wait_sleeping
        while not wait():
            if os.getppid() != self._parent:
                self._leave("the parent process is gone")
            if self.also_watched is not None and not _is_alive(self.also_watched):
                self._leave(f"process {self.also_watched} is gone")
        self._leave("the host closed the answers' end")

    def _wait_polling(self) -> bool:
        """Wait for a while; True when the host's end of the pipe was closed meanwhile."""
        poller = select.poll()
        poller.register(self._writer, 0)
        return any(
            events & (select.POLLERR | select.POLLHUP) for _, events in poller.poll(_LOOK_EVERY_S * 1000)
        )

    def _wait_sleeping(self) -> bool:
        time.sleep(_LOOK_EVERY_S)  # Windows: a closed pipe shows at the next write
        return False


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # os.kill(pid, 0) would send Ctrl-C there
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # OverflowError: no process can have that number
        return False
    except OSError:  # somebody else's process, but there
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended and its own parent has not looked yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:  # it ended just now, or there is no /proc
        return False
    return state == b"Z"
