"""The cache on disk: contents by their digest, an index from places to contents, and trees of models.

    blobs/<sha256>        a content, and blobs/<sha256>.json its seal; the seal's mtime is the last use
    entries/<key>.json    which content a place's file is, by a digest of the place and the name
    trees/<name>/…        a model's files under their own names, linked to the contents
    partial/<key>.part    what has come of a file so far
    locks/                a lock a file that is fetched, and `store.lock` for all changes of the folders
    users/                what each living process uses

Many processes share one. Names in it are made of digests; what a remote name says only shows in a
tree, and has passed `names.check_path`.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from model_files import store_budget
from model_files.source import RemoteFile, RemoteStat
from model_files.store_blobs import Blob, Blobs, Seal
from model_files.store_entries import Entries, Entry, key_of
from model_files.store_files import (
    explained,
    refuses_writing,
    sync_folder,
    temporary_beside,
    write_whole,
)
from model_files.store_locks import locked
from model_files.store_partial import Partial
from model_files.store_pins import Lease, Pins
from model_files.store_trees import Trees, tree_name

log = logging.getLogger(__name__)

_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# A cache of inferpipe: may be removed at any time.\n"
"""What tells backup programs that a folder is a cache (bford.info/cachedir)."""


class Store:
    """One cache folder, as one process uses it. All methods may be called on any thread.

    Raises `CacheError` where the folder cannot be used; a folder that can only be read serves what is in
    it.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        """Use a folder, which is made when something is first written.

        Args:
            folder: the cache.
            budget: bytes of all contents; what is in use may go over it.
        """
        self.folder = folder
        self._budget = budget
        self._blobs = Blobs(folder / "blobs")
        self._entries = Entries(folder / "entries")
        self._trees = Trees(folder / "trees")
        self._pins = Pins(folder / "users")
        self._swept = False

    def lease(self) -> Lease:
        """Return what keeps contents in the cache for as long as it is held itself."""
        return self._pins.lease()

    def entry(self, file: RemoteFile) -> Entry | None:
        """Return what is known of a file; its content may be gone."""
        return self._entries.get(key_of(file))

    def entries(self) -> list[tuple[str, Entry]]:
        """Return all that is known, by key."""
        return list(self._entries.all())

    def seal(self, sha256: str) -> Seal | None:
        """Return when a content was last found intact."""
        return self._blobs.seal(sha256)

    def last_used(self, blob: Blob) -> float:
        """Return the Unix time of a content's last use."""
        return self._blobs.last_used(blob)

    def blobs(self) -> list[Blob]:
        """Return all contents."""
        return list(self._blobs.all())

    def find(self, sha256: str, lease: Lease, *, rehash: bool = False) -> Blob | None:
        """Return a content that is there and intact, and keep it.

        One that is untouched since its digest was last right is trusted; any other is read again, and
        thrown away where it has another digest.

        Args:
            sha256: of the content.
            lease: what keeps it.
            rehash: whether it is read in any case.
        """
        with explained(self.folder), contextlib.suppress(FileNotFoundError):  # another found it corrupt
            with self._exclusive():
                blob = self._blobs.find(sha256)
                if blob is None:
                    return None
                lease.hold(sha256)
            read = blob.path.stat()
            if (self._blobs.is_sealed(blob) and not rehash) or self._blobs.rehash(blob):
                self._blobs.touch(sha256)
                return blob
            log.warning("%s in the cache of models is corrupt: thrown away", blob.path)
            self._discard(sha256, read)
        return None

    def commit(self, file: RemoteFile, partial: Partial, sha256: str, stat: RemoteStat, lease: Lease) -> Blob:
        """Take over what has been fetched, and keep it.

        Args:
            file: where it came from.
            partial: all of it, on the disk.
            sha256: its digest.
            stat: what the place told of it.
            lease: what keeps it.
        """
        with explained(self.folder), self._exclusive():
            blob = self._add(partial.path, sha256)
            lease.hold(sha256)
            self._note(file, blob, stat.validator)
            partial.remove()
            self._evict(0)
            return blob

    def adopt(self, file: RemoteFile, blob: Blob, stat: RemoteStat) -> None:
        """Note that a file is a content that is there already, or still is."""
        with contextlib.suppress(OSError):  # a cache that can only be read keeps no such notes
            self._note(file, blob, stat.validator)

    def add_bytes(self, data: bytes, sha256: str, lease: Lease) -> Blob:
        """Keep a content that has come in one piece, and has this digest."""
        with explained(self.folder), self._exclusive():
            self._blobs_folder()
            draft = temporary_beside(self.folder / "blobs" / sha256)
            write_whole(draft, data)
            blob = self._add(draft, sha256)
            lease.hold(sha256)
            self._evict(0)
            return blob

    def lay(self, blobs: Mapping[str, Blob], lease: Lease) -> Path:
        """Return a folder in which these contents lie under these relative paths, and keep it."""
        with explained(self.folder), self._exclusive():
            folder = self._trees.lay(blobs)
            lease.hold(tree_name({path: blob.sha256 for path, blob in blobs.items()}))
            return folder

    def partial(self, file: RemoteFile) -> Partial:
        """Return what has come of a file. Only under its transfer lock."""
        return Partial(self.folder / "partial", key_of(file))

    @contextlib.contextmanager
    def transfer_lock(self, file: RemoteFile, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Hold the right to fetch a file, among all threads and processes.

        Raises:
            TransferCancelledError: nobody waits for it any longer.
        """
        with contextlib.ExitStack() as held:
            with explained(self.folder):
                self._prepare()
                held.enter_context(locked(self.folder / "locks" / f"{key_of(file)}.lock", cancelled))
            yield

    def make_room(self, needed: int) -> None:
        """Evict what is not in use, until so many bytes fit into the budget."""
        with explained(self.folder), self._exclusive():
            self._evict(needed)

    def remove(self, digests: set[str]) -> set[str]:
        """Remove contents that nobody uses; returns those that are gone."""
        with explained(self.folder), self._exclusive():
            going = digests - self._pins.all()
            store_budget.remove(going, self._blobs, self._entries, self._trees)
            return going

    def _add(self, path: Path, sha256: str) -> Blob:
        there = self._blobs.find(sha256)
        if there is not None and self._blobs.is_sealed(there):
            path.unlink()
            return there
        self._blobs_folder()
        return self._blobs.add(path, sha256)

    def _note(self, file: RemoteFile, blob: Blob, validator: str | None) -> None:
        key, now = key_of(file), time.time()
        before = self._entries.get(key)
        fetched = before.fetched if before is not None and before.sha256 == blob.sha256 else now
        (self.folder / "entries").mkdir(parents=True, exist_ok=True)
        entry = Entry(
            file.scheme,
            file.place,
            file.model_id,
            file.path,
            file.revision,
            blob.sha256,
            blob.size,
            validator,
            fetched,
            confirmed=now,
        )
        self._entries.put(key, entry)

    def _evict(self, needed: int) -> None:
        going = store_budget.over_budget(self._blobs, self._pins.all(), self._budget, needed)
        for blob in going:
            log.info(
                "the cache of models is over its budget: %s goes (%d bytes)", blob.sha256[:12], blob.size
            )
        store_budget.remove({blob.sha256 for blob in going}, self._blobs, self._entries, self._trees)

    def _discard(self, sha256: str, read: os.stat_result) -> None:
        try:
            with self._exclusive():
                blob = self._blobs.find(sha256)
                # Between the look and the lock another process may have put a good one in its place.
                if blob is not None and os.path.samestat(blob.path.stat(), read):
                    store_budget.remove({sha256}, self._blobs, self._entries, self._trees)
        except OSError as exc:
            if not refuses_writing(exc):
                raise

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep all others from changing the folders; a cache that can only be read needs no lock."""
        with contextlib.ExitStack() as held:
            try:
                self._prepare()
                held.enter_context(locked(self.folder / "locks" / "store.lock"))
            except OSError as exc:
                if not refuses_writing(exc) or not self.folder.is_dir():
                    raise
            yield

    def _prepare(self) -> None:
        (self.folder / "locks").mkdir(parents=True, exist_ok=True)
        if self._swept:
            return
        self._swept = True
        tag = self.folder / "CACHEDIR.TAG"
        if not tag.exists():
            write_whole(tag, _TAG, durable=False)
        store_budget.sweep(self.folder)

    def _blobs_folder(self) -> None:
        folder = self.folder / "blobs"
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self.folder)
