"""Ends the process when its host is gone, whatever else hangs: threads of its own wait for that."""

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

_LOOK_EVERY_S = 1.0
"""Where the system does not tell of a process's end: half of the 2 s in which the worker must be gone."""


class Watchdog:
    """Watches the answers' pipe, the parent process, and a process that the host names.

    On Linux it sleeps until one of them is gone, so an idle worker is not woken for it.
    """

    def __init__(self, writer: int, leave: Callable[[str], None]) -> None:
        """Start watching.

        Args:
            writer: descriptor of the answers.
            leave: ends the process; gets the reason. Called on a thread of the watchdog's.
        """
        self._parent = os.getppid()
        self._writer = writer
        self._leave = leave
        _start(self._watch_host)

    def also_watch(self, pid: int) -> None:
        """End with this process too: `parentPid`."""
        _start(self._watch_process, pid)

    def _watch_host(self) -> None:
        if not hasattr(select, "poll"):
            self._watch_parent_alone()
        poller = select.poll()
        poller.register(self._writer, 0)
        parent = _open_process(self._parent)
        if parent is not None:
            poller.register(parent, select.POLLIN)
        timeout = None if parent is not None else _LOOK_EVERY_S * 1000
        # A parent that ended before its descriptor was open shows by the new parent alone.
        while os.getppid() == self._parent:
            gone = {descriptor for descriptor, _ in poller.poll(timeout)}
            if self._writer in gone:
                self._leave("the host closed the answers' end")
            if parent in gone:
                break
        self._leave("the parent process is gone")

    def _watch_parent_alone(self) -> None:
        """Windows: a closed pipe shows at the next write."""
        while os.getppid() == self._parent:
            time.sleep(_LOOK_EVERY_S)
        self._leave("the parent process is gone")

    def _watch_process(self, pid: int) -> None:
        descriptor = _open_process(pid)
        if descriptor is not None:
            select.select([descriptor], [], [])
        else:
            while _is_alive(pid):
                time.sleep(_LOOK_EVERY_S)
        self._leave(f"process {pid} is gone")


def _start(watch: Callable[..., None], *arguments: int) -> None:
    threading.Thread(target=watch, args=arguments, name="watchdog", daemon=True).start()


def _open_process(pid: int) -> int | None:
    """Return a descriptor that becomes readable when a process ends; None where that cannot be had."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except (OSError, OverflowError):  # gone already, or not visible from here
        return None


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
