"""What the store does with files: whole or not at all, and errors that a person can act on."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from model_files.errors import CacheError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHTS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_CHOOSE = "set provider.cacheDir or INFERPIPE_CACHE to a folder that can be written"


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn the system's errors into `CacheError`s that name the cache folder and what to do."""
    try:
        yield
    except OSError as exc:
        raise CacheError(_explanation(folder, exc)) from exc


def refuses_writing(error: BaseException) -> bool:
    """Whether an error says that a folder is there to be read alone."""
    return isinstance(error, OSError) and error.errno in _NO_RIGHTS


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a small file so that others see all of it or what was there before, also after a crash."""
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def temporary_beside(path: Path) -> Path:
    """Return a name in the same folder that nobody else has, and that sweeping recognises."""
    return path.with_name(f".tmp-{secrets.token_hex(8)}")


def sync_folder(folder: Path) -> None:
    """Make names in a folder last; where a system cannot, its own journal has to do."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)


def place(source: Path, target: Path) -> None:
    """Give a file another name: by a hard link, else a symbolic one, else a copy."""
    for way in (os.link, os.symlink, shutil.copy2):
        try:
            way(source, target)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):
            if way is shutil.copy2:
                raise
        else:
            return


def remove_folder(folder: Path) -> None:
    """Remove a folder with all in it: out of sight at once, then piece by piece."""
    trash = temporary_beside(folder)
    try:
        folder.replace(trash)
    except FileNotFoundError:
        return
    shutil.rmtree(trash, ignore_errors=True)


def _explanation(folder: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        return (
            f"no room in the cache of models {folder}: {reason}; free some, lower provider.cacheBytes and run"
            f" `python -m worker models rm`, or {_CHOOSE}"
        )
    if error.errno in _NO_RIGHTS:
        return f"cannot write to the cache of models {folder}: {reason}; {_CHOOSE}"
    return f"the cache of models {folder} cannot be used: {reason}"
