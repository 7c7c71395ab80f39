"""Gets a model's files from wherever they live, by reference.

What only models from elsewhere need, cache and transfers, is imported with the first of them: it would
cost every start 20 ms.
"""

import threading
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from model_files.base import ModelFileProvider, ModelFiles, ModelRef
from model_files.errors import UnsupportedSchemeError
from model_files.names import is_always_local, scheme_of, shown
from model_files.progress import UNWATCHED, Watch
from model_files.settings import ProviderSettings

if TYPE_CHECKING:
    from model_files.store import Store

__all__ = ["ModelFiles", "ModelRef", "Providers", "provider_for", "resolve", "scheme_of"]

PROVIDERS: dict[str, str] = {
    "": "model_files.local:LocalFiles",
    "file": "model_files.local:LocalFiles",
    "fake": "model_files.fake:FakeModelFiles",
}
"""URI scheme, "" for a plain path → "module:Class" of a provider that needs no cache."""

SOURCES: dict[str, str] = {
    "hf": "model_files.hub:HubSource",
    "http": "model_files.http:HttpSource",
    "https": "model_files.http:HttpSource",
    "modelcache": "model_files.model_cache:ModelCacheSource",
    "s3": "model_files.s3:S3Source",
}
"""URI scheme → "module:Class" of a `RemoteSource`, made of `ProviderSettings`. All are imported when first
asked for."""

_EXTRAS = {"hf": "hub", "modelcache": "grpc", "s3": "s3"}
"""URI scheme → the extra of this distribution that brings what it needs; of all others "http" will do."""

ENTRY_POINT_GROUP = "inferpipe.model_files"
"""Entry points by which other distributions add schemes; they cannot replace a built-in one. A class with
`stat` is a `RemoteSource`, made of `ProviderSettings`; any other is a provider, made of nothing."""


class Providers:
    """The providers of one process, all on one cache. May be used on any thread."""

    def __init__(self, settings: ProviderSettings | None = None) -> None:
        """Set the providers up; none is made before it is asked for.

        Args:
            settings: of all; None is the defaults.
        """
        self.settings = settings or ProviderSettings()
        self._guard = threading.RLock()
        self._store: Store | None = None
        self._made: dict[str, ModelFileProvider] = {}

    @property
    def store(self) -> "Store":
        """The cache of all that is fetched."""
        from model_files.store import Store  # noqa: PLC0415 - see the file's head

        with self._guard:
            if self._store is None:
                self._store = Store(self.settings.cache_dir, self.settings.cache_bytes)
            return self._store

    def resolve(self, ref: ModelRef, watch: Watch = UNWATCHED) -> ModelFiles:
        """Return a model's files on the local disk; those in the network are fetched.

        Args:
            ref: the reference.
            watch: follows what is fetched, and may end it.

        Raises:
            ModelFileError: by the subclass that says what went wrong.
        """
        full = ModelRef(self.full_uri(ref.uri), ref.sha256)
        provider = self.provider_for(full.uri)
        if scheme_of(full.uri) in PROVIDERS:
            return provider.local_files(full)
        from model_files.remote import RemoteFiles  # noqa: PLC0415 - see the file's head

        if isinstance(provider, RemoteFiles):
            return provider.local_files(full, watch)
        return provider.local_files(full)

    def is_remote(self, uri: str) -> bool:
        """Whether a reference's files come from the network, as far as its scheme tells."""
        return scheme_of(self.full_uri(uri)) not in PROVIDERS

    def full_uri(self, uri: str) -> str:
        """Return a reference with its scheme: the default one for a relative path that is not here."""
        default = self.settings.default_scheme
        if default is None or scheme_of(uri) or is_always_local(uri) or _exists(uri):
            return uri
        return f"{default}://{uri}"

    def provider_for(self, uri: str) -> ModelFileProvider:
        """Return the provider of a reference's scheme.

        Raises:
            UnsupportedSchemeError: there is none.
        """
        scheme = scheme_of(uri)
        if scheme not in {*PROVIDERS, *SOURCES} and _registered(scheme) is None:
            if not _exists(uri):  # colons are legal in names of files
                known = ", ".join(sorted({*PROVIDERS, *SOURCES} - {""}))
                raise UnsupportedSchemeError(
                    f"unknown scheme {scheme!r} in {shown(uri)!r}: expected a path or one of {known}"
                )
            scheme = ""
        with self._guard:
            if scheme not in self._made:
                self._made[scheme] = self._make(scheme)
            return self._made[scheme]

    def _make(self, scheme: str) -> ModelFileProvider:
        target = PROVIDERS.get(scheme) or SOURCES.get(scheme) or _registered(scheme)
        assert target is not None
        module, _, name = target.partition(":")
        kind: Any = getattr(import_module(module), name)
        if not hasattr(kind, "stat"):
            return cast("ModelFileProvider", kind())
        from model_files.download import TransferLimits  # noqa: PLC0415 - see the file's head
        from model_files.extras import library  # noqa: PLC0415
        from model_files.remote import RemoteFiles  # noqa: PLC0415

        library("filelock", _EXTRAS.get(scheme, "http"))  # the cache's own, before it is asked for
        settings = self.settings
        limits = TransferLimits(settings.max_file_bytes, settings.retry_for_s)
        return RemoteFiles(scheme, kind(settings), self.store, limits)


def resolve(ref: ModelRef) -> ModelFiles:
    """Return a model's files on the local disk, by providers with default settings.

    Raises:
        ModelFileError: by the subclass that says what went wrong.
    """
    return Providers().resolve(ref)


def provider_for(uri: str) -> ModelFileProvider:
    """Return the provider of a reference's scheme, with default settings.

    Raises:
        UnsupportedSchemeError: there is none.
    """
    return Providers().provider_for(uri)


def _registered(scheme: str) -> str | None:
    from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms that a start without third parties need not wait for

    return next((entry.value for entry in entry_points(group=ENTRY_POINT_GROUP, name=scheme)), None)


def _exists(uri: str) -> bool:
    """Whether a file of exactly this name is here."""
    try:
        return Path(uri).exists()
    except (OSError, ValueError):
        return False
