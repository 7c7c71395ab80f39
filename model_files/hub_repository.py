"""Models as the hub's library sees them, made of a provider's files."""

import hashlib
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_files.base import ModelFileProvider, ModelFiles, ModelRef
from model_files.companions import Companion, companions_of
from model_files.errors import InvalidReferenceError, MissingFileError
from model_files.names import check_path, folder_of, scheme_of
from model_files.snapshot import Collector, listing_of
from model_files.snapshot_rules import (
    CONFIG,
    PYTORCH,
    PYTORCH_INDEX,
    SAFETENSORS,
    SAFETENSORS_INDEX,
    SMALL_FILES,
)

DEFAULT_REVISION = "main"
FRESH_S = 60.0
"""How long a model is taken to be what it was: one load asks many times and must see one state."""
MAX_HELD = 32
"""Models whose files are kept in the cache for the library's sake."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Repository:
    """One model at one moment. What has been asked once is not asked again. Used by several threads."""

    def __init__(self, provider: ModelFileProvider, folder: str) -> None:
        """Nothing is asked yet.

        Args:
            provider: of the folder's scheme.
            folder: reference of the model's folder.
        """
        self._provider = provider
        self._folder = folder
        self._files: dict[str, ModelFiles | None] = {}
        """Name → the file with what keeps it in the cache; None is known to be absent."""
        self._listing: list[tuple[str, ...] | None] = []
        """Empty as long as nobody has asked."""

    def path(self, name: str) -> Path | None:
        """Return a file of the model on the local disk, None where the model has none of this name.

        Raises:
            MissingFileError: there is no such model, as far as the place can tell.
            ModelFileError: it cannot be had.
        """
        listing = self.listing()
        if name not in self._files:
            self._files[name] = self._find(name, listing)
        files = self._files[name]
        return files.path if files is not None else None

    def names(self) -> tuple[str, ...]:
        """Return the names of the model's files: all where the place lists, else those that rules find.

        Raises:
            MissingFileError: there is no such model.
        """
        listing = self.listing()
        if listing is not None:
            return listing
        small = {name for name in (CONFIG, *SMALL_FILES) if self.path(name)}
        found = {name for name, files in self._files.items() if files is not None}
        return tuple(sorted(small | found | self._weights()))

    def size(self, name: str) -> int:
        """Return the bytes of a file that has been asked for, 0 of one that has not."""
        files = self._files.get(name)
        return files.path.stat().st_size if files is not None else 0

    def listing(self) -> tuple[str, ...] | None:
        """Return the names of the model's files where the place lists them.

        Raises:
            MissingFileError: there is no such model.
        """
        if not self._listing:
            self._listing.append(listing_of(self._provider, self._folder))
        return self._listing[0]

    def _find(self, name: str, listing: tuple[str, ...] | None) -> ModelFiles | None:
        if listing is not None and name not in listing:
            return None
        try:
            check_path(name)
            return self._fetch(name)
        except (MissingFileError, InvalidReferenceError):
            return None

    def _fetch(self, name: str) -> ModelFiles | None:
        if isinstance(self._provider, Collector):
            files, _ = self._provider.collect(self._folder, (Companion(name),))
            return ModelFiles(files.path / name, files.uri, files.lease)
        files = self._provider.local_files(ModelRef(f"{self._folder}/{name}"))
        return files if files.path.is_file() else None

    def _weights(self) -> set[str]:
        """Return the weights that are known without fetching them: by an index, or where it can be asked."""
        for index in (SAFETENSORS_INDEX, PYTORCH_INDEX):
            path = self.path(index)
            if path is not None:
                shards = companions_of(index, memoryview(path.read_bytes()))
                return {index, *(shard.path for shard in shards)}
        if isinstance(self._provider, Collector):
            for name in (SAFETENSORS, PYTORCH):
                if self._provider.has_file(self._folder, name):
                    return {name}
        return set()


@dataclass(frozen=True, slots=True)
class Held:
    """A repository under the commit that the library knows it by."""

    commit: str
    repository: Repository
    since: float


class Repositories:
    """All models that have been asked for, by name and revision, and by commit."""

    def __init__(
        self, provider: ModelFileProvider, base: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is asked yet.

        Args:
            provider: of the base's scheme.
            base: what stands before "owner/name" in references: "modelcache://", "s3://bucket/models".
            clock: seconds.
        """
        self._provider = provider
        self._base = base if base.endswith("/") else f"{base}/"
        self._clock = clock
        self._guard = threading.Lock()
        self._held: OrderedDict[tuple[str, str], Held] = OrderedDict()
        """By model and commit."""
        self._newest: dict[tuple[str, str], str] = {}
        """Model and revision → the commit that was told last."""
        self._asked_as: dict[str, str] = {}
        """Commit that was told → revision by which it was asked for; a few bytes a load."""

    def get(self, model_id: str, revision: str) -> Held:
        """Return a model.

        Args:
            model_id: "owner/name" or "name".
            revision: a branch, a tag, a commit of the place's own, or one that was told before: whoever was
                told one gets that state, however long its load takes.
        """
        with self._guard:
            if revision in self._asked_as:
                return self._held_as(model_id, revision, self._asked_as[revision])
            if _COMMIT.fullmatch(revision):
                return self._held_as(model_id, revision, revision)
            commit = self._newest.get((model_id, revision), "")
            held = self._held.get((model_id, commit))
            if held is None or self._clock() - held.since > FRESH_S:
                commit = self._newest[model_id, revision] = secrets.token_hex(20)
                self._asked_as[commit] = revision
            return self._held_as(model_id, commit, revision)

    def _held_as(self, model_id: str, commit: str, revision: str) -> Held:
        """Return the model under a commit, made anew where it is not held any longer."""
        key = (model_id, commit)
        if key not in self._held:
            folder = f"{self._base}{model_id}"
            if scheme_of(folder) == "hf" and revision != DEFAULT_REVISION:
                folder += f"@{revision}"
            self._held[key] = Held(commit, Repository(self._provider, folder), self._clock())
            while len(self._held) > MAX_HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]


def identity_of(path: Path) -> str:
    """Return what changes when a file does: 64 hex digits, as the hub's ETags of large files have."""
    found = path.stat()
    return hashlib.sha256(f"{found.st_ino} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()


def entries_in(names: tuple[str, ...], folder: str, *, recursive: bool) -> tuple[list[str], list[str]]:
    """Return the files and the subfolders of a folder, all below it where that is asked for."""
    prefix = f"{folder}/" if folder else ""
    below = [name for name in names if name.startswith(prefix)]
    inner = sorted(
        {parent for name in below for parent in _parents(name) if parent.startswith(prefix) and parent}
    )
    if recursive:
        return below, inner
    return (
        [name for name in below if folder_of(name) == folder],
        [parent for parent in inner if folder_of(parent) == folder],
    )


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
