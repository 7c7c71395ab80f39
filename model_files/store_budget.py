"""What goes when the cache is over its budget, and what is swept out of it."""

import contextlib
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from model_files.store_blobs import Blob, Blobs
from model_files.store_entries import Entries
from model_files.store_files import refuses_writing
from model_files.store_locks import try_lock
from model_files.store_trees import Trees

_TEMPORARY_AGE_S = 3600.0
"""No file is being written for as long as that under a temporary name."""
_PARTIAL_AGE_S = 7 * 86400.0
_KEY_DIGITS = 64
"""Of the lock of a file; the store's own has another name."""


def over_budget(blobs: Blobs, pinned: set[str], budget: int, needed: int) -> list[Blob]:
    """Return what must go so that so many more bytes fit, the least recently used first.

    Args:
        blobs: all contents.
        pinned: names that are in use.
        budget: bytes for all.
        needed: bytes that are to come.
    """
    everything = list(blobs.all())
    over = sum(blob.size for blob in everything) + needed - budget
    going = []
    for blob in sorted(everything, key=blobs.last_used) if over > 0 else ():
        if over <= 0:
            break
        if blob.sha256 not in pinned:
            going.append(blob)
            over -= blob.size
    return going


def remove(names: Iterable[str], blobs: Blobs, entries: Entries, trees: Trees) -> None:
    """Remove contents with all that leads to them: first what leads, so that a crash leaves no dead end.

    Under the store's lock alone.
    """
    going = set(names)
    if not going:
        return
    for key, entry in list(entries.all()):
        if entry.sha256 in going:
            entries.remove(key)
    for name, files in list(trees.contents()):
        if going.intersection(files.values()):
            trees.remove(name)
    for sha256 in going:
        with contextlib.suppress(PermissionError):  # Windows: somebody reads it; next time
            blobs.remove(sha256)


def sweep(root: Path) -> None:
    """Remove what processes that were killed have left behind, long enough ago."""
    now = time.time()
    for path in root.glob("*/.tmp-*"):
        if _age(path, now) > _TEMPORARY_AGE_S:
            _remove(path)
    for lock_path in (root / "locks").glob("*.lock"):
        partial = root / "partial" / f"{lock_path.stem}.part"
        newest = partial if partial.exists() else lock_path
        if _age(newest, now) < _PARTIAL_AGE_S or len(lock_path.stem) != _KEY_DIGITS:
            continue
        lock = try_lock(lock_path)
        if lock is not None:
            for path in (partial, partial.with_suffix(".json"), lock_path):
                _remove(path)
            lock.release()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        if not refuses_writing(exc):
            raise


def _age(path: Path, now: float) -> float:
    with contextlib.suppress(OSError):
        return now - path.lstat().st_mtime
    return 0.0
