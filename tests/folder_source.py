"""A double of a `RemoteSource`: a folder of this machine in place of a server, with faults on order.

As an entry point of the scheme `double` it serves the folder in the variable DOUBLE_ROOT.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from model_files.errors import MissingFileError, SourceUnavailableError
from model_files.names import check_path
from model_files.source import RemoteFile, RemoteStat, Transfer

SCHEME = "double"
OWNED = 2
"""Segments of a model's id: owner/name."""


class FolderSource:
    """Serves root/owner/name/file as double://owner/name/file."""

    def __init__(
        self,
        root: Path,
        *,
        revalidates: bool = True,
        can_resume: bool = True,
        can_list: bool = False,
        tells_size: bool = True,
        tells_sha256: bool = False,
        chunk_bytes: int = 64 << 10,
    ) -> None:
        self.root = root
        self.revalidates = revalidates
        self.can_resume = can_resume
        self.can_list = can_list
        self.tells_size = tells_size
        self.tells_sha256 = tells_sha256
        self.chunk_bytes = chunk_bytes
        self.fetched: list[tuple[str, int]] = []
        """Path and offset of each transfer that was begun."""
        self.asked: list[str] = []
        """Path of each `stat`."""
        self.before_chunk: Callable[[str, int], None] = lambda path, sent: None
        """Called with the path and the bytes sent so far; what it raises breaks the transfer."""
        self.is_down = False

    def locate(self, uri: str) -> RemoteFile:
        path = check_path(uri.partition("://")[2])
        segments = path.split("/")
        model_id, name = "/".join(segments[:OWNED]), "/".join(segments[OWNED:])
        return RemoteFile(SCHEME, "", model_id, check_path(name))

    def stat(self, file: RemoteFile) -> RemoteStat:
        self.asked.append(file.path)
        return self._stat(self._path(file))

    @contextlib.contextmanager
    def fetch(self, file: RemoteFile, offset: int = 0, validator: str | None = None) -> Iterator[Transfer]:
        path = self._path(file)
        stat = self._stat(path)
        start = offset if self.can_resume and validator is not None and validator == stat.validator else 0
        self.fetched.append((file.path, start))
        count_in(os.environ.get("DOUBLE_COUNT"), file.path)
        with path.open("rb") as content:
            content.seek(start)
            yield Transfer(stat, start, self._chunks(file.path, content, start))

    def list_files(self, file: RemoteFile) -> tuple[str, ...] | None:
        folder = self.root / file.model_id
        if not self.can_list:
            return None
        return tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))

    def _chunks(self, name: str, content: Any, sent: int) -> Iterator[bytes]:
        while chunk := content.read(self.chunk_bytes):
            self.before_chunk(name, sent)
            yield chunk
            sent += len(chunk)
        self.before_chunk(name, sent)

    def _path(self, file: RemoteFile) -> Path:
        if self.is_down:
            raise SourceUnavailableError(f"{file.uri}: nobody is there")
        path = self.root / file.model_id / file.path
        if not path.is_file():
            raise MissingFileError(f"no such file: {file.uri}")
        return path

    def _stat(self, path: Path) -> RemoteStat:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return RemoteStat(
            len(content) if self.tells_size else None,
            f'"{digest[:16]}"' if self.revalidates or self.can_resume else None,
            digest if self.tells_sha256 else None,
        )


class EnvironmentSource(FolderSource):
    """The same, as another distribution would register it. DOUBLE_DELAY_S is slept before each chunk."""

    def __init__(self, settings: object) -> None:
        super().__init__(Path(os.environ["DOUBLE_ROOT"]))
        delay_s = float(os.environ.get("DOUBLE_DELAY_S", "0"))
        self.before_chunk = lambda path, sent: time.sleep(delay_s)


def count_in(path: str | None, line: str) -> None:
    """Append a line to a file that several processes count in."""
    if path is not None:
        with open(path, "a") as file:
            file.write(line + "\n")


def register(folder: Path) -> Path:
    """Make a distribution in a folder that registers the scheme; returns the folder, for PYTHONPATH."""
    info = folder / "folder_source_double-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: folder-source-double\nVersion: 1.0\n")
    entry = f"[inferpipe.model_files]\n{SCHEME} = folder_source:EnvironmentSource\n"
    (info / "entry_points.txt").write_text(entry)
    return folder
