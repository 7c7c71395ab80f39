"""What has come of a file so far. Belongs to whoever holds the file's transfer lock."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from model_files.store_files import write_whole

_READ_BYTES = 1 << 20
_WRITE_BYTES = 128 << 10
"""Smaller pieces are gathered; larger ones, as most are, go to the system without a copy."""
_BEGIN_BYTES = 16 << 20
"""After so many the system is asked to begin with the disk. The wait in the end, an eighth of a quick
transfer's time, is gone then."""


class Partial:
    """The bytes of one file that are here, and which content they are of."""

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{key}.part"
        self._note = folder / f"{key}.json"

    def resumable(self) -> tuple[int, str] | None:
        """Return how many bytes are there, and the validator of their content; None to begin anew."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            validator = json.loads(self._note.read_bytes())["validator"]
            size = self.path.stat().st_size
            return (size, validator) if size and isinstance(validator, str) else None
        return None

    @contextlib.contextmanager
    def writing(self, offset: int, validator: str | None) -> Iterator["PartialWriter"]:
        """Open it to go on at an offset; what is written lasts when the context is left without error.

        Args:
            offset: bytes that are kept.
            validator: of the content that comes; None makes it one that cannot be resumed.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if offset == 0:
            self.remove()
            write_whole(self._note, json.dumps({"validator": validator}).encode(), durable=False)
        with self.path.open("r+b" if offset else "xb", buffering=_WRITE_BYTES) as file:
            writer = PartialWriter(file, offset)
            yield writer
            file.flush()
            os.fsync(file.fileno())

    def settle(self) -> None:
        """Leave it to a later attempt where that can go on, else remove it."""
        if self.resumable() is None:
            self.remove()

    def remove(self) -> None:
        """Throw it away."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


class PartialWriter:
    """Appends, counts and digests."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0
        """Bytes of the file that are here."""
        self._begun = offset
        self._read_again(offset)

    @property
    def sha256(self) -> str:
        """The digest of all that is here."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)
        if self.size - self._begun >= _BEGIN_BYTES:
            self._begin_to_write()

    def _begin_to_write(self) -> None:
        if hasattr(os, "posix_fadvise"):
            self._file.flush()
            # Linux sends what is not on the disk on its way, and keeps it in memory until then.
            fresh = self.size - self._begun
            os.posix_fadvise(self._file.fileno(), self._begun, fresh, os.POSIX_FADV_DONTNEED)
        self._begun = self.size

    def _read_again(self, offset: int) -> None:
        while self.size < offset:
            piece = self._file.read(min(_READ_BYTES, offset - self.size))
            if not piece:
                raise OSError("a partial file has become shorter")
            self._digest.update(piece)
            self.size += len(piece)
        self._file.seek(offset)
        self._file.truncate()
