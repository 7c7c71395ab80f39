"""What a place in the network must be able to do. Cache, locks, digests and retries are the same for all."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of one model at one place. What may stand in the names: `model_files.names`."""

    scheme: str
    """Of the reference: "modelcache", "hf", "https", "s3" …"""
    place: str
    """Who serves it: a gRPC target, an endpoint, a host with its port, a bucket. Holds no secret."""
    model_id: str
    """The folder that the file shares with its companions, POSIX separators: "owner/name", a URL's folder, a
    key's prefix; may be ""."""
    path: str
    """The file inside that folder: relative, POSIX separators, no "..", never empty."""
    revision: str | None = None
    """Branch, tag or commit, where the place has such."""

    @property
    def uri(self) -> str:
        """The file for a person and for the cache's index; without credentials and queries."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.scheme}://" + "/".join(filter(None, (self.place, self.model_id, self.path))) + revision


@dataclass(frozen=True, slots=True)
class RemoteStat:
    """What a place tells of a file before its bytes; None is not told."""

    size: int | None = None
    """Bytes."""
    validator: str | None = None
    """Another one means another content: a strong ETag, a commit with a blob's id."""
    sha256: str | None = None
    """Lower-case hex, where the place knows it."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """An open transfer."""

    stat: RemoteStat
    offset: int
    """Where `chunks` begin in the file: what was asked for, or 0 where the place cannot go on there or has
    another content."""
    chunks: Iterator[bytes]
    """Non-empty pieces in order; ends with the file. Raises `ModelFileError`s when the transfer breaks."""


class RemoteSource(Protocol):
    """One scheme's way to its places. Used by several threads at once; raises `ModelFileError`s alone."""

    revalidates: bool
    """Whether `stat` is cheap and tells when the content has changed."""

    def locate(self, uri: str) -> RemoteFile:
        """Read a reference.

        Raises:
            InvalidReferenceError: it is malformed, or a name in it leads out of its folder.
        """
        ...

    def stat(self, file: RemoteFile) -> RemoteStat:
        """Ask about a file.

        Raises:
            MissingFileError: the place says that there is none.
            SourceUnavailableError: the place cannot be reached now; to be tried again.
            SourceFailedError: it answered with something else than a file.
        """
        ...

    def fetch(
        self, file: RemoteFile, offset: int = 0, validator: str | None = None
    ) -> AbstractContextManager[Transfer]:
        """Open a transfer; leaving the context ends it.

        Args:
            file: what is to be fetched.
            offset: bytes that are there already, of the content that `validator` names.
            validator: as `stat` or an earlier transfer told it.

        Raises:
            as `stat`; the chunks too.
        """
        ...

    def list_files(self, file: RemoteFile) -> tuple[str, ...] | None:
        """Return the paths in the model's folder, or None where the place cannot list."""
        ...
