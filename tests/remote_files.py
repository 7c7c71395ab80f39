"""What the tests of files from the network share: a model, who follows its transfer, what breaks it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from folder_source import FolderSource

from model_files.errors import SourceUnavailableError
from model_files.remote import RemoteFiles

SIZE = 1 << 20
CONTENT = hashlib.shake_256(b"a model").digest(SIZE)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
URI = "double://owner/name/m.tflite"
BUDGET = 1 << 30

Files = Callable[..., tuple[FolderSource, RemoteFiles]]


def breaks_at(*offsets: int) -> Callable[[str, int], None]:
    """Return what breaks one transfer at each of these offsets, in turn."""
    pending = list(offsets)

    def before_chunk(path: str, sent: int) -> None:
        if pending and sent >= pending[0]:
            raise SourceUnavailableError(f"{path} broke off at {pending.pop(0)}")

    return before_chunk


def nothing_left(cache: Path) -> bool:
    """Whether nothing of a file is in the cache."""
    inside = [
        path.name for kind in ("partial", "blobs", "entries", "trees") for path in cache.glob(f"{kind}/*")
    ]
    return not inside


class Followed:
    """Takes note of progress; cancels at a number of bytes."""

    def __init__(self, cancel_at: int | None = None) -> None:
        self.reports: list[tuple[str, int, int | None]] = []
        self.cancel_at = cancel_at

    @property
    def cancelled(self) -> bool:
        return self.cancel_at is not None and bool(self.reports) and self.reports[-1][1] >= self.cancel_at

    def report(self, uri: str, done: int, total: int | None) -> None:
        self.reports.append((uri, done, total))
