"""The files of models that live in the network, as they lie in the cache: the same for every place."""

import contextlib
import dataclasses
import logging
import mmap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model_files import companions
from model_files.base import ModelFiles, ModelRef
from model_files.companions import Companion
from model_files.digests import checked_sha256
from model_files.download import Download, TransferLimits
from model_files.errors import (
    FileTooLargeError,
    InvalidReferenceError,
    MissingFileError,
    SourceUnavailableError,
    TransferCancelledError,
)
from model_files.flights import Flights
from model_files.names import check_path, scheme_of, shown
from model_files.progress import UNWATCHED, Watch
from model_files.source import RemoteFile, RemoteSource, RemoteStat
from model_files.store import Store
from model_files.store_blobs import Blob
from model_files.store_entries import Entry, key_of
from model_files.store_pins import Lease

log = logging.getLogger(__name__)

_ANY_FILE = "config.json"
"""References name files; where only the model's folder matters, it is this one."""

MAX_BYTES_IN_MEMORY = 256 << 20
"""What `get_file` hands out; larger files are for `local_files`."""


@dataclass(slots=True)
class _Call:
    """One wish for a model's files; what is learnt with one of them holds for the others."""

    watch: Watch
    lease: Lease
    is_settled: bool = False
    """What is in the cache is used as it is: a digest says enough, or the place cannot be asked."""
    has_fetched: bool = False
    """Something has come from the place."""


class RemoteFiles:
    """The provider over any `RemoteSource`."""

    def __init__(self, scheme: str, source: RemoteSource, store: Store, limits: TransferLimits) -> None:
        """Put a provider together.

        Args:
            scheme: of the references that it resolves, lower case.
            source: the way to the places.
            store: the cache.
            limits: of every transfer.
        """
        self._scheme = scheme
        self._source = source
        self._store = store
        self._limits = limits
        self._flights = Flights[str]()

    def get_file(self, model_id: str, file_path: str) -> bytes:
        """Return the bytes of one small file, fetched where it is not in the cache.

        Args:
            model_id: the folder: "owner/name", or a whole reference of it.
            file_path: the file in it.
        """
        call = _Call(UNWATCHED, self._store.lease())
        blob = self._have(self.locate(model_id, file_path), None, call)
        if blob.size > MAX_BYTES_IN_MEMORY:
            raise FileTooLargeError(
                f"{file_path} has {blob.size} bytes: more than is handed out in one piece, use local_files"
            )
        return blob.path.read_bytes()

    def local_files(self, ref: ModelRef, watch: Watch = UNWATCHED) -> ModelFiles:
        """Return the main file and its companions, laid beside each other in the cache.

        Args:
            ref: the reference.
            watch: follows the transfers, and may end them.
        """
        expected = _digest(ref.sha256)
        main = self._source.locate(ref.uri)
        call = _Call(watch, self._store.lease())
        if companions.is_folder(main.path):
            if expected is not None:
                raise InvalidReferenceError(f"{main.uri} is a folder: its sha256 cannot be checked")
            blobs = self._folder(main, call)
        else:
            blobs = self._with_companions(main, expected, call)
        folder = self._store.lay(blobs, call.lease)
        return ModelFiles(folder / main.path, main.uri, call.lease)

    def list_files(self, model_id: str) -> tuple[str, ...] | None:
        """Return the paths in a model's folder, None where the place cannot list."""
        return self._source.list_files(self.locate(model_id, _ANY_FILE))

    def collect(
        self, model_id: str, paths: tuple[Companion, ...], watch: Watch = UNWATCHED
    ) -> tuple[ModelFiles, frozenset[str]]:
        """Return a folder with these files of a model, and the paths of those that are there.

        Args:
            model_id: the folder: "owner/name", or a whole reference of it.
            paths: in that folder; those that are not required may be missing.
            watch: follows the transfers, and may end them.

        Raises:
            MissingFileError: a required one is not there.
        """
        call = _Call(watch, self._store.lease())
        first = self.locate(model_id, _ANY_FILE)
        blobs = self._all(first, paths, call)
        return ModelFiles(self._store.lay(blobs, call.lease), first.uri, call.lease), frozenset(blobs)

    def has_file(self, model_id: str, file_path: str) -> bool:
        """Whether a model has a file; nothing is fetched.

        Args:
            model_id: the folder: "owner/name", or a whole reference of it.
            file_path: the file in it.

        Raises:
            SourceUnavailableError: the place cannot be reached now, and the cache does not know the file.
        """
        file = self.locate(model_id, file_path)
        try:
            self._source.stat(file)
        except MissingFileError:
            return False
        except SourceUnavailableError:
            if self._store.entry(file) is None:
                raise
        return True

    def locate(self, model_id: str, file_path: str) -> RemoteFile:
        """Return one file of a model.

        Raises:
            InvalidReferenceError: `model_id` is no model's folder, or `file_path` leads out of it.
        """
        folder = model_id if scheme_of(model_id) else f"{self._scheme}://{model_id}"
        # A reference does not always tell where the model's folder ends and a path of several segments
        # begins; one of a single segment does.
        first = self._source.locate(f"{folder.rstrip('/')}/{_ANY_FILE}")
        if first.path != _ANY_FILE:
            raise InvalidReferenceError(f"{shown(folder)!r} is no model's folder: it leads into a model")
        return dataclasses.replace(first, path=check_path(file_path))

    def fetch(self, uri: str, sha256: str | None = None, watch: Watch = UNWATCHED) -> Blob:
        """Return one file's content by its reference, without companions."""
        return self._have(self._source.locate(uri), _digest(sha256), _Call(watch, self._store.lease()))

    def fetch_again(self, key: str, entry: Entry) -> Blob | None:
        """Fetch a file that the cache has known; None where its own name does not lead to it any more.

        Args:
            key: its key in the cache.
            entry: what was known of it.
        """
        for reference in entry.references:
            with contextlib.suppress(InvalidReferenceError):
                file = self._source.locate(reference)
                if key_of(file) == key:
                    return self._have(file, None, _Call(UNWATCHED, self._store.lease()))
        return None

    def _with_companions(self, main: RemoteFile, expected: str | None, call: _Call) -> dict[str, Blob]:
        blob = self._have(main, expected, call)
        with _content(blob.path) as content:
            others = companions.companions_of(main.path, content)
        # A main file of a given digest has its companions too, as far as they are here: nothing is asked.
        call.is_settled = call.is_settled or expected is not None
        lenient = call.is_settled and not call.has_fetched
        return {main.path: blob} | self._all(main, others, call, lenient=lenient)

    def _folder(self, main: RemoteFile, call: _Call) -> dict[str, Blob]:
        listing = self._source.list_files(main)
        if listing is not None:
            inside = companions.listed_in(main.path, listing)
            if not inside:
                raise MissingFileError(f"{main.uri} has no files")
            return self._all(main, inside, call)
        entry = companions.entry_file(main.path)
        blobs = self._all(main, (entry,), call)
        with _content(blobs[entry.path].path) as content:
            others = companions.folder_files(main.path, content)
        lenient = call.is_settled and not call.has_fetched
        return blobs | self._all(main, others, call, lenient=lenient)

    def _all(
        self, main: RemoteFile, paths: tuple[Companion, ...], call: _Call, *, lenient: bool = False
    ) -> dict[str, Blob]:
        """Return these files of a model.

        Args:
            main: a file of the model.
            paths: in its folder.
            call: what they are for.
            lenient: whether one that is not required and not here may be left out where the place cannot be
                reached: a model that has been used without it is used again.
        """
        blobs = {}
        for companion in paths:
            file = dataclasses.replace(main, path=companion.path)
            is_optional = lenient and not companion.required
            try:
                blobs[companion.path] = self._have(file, None, call, patient=not is_optional)
            except MissingFileError:
                if companion.required:
                    raise
            except SourceUnavailableError as error:
                if not is_optional:
                    raise
                log.warning("%s; the model is used without it", error)
        return blobs

    def _have(self, file: RemoteFile, expected: str | None, call: _Call, *, patient: bool = True) -> Blob:
        """Return a file's content: the one in the cache where it is still right, else fetched."""
        if call.watch.cancelled:
            raise TransferCancelledError
        asked = time.time()
        there = self._store.find(expected, call.lease) if expected is not None else None
        if there is not None:
            return there
        entry = self._store.entry(file)
        if entry is not None and expected is None:
            blob = self._store.find(entry.sha256, call.lease)
            if blob is not None and (call.is_settled or self._is_current(file, entry, blob, call)):
                return blob
        limits = self._limits if patient else dataclasses.replace(self._limits, retry_for_s=0.0)
        return self._fetched(file, expected, asked, limits, call)

    def _fetched(
        self, file: RemoteFile, expected: str | None, asked: float, limits: TransferLimits, call: _Call
    ) -> Blob:
        while True:
            digest = self._flights.run(
                f"{key_of(file)} {expected}",
                call.watch,
                lambda shared: (
                    Download(self._source, file, self._store, limits, shared)
                    .run(expected, asked, call.lease)
                    .sha256
                ),
            )
            call.has_fetched = True
            blob = self._store.find(digest, call.lease)
            if blob is not None:  # else evicted before this caller could keep it
                return blob

    def _is_current(self, file: RemoteFile, entry: Entry, blob: Blob, call: _Call) -> bool:
        """Whether a place still has the content that is in the cache; where it cannot say, it counts."""
        try:
            stat, is_same = self._compared(file, entry, blob)
        except SourceUnavailableError as error:
            log.warning("%s; the one in the cache is used", error)
            call.is_settled = True  # asking for each file of the model would wait as long each time
            return True
        if is_same:
            self._store.adopt(file, blob, stat)
        return is_same

    def _compared(self, file: RemoteFile, entry: Entry, blob: Blob) -> tuple[RemoteStat, bool]:
        if self._source.revalidates:
            stat = self._source.stat(file)
            if stat.sha256 is not None:
                return stat, stat.sha256 == entry.sha256
            if stat.validator is not None:
                return stat, stat.validator == entry.validator
        # Nothing tells contents apart but the contents: their size and how they begin must do.
        with self._source.fetch(file) as transfer, blob.path.open("rb") as ours:
            first = next(iter(transfer.chunks), b"")
            size = transfer.stat.size
            same = (size is None or size == entry.size) and ours.read(len(first)) == first
            return transfer.stat, same and (size is not None or bool(first))


@contextlib.contextmanager
def _content(path: Path) -> Iterator[memoryview]:
    """Give a file's bytes without reading those that nobody looks at."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            yield memoryview(b"")
            return
        # Not closed by hand: that is refused as long as a part of it is looked at.
        yield memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _digest(sha256: str | None) -> str | None:
    return None if sha256 is None else checked_sha256(sha256)
