"""Contents by their digest, each with a seal: its size and time of change when it was last found intact."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model_files.digests import is_sha256, sha256_of
from model_files.store_files import sync_folder, write_whole

_READ_ONLY = 0o444


@dataclass(frozen=True, slots=True)
class Blob:
    """A content in the cache."""

    sha256: str
    size: int
    path: Path
    """Read alone; runtimes are given a tree's path, which has the file's own name."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What a blob looked like when its digest was last right."""

    size: int
    mtime_ns: int
    verified: float
    """Unix time."""


class Blobs:
    """The folder of contents."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, sha256: str) -> Blob | None:
        """Return a content as it is there, looked at or not."""
        path = self._folder / sha256
        with contextlib.suppress(OSError):
            return Blob(sha256, path.stat().st_size, path)
        return None

    def seal(self, sha256: str) -> Seal | None:
        """Return a content's seal; what cannot be read counts as none."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            raw = json.loads(self._seal_path(sha256).read_bytes())
            return Seal(int(raw["size"]), int(raw["mtime_ns"]), float(raw["verified"]))
        return None

    def is_sealed(self, blob: Blob) -> bool:
        """Whether nothing has touched a content since its digest was last right."""
        seal = self.seal(blob.sha256)
        try:
            found = blob.path.stat()
        except OSError:
            return False
        return seal is not None and (found.st_size, found.st_mtime_ns) == (seal.size, seal.mtime_ns)

    def rehash(self, blob: Blob) -> bool:
        """Read all of a content; seals it where it is right, and says whether it is."""
        before = blob.path.stat()
        if sha256_of(blob.path) != blob.sha256:
            return False
        with contextlib.suppress(OSError):  # a cache that can only be read is looked at again next time
            self.write_seal(blob.sha256, before)
        return True

    def add(self, file: Path, sha256: str) -> Blob:
        """Take a file over that is on the disk already, and has been found to have this digest."""
        target = self._folder / sha256
        if os.name == "posix":
            file.chmod(_READ_ONLY)
        file.replace(target)
        sync_folder(self._folder)
        self.write_seal(sha256, target.stat())
        return Blob(sha256, target.stat().st_size, target)

    def write_seal(self, sha256: str, found: os.stat_result) -> None:
        """Note what a content looks like whose digest is right."""
        fields = {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "verified": time.time()}
        write_whole(self._seal_path(sha256), json.dumps(fields).encode())

    def touch(self, sha256: str) -> None:
        """Note that a content is used now; a cache that can only be read keeps no such notes."""
        with contextlib.suppress(OSError):
            os.utime(self._seal_path(sha256))

    def last_used(self, blob: Blob) -> float:
        """Return the Unix time of a content's last use."""
        for path in (self._seal_path(blob.sha256), blob.path):
            with contextlib.suppress(OSError):
                return path.stat().st_mtime
        return 0.0

    def remove(self, sha256: str) -> None:
        """Throw a content away."""
        self._seal_path(sha256).unlink(missing_ok=True)
        path = self._folder / sha256
        with contextlib.suppress(FileNotFoundError):
            if os.name != "posix":
                path.chmod(0o666)
            path.unlink()

    def all(self) -> Iterator[Blob]:
        """Yield every content."""
        for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if is_sha256(path.name):
                with contextlib.suppress(OSError):
                    yield Blob(path.name, path.stat().st_size, path)

    def _seal_path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.json"
