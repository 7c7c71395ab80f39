"""Temporary files that do not outlive their process for long, whatever ends it.

They live in a folder of the user's own. A file is locked (`flock`) for as long as its process has it
open, and the kernel ends that lock with the process, also after SIGKILL: a file that can be locked is
stale. On Windows there is no `flock`, and none is needed: a file that is open cannot be removed there.
"""

import os
import stat
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_PREFIX = "stream-"
_SUFFIX = ".part"
_KEPT_SUFFIX = ".data"
"""No sweep takes a file of this name."""

_ATTEMPTS = 16
"""A sweep may take a new file in the moment before it is locked; so often in a row it does not."""


def own_folder(temp_dir: Path | None = None) -> Path:
    """Return the folder for this user's files, made with mode 0700 where it is missing.

    Args:
        temp_dir: where it lies; None for the system's folder for temporary files.

    Raises:
        OSError: it cannot be made.
        PermissionError: it is somebody else's, or no folder: others could put files in its place.
    """
    parent = Path(tempfile.gettempdir()) if temp_dir is None else temp_dir
    if sys.platform == "win32":  # untested; the system's folder is the user's own
        folder = parent / "inferpipe"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    folder = parent / f"inferpipe-{os.geteuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    _own(folder)
    return folder


def _own(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{folder} is not a folder; remove it, or name another temp_dir")
    if sys.platform != "win32" and found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user; remove it, or name another temp_dir")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def create(folder: Path, *, keep: bool = False) -> tuple[int, Path]:
    """Create an empty file and lock it.

    Args:
        folder: what `own_folder` returned.
        keep: give it a name that no sweep takes.

    Returns:
        A descriptor to read and write, not inherited, and the path. The file is locked until the
        descriptor is closed.

    Raises:
        OSError: it cannot be made.
    """
    suffix = _KEPT_SUFFIX if keep else _SUFFIX
    for _ in range(_ATTEMPTS):
        descriptor, name = tempfile.mkstemp(suffix, _PREFIX, folder)
        if sys.platform == "win32":
            return descriptor, Path(name)
        with suppress(OSError):  # a file system without locks: there no sweep takes anything either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)
    raise FileNotFoundError(f"files that are made in {folder} vanish at once")


def sweep(folder: Path) -> int:
    """Remove the files whose process is gone, and return how many; those of a living one stay.

    Safe beside other sweeps, and beside processes that create files. What cannot be looked at is left.
    """
    return sum(_remove_stale(path) for path in sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}")))


@cache
def sweep_once(folder: Path) -> None:
    """`sweep`, the first time that this process asks for this folder."""
    sweep(folder)


def _remove_stale(path: Path) -> bool:
    if sys.platform == "win32":  # untested
        with suppress(OSError):
            path.unlink()
            return True
        return False
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return unlink_same(descriptor, path)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def unlink_same(descriptor: int, path: Path) -> bool:
    """Remove the file at `path` if it is the open one, and tell whether it was.

    Raises:
        OSError: it is there and cannot be removed.
    """
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    if not os.path.samestat(there, os.fstat(descriptor)):
        return False
    path.unlink(missing_ok=True)
    return True
