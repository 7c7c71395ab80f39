"""`modelcache:` references: files that another process owns and hands out over gRPC.

    modelcache://owner/name/folder/file     the model owner/name
    modelcache://name/file                  the model name: two segments leave no other reading
    modelcache://name//folder/file          the model name: an empty segment says where its id ends

The contract is protos/model_management.proto, the server is in the settings.
"""

import contextlib
from collections.abc import Iterator

from model_files.errors import InvalidReferenceError
from model_files.model_cache_channel import open_channel
from model_files.model_cache_provider import RustFileProvider
from model_files.model_cache_stream import open_stream, request_of
from model_files.names import check_path, shown
from model_files.settings import ProviderSettings
from model_files.source import RemoteFile, RemoteStat, Transfer

__all__ = ["ModelCacheSource", "RustFileProvider", "model_cache_names"]

SCHEME = "modelcache"

_ID_SEGMENTS = 2
"""Of owner/name."""


class ModelCacheSource:
    """Files by model and path. The contract tells sizes and nothing else of a file, and lists nothing."""

    revalidates = False

    def __init__(self, settings: ProviderSettings) -> None:
        """Set it up; nothing is imported or opened yet."""
        self._settings = settings.modelcache
        self._stall_s = settings.stall_s

    def locate(self, uri: str) -> RemoteFile:
        model_id, path = model_cache_names(uri)
        return RemoteFile(scheme=SCHEME, place=self._settings.target, model_id=model_id, path=path)

    def stat(self, file: RemoteFile) -> RemoteStat:
        with self.fetch(file) as transfer:
            return transfer.stat

    @contextlib.contextmanager
    def fetch(self, file: RemoteFile, offset: int = 0, validator: str | None = None) -> Iterator[Transfer]:
        # The contract knows no ranges: it is always the whole file.
        request = request_of(file.model_id, file.path)
        with (
            open_channel(self._settings) as channel,
            open_stream(channel, request, file.uri, self._stall_s) as stream,
        ):
            yield Transfer(RemoteStat(size=stream.total), 0, stream)

    def list_files(self, file: RemoteFile) -> tuple[str, ...] | None:
        return None


def model_cache_names(uri: str) -> tuple[str, str]:
    """Return the model's id and the file's path that a reference names.

    Raises:
        InvalidReferenceError: it is no reference of a model's file.
    """
    scheme, _, names = uri.partition("://")
    model_id, separator, path = names.partition("//")
    if not separator:
        segments = names.split("/")
        split = min(_ID_SEGMENTS, len(segments) - 1)
        model_id, path = "/".join(segments[:split]), "/".join(segments[split:])
    if scheme.lower() != SCHEME or not model_id or not path or model_id.count("/") >= _ID_SEGMENTS:
        raise InvalidReferenceError(f"{shown(uri)!r} names no file: expected modelcache://owner/name/file")
    return check_path(model_id), check_path(path)
