"""What is in use, and must not be evicted, told to the other processes that share a cache.

Each process that uses something has a file with the names of it, and holds a lock beside it for as
long as it lives: where that lock can be had, the process is gone and its file means nothing.
"""

import contextlib
import json
import secrets
import threading
import weakref
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from model_files.store_files import refuses_writing, write_whole
from model_files.store_locks import try_lock


class Lease:
    """Keeps contents and trees in the cache until it is released, or nobody holds it any longer."""

    def __init__(self, pins: "Pins") -> None:
        self._pins = pins
        self._names: list[str] = []
        self._finalizer = weakref.finalize(self, _release, pins, self._names)
        self._finalizer.atexit = False  # the process's lock goes with it

    def hold(self, name: str) -> None:
        """Keep one more. Only under the store's lock, or of what is kept already."""
        self._pins.add(name)
        self._names.append(name)

    def release(self) -> None:
        """Keep nothing any longer."""
        self._finalizer()


class Pins:
    """This process's uses, and a way to know all others'."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.RLock()
        """Entered again where a lease is finalized while another is being changed on the same thread."""
        self._names: Counter[str] = Counter()
        self._file: Path | None = None
        self._lock: Any = None

    def lease(self) -> Lease:
        """Return a lease that keeps nothing yet."""
        return Lease(self)

    def add(self, name: str) -> None:
        """Count one more use."""
        with self._guard:
            self._names[name] += 1
            if self._names[name] == 1:
                self._tell()

    def remove(self, names: Iterable[str]) -> None:
        """Count uses less."""
        with self._guard:
            before = len(self._names)
            self._names.subtract(names)
            self._names = +self._names
            if len(self._names) != before:
                self._tell()

    def all(self) -> set[str]:
        """Return the names that any living process uses. Under the store's lock."""
        with self._guard:
            names = set(self._names)
        for path in self._folder.glob("*.json"):
            if path != self._file:
                names |= _names_of(path)
        return names

    def _tell(self) -> None:
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                file = self._folder / f"{secrets.token_hex(8)}.json"
                self._lock = try_lock(file.with_suffix(".lock"))
                self._file = file
            write_whole(self._file, json.dumps(sorted(self._names)).encode(), durable=False)
        except OSError as exc:
            # Nobody evicts from a cache that can only be read; one that is full evicts by itself first.
            if not refuses_writing(exc):
                raise


def _release(pins: Pins, names: list[str]) -> None:
    with contextlib.suppress(OSError):
        pins.remove(names)


def _names_of(path: Path) -> set[str]:
    """Return what another process uses; clears up after one that is gone."""
    lock = try_lock(path.with_suffix(".lock"))
    if lock is not None:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.with_suffix(".lock").unlink(missing_ok=True)
        lock.release()
        return set()
    try:
        return set(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return set()  # it has just ended
