"""The file behind a shared-memory region: opened once, and looked at again before each reading.

The host may shorten, delete or replace the file at any time. Memory that is mapped from a file
ends the process (SIGBUS) where the file has become shorter, so only what cannot shrink is mapped,
or what the host has vouched for; all else is read by system calls, which tell.
"""

import errno
import mmap
import os
import re
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from operator import or_

from frame_cache.errors import RegionError, RegionUnreachableError

if sys.platform == "linux":
    import fcntl

_FLAGS = reduce(
    or_, (getattr(os, name, 0) for name in ("O_RDONLY", "O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK", "O_BINARY"))
)
"""Those that the platform has. O_NONBLOCK: should a pipe take the file's place, `open` does not wait."""

_DESCRIPTOR_PATH = re.compile(r"/proc/(self|thread-self|\d+)/fd/\d+")

_SPECIAL_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_HINTS = {
    errno.ENOENT: "create it before it is attached",
    errno.EACCES: "let the worker's user read it",
    errno.EPERM: "let the worker's user read it",
    errno.EMFILE: "detach other regions, or raise the limit of open files (ulimit -n)",
    errno.ENOMEM: "attach it with a smaller size",
}
"""What a person can do about a file that cannot be opened or mapped, by errno."""

_ANEW = "detach the region and attach it anew"

_LONGEST_NAME = 200
"""Characters of a path that a message quotes."""


class RegionFile:
    """An open file, perhaps mapped; its end closes it and tells that nobody uses the region any longer.

    Whoever uses the region holds this object, and nobody counts: the interpreter does, without a
    lock, which the end in any thread and inside any lock could not take.
    """

    __slots__ = ("_descriptor", "_identity", "_seeking", "memory", "on_unused", "path")

    def __init__(
        self, path: str, descriptor: int | None, identity: tuple[int, int], memory: mmap.mmap | None
    ) -> None:
        self.path = path
        self.memory = memory
        """The region's bytes in place, read-only; None where they are to be copied."""
        self.on_unused: Callable[[], None] | None = None
        """Called at the end, in whichever thread; must neither wait nor raise."""
        self._descriptor = descriptor
        self._identity = identity
        self._seeking = threading.Lock()

    def __del__(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
        self.memory = None  # The mapping itself goes with the last view of it.
        if self.on_unused is not None:
            self.on_unused()

    @classmethod
    def open(cls, path: str, size: int, trusted: bool) -> "RegionFile":
        """Open a file of at least `size` bytes; see `SharedRegion.open`."""
        try:
            # Looked at before it is opened, too: to open a device may set it off.
            _check_kind(path, _look_up(path))
            descriptor = os.open(path, _FLAGS)
        except (OSError, ValueError) as error:
            raise _not_opened(path, error) from error
        try:
            # Seals come first: from here on the length that is read next cannot become less.
            in_place = _cannot_shrink(descriptor) or trusted
            status = os.fstat(descriptor)
            _check_kind(path, status)
            _check_length(path, status, size)
            memory = _map(path, descriptor, size) if in_place else None
        except BaseException:
            os.close(descriptor)
            raise
        if memory is not None:
            os.close(descriptor)  # A mapping holds a duplicate of its own, so one a region is open.
        return cls(path, None if memory is not None else descriptor, _identity(status), memory)

    def check(self, end: int) -> None:
        """Make sure that the path still names this file, and that `end` bytes of it are there.

        It takes 1.8 µs under /dev/shm and 3.4 µs for a path under /proc (2 cores, AMD EPYC).

        Raises:
            RegionError: it has shrunk, is gone, or another file has its name.
        """
        try:
            status = _look_up(self.path)
        except OSError as error:
            raise _gone(self.path, error) from error
        if _identity(status) != self._identity:
            raise RegionError(f"{_quoted(self.path)} is another file than the one attached; {_ANEW}")
        if status.st_size < end:
            raise _shrunk(self.path, status.st_size)

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill `target`, writable bytes, with what the file has from `offset` on.

        Raises:
            RegionError: the file ends before that, or cannot be read.
        """
        done = 0
        while done < target.nbytes:
            try:
                count = self._read_at(target[done:], offset + done)
            except OSError as error:
                raise RegionError(f"{_quoted(self.path)} cannot be read: {_reason(error)}") from error
            if count == 0:
                raise _shrunk(self.path, offset + done)
            done += count

    def _read_at(self, target: memoryview, offset: int) -> int:
        assert self._descriptor is not None
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [target], offset)
        with self._seeking:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            data = os.read(self._descriptor, target.nbytes)
        target[: len(data)] = data
        return len(data)


def _look_up(path: str) -> os.stat_result:
    return os.stat(path)  # noqa: PTH116 - a Path would take "" for the current directory


def _cannot_shrink(descriptor: int) -> bool:
    """Tell of a memfd whose length nobody can reduce any longer, now or ever."""
    if sys.platform != "linux":
        return False
    try:
        seals: int = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:  # Only memory files can be sealed.
        return False
    return bool(seals & fcntl.F_SEAL_SHRINK)


def _map(path: str, descriptor: int, size: int) -> mmap.mmap:
    try:
        return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise _failed(path, "mapped", error) from error


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _check_kind(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((kind for is_kind, kind in _SPECIAL_KINDS if is_kind(status.st_mode)), "no file")
        raise RegionError(
            f"{_quoted(path)} is {kind}, not a regular file; name a memfd or a file under /dev/shm"
        )


def _check_length(path: str, status: os.stat_result, size: int) -> None:
    if status.st_size < size:
        raise RegionError(
            f"{_quoted(path)} has {status.st_size} bytes, fewer than the region's {size}; "
            "enlarge it before it is attached, or attach it with a smaller size"
        )


def _not_opened(path: str, error: OSError | ValueError) -> RegionError:
    unreachable = isinstance(error, PermissionError | FileNotFoundError | ProcessLookupError)
    if unreachable and _DESCRIPTOR_PATH.fullmatch(path):
        return _unreachable(path, error)
    return _failed(path, "opened", error)


def _failed(path: str, done: str, error: OSError | ValueError) -> RegionError:
    """Return the error of a file that cannot be opened or mapped."""
    hint = _HINTS.get(error.errno or 0) if isinstance(error, OSError) else None
    return RegionError(
        f"{_quoted(path)} cannot be {done}: {_reason(error)}{'; ' if hint else ''}{hint or ''}"
    )


def _reason(error: OSError | ValueError) -> str:
    """Return the system's words; a ValueError is a path with a NUL, or a length that is none."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _unreachable(path: str, error: OSError | ValueError) -> RegionUnreachableError:
    return RegionUnreachableError(
        f"{_quoted(path)} cannot be reached: {_reason(error)}; the descriptor must be open in that process, "
        "which must share the worker's user and pid namespace; otherwise name a file under /dev/shm"
    )


def _gone(path: str, error: OSError) -> RegionError:
    if isinstance(error, PermissionError) and _DESCRIPTOR_PATH.fullmatch(path):
        return _unreachable(path, error)
    return RegionError(
        f"{_quoted(path)} is gone: {_reason(error)}; leave it in place until the region is detached"
    )


def _shrunk(path: str, length: int) -> RegionError:
    return RegionError(f"{_quoted(path)} has shrunk to {length} bytes; {_ANEW}")


def _quoted(path: str) -> str:
    """Return a path for a message: on one line, and not endless."""
    return repr(path if len(path) <= _LONGEST_NAME else f"{path[:_LONGEST_NAME]}…")
