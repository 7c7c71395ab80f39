"""One file from a place in the network into the store: whole, of the right digest, and not too large."""

import logging
import shutil
from dataclasses import dataclass

from model_files.errors import (
    CacheError,
    DigestMismatchError,
    FileTooLargeError,
    ModelFileError,
    SourceFailedError,
    SourceUnavailableError,
)
from model_files.patience import Patience
from model_files.progress import Watch
from model_files.source import RemoteFile, RemoteSource, RemoteStat, Transfer
from model_files.store import Store
from model_files.store_blobs import Blob
from model_files.store_files import explained
from model_files.store_partial import Partial, PartialWriter
from model_files.store_pins import Lease

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TransferLimits:
    """What a transfer may take."""

    max_file_bytes: int
    retry_for_s: float
    """Seconds without progress for which a place is tried again."""


class Download:
    """Fetches one file, in as many attempts as it takes."""

    def __init__(
        self, source: RemoteSource, file: RemoteFile, store: Store, limits: TransferLimits, watch: Watch
    ) -> None:
        self._source = source
        self._file = file
        self._store = store
        self._limits = limits
        self._watch = watch

    def run(self, expected: str | None, asked: float, lease: Lease) -> Blob:
        """Return the file's content; another process that fetches it already is waited for.

        Args:
            expected: the digest that it must have, lower-case hex.
            asked: Unix time before the caller looked into the cache: what has come since will do.
            lease: what keeps it.

        Raises:
            ModelFileError: by the subclass that says what went wrong; nothing of the file is left then
                but what a later attempt can go on from.
        """
        with self._store.transfer_lock(self._file, lambda: self._watch.cancelled):
            return self._fetched_meanwhile(asked, expected, lease) or self._fetch(expected, lease)

    def _fetched_meanwhile(self, asked: float, expected: str | None, lease: Lease) -> Blob | None:
        entry = self._store.entry(self._file)
        if entry is None or entry.confirmed < asked or expected not in {None, entry.sha256}:
            return None
        return self._store.find(entry.sha256, lease)

    def _fetch(self, expected: str | None, lease: Lease) -> Blob:
        partial = self._store.partial(self._file)
        patience = Patience(self._limits.retry_for_s, lambda: self._watch.cancelled)
        try:
            while True:
                try:
                    with explained(self._store.folder):
                        return self._attempt(partial, patience, expected, lease)
                except SourceUnavailableError as error:
                    delay_s = patience.wait(error)
                    log.warning("%s; tried again after %.1f s", error, delay_s)
        except ModelFileError as error:
            self._clear_up(partial, error)
            raise

    def _clear_up(self, partial: Partial, error: ModelFileError) -> None:
        """Keep what a later attempt can go on from: where the place broke off, or nobody waits."""
        goes_on = isinstance(error, SourceUnavailableError) or self._watch.cancelled
        with explained(self._store.folder):
            partial.settle() if goes_on else partial.remove()

    def _attempt(self, partial: Partial, patience: Patience, expected: str | None, lease: Lease) -> Blob:
        patience.check()
        offset, validator = partial.resumable() or (0, None)
        with self._source.fetch(self._file, offset, validator) as transfer:
            stat = transfer.stat
            self._check_announced(transfer, offset, validator, partial)
            wanted = _agreed(self._file, expected, stat.sha256)
            there = self._store.find(wanted, lease) if wanted else None
            if there is not None:  # another place had the same content
                partial.remove()
                self._store.adopt(self._file, there, stat)
                return there
            self._check_room(stat, transfer.offset)
            with partial.writing(transfer.offset, stat.validator) as writer:
                self._receive(transfer, writer, patience)
        if wanted is not None and writer.sha256 != wanted:
            partial.remove()
            raise self._mismatch(writer.sha256, wanted, resumed=transfer.offset > 0)
        return self._store.commit(self._file, partial, writer.sha256, stat, lease)

    def _receive(self, transfer: Transfer, writer: PartialWriter, patience: Patience) -> None:
        total, cap = transfer.stat.size, self._limits.max_file_bytes
        self._watch.report(self._file.uri, writer.size, total)
        for chunk in transfer.chunks:
            patience.check()
            if writer.size + len(chunk) > (cap if total is None else total):
                raise (
                    self._too_large(None)
                    if total is None
                    else SourceFailedError(
                        f"{self._file.uri} is longer than the {total} bytes that were announced"
                    )
                )
            writer.write(chunk)
            patience.progressed(writer.size)
            self._watch.report(self._file.uri, writer.size, total)
        if total is not None and writer.size < total:
            raise SourceUnavailableError(f"{self._file.uri} broke off after {writer.size} of {total} bytes")

    def _check_announced(
        self, transfer: Transfer, offset: int, validator: str | None, partial: Partial
    ) -> None:
        size = transfer.stat.size
        if size is not None and size > self._limits.max_file_bytes:
            raise self._too_large(size)
        if transfer.offset not in {0, offset}:
            raise SourceFailedError(
                f"{self._file.uri} goes on at byte {transfer.offset} where {offset} was asked for"
            )
        if transfer.offset and transfer.stat.validator not in {None, validator}:
            partial.remove()
            raise SourceUnavailableError(f"{self._file.uri} has changed while it was fetched")

    def _check_room(self, stat: RemoteStat, offset: int) -> None:
        """Make room, and find out before the transfer whether it can end well."""
        if stat.size is None:
            return
        self._store.make_room(stat.size)
        folder = self._store.folder
        free = shutil.disk_usage(folder).free
        if stat.size - offset > free:
            raise CacheError(
                f"no room in the cache of models {folder}: {self._file.uri} needs {stat.size - offset} bytes"
                f" and {free} are free; free some, or set provider.cacheDir to a folder with room"
            )

    def _too_large(self, size: int | None) -> FileTooLargeError:
        found = "more" if size is None else f"{size} bytes"
        return FileTooLargeError(
            f"{self._file.uri} has {found}, and provider.maxFileBytes allows {self._limits.max_file_bytes}"
        )

    def _mismatch(self, found: str, wanted: str, *, resumed: bool) -> ModelFileError:
        text = f"{self._file.uri} has sha256 {found}, expected {wanted}"
        # What was here already may have been the wrong part: from the beginning once more.
        return SourceUnavailableError(text) if resumed else DigestMismatchError(text)


def _agreed(file: RemoteFile, expected: str | None, told: str | None) -> str | None:
    """Return the digest that a content must have.

    Raises:
        DigestMismatchError: the place has another content than the reference names.
    """
    if expected is not None and told is not None and told != expected:
        raise DigestMismatchError(f"{file.uri} has sha256 {told}, expected {expected}")
    return expected or told
