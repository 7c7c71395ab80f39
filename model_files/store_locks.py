"""Locks between the processes that share a cache; the only place that knows the library."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from model_files.errors import TransferCancelledError
from model_files.extras import library

_EXTRA = "http"
"""The smallest that brings the library; each of the others does too, and `Providers` names the right one."""

_LOOK_S = 0.05
"""How often one who waits looks again: the system has no way to be told across processes."""


@contextlib.contextmanager
def locked(path: Path, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold a lock, waiting for it as long as it is wanted. The system drops it when a process ends.

    Raises:
        TransferCancelledError: it was not wanted any longer before it was had.
    """
    lock = _new(path)
    filelock = library("filelock", _EXTRA)
    try:
        lock.acquire(poll_interval=_LOOK_S, cancel_check=cancelled)
    except filelock.Timeout as exc:
        raise TransferCancelledError from exc
    try:
        yield
    finally:
        lock.release()


def try_lock(path: Path) -> Any | None:
    """Return a held lock with a method `release`, or None where somebody else has it."""
    filelock = library("filelock", _EXTRA)
    lock = _new(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return None
    return lock


def _new(path: Path) -> Any:
    # A lock that any thread may let go: a model is loaded on one thread and closed on another.
    return library("filelock", _EXTRA).FileLock(path, thread_local=False)
