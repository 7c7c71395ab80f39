"""The index of the cache: which file of which place is which content."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model_files.digests import is_sha256
from model_files.source import RemoteFile
from model_files.store_files import write_whole


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a file that has been fetched; holds no secret."""

    scheme: str
    place: str
    model_id: str
    path: str
    revision: str | None
    """These five as in `RemoteFile`."""
    sha256: str
    size: int
    validator: str | None
    """As the place told it."""
    fetched: float
    """Unix time at which it came."""
    confirmed: float
    """Unix time at which the place last said that it is still this one."""

    @property
    def uri(self) -> str:
        """The file as a person is shown it."""
        return RemoteFile(self.scheme, self.place, self.model_id, self.path, self.revision).uri

    @property
    def references(self) -> tuple[str, ...]:
        """What a configuration may have named it by: some schemes have their place in it, some have not."""
        revision = f"@{self.revision}" if self.revision else ""
        inside = "/".join(filter(None, (self.model_id, self.path))) + revision
        return f"{self.scheme}://{inside}", f"{self.scheme}://{self.place}/{inside}"


def key_of(file: RemoteFile) -> str:
    """Return the name that the cache's own files have for a remote one: hex, whatever the remote name is."""
    parts = (file.scheme, file.place, file.model_id, file.path, file.revision or "")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class Entries:
    """One small file each, written whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Entry | None:
        """Return what is known of a file; what cannot be read counts as nothing."""
        return _read(self._path(key))

    def put(self, key: str, entry: Entry) -> None:
        """Write what is known of a file."""
        write_whole(self._path(key), json.dumps(dataclasses.asdict(entry)).encode())

    def remove(self, key: str) -> None:
        """Forget a file."""
        self._path(key).unlink(missing_ok=True)

    def all(self) -> Iterator[tuple[str, Entry]]:
        """Yield every entry with its key."""
        for path in sorted(self._folder.glob("*.json")):
            entry = _read(path)
            if entry is not None:
                yield path.stem, entry

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _read(path: Path) -> Entry | None:
    with contextlib.suppress(OSError, ValueError, TypeError):
        raw = json.loads(path.read_bytes())
        entry = Entry(**{name: raw[name] for name in Entry.__slots__ if name in raw})
        texts = (entry.scheme, entry.place, entry.model_id, entry.path, entry.sha256)
        if not all(isinstance(text, str) for text in texts):
            return None
        if is_sha256(entry.sha256):
            return entry
    return None
