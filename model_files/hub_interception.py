"""`from_pretrained("owner/name")` without a hub: the library's requests are answered out of a provider.

The way in is the one that the library offers: `set_client_factory`. transformers, tokenizers, processors,
sentence-transformers and whatever else calls `hf_hub_download` then get every file through the provider.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from model_files.base import ModelFileProvider
from model_files.extras import library
from model_files.hub_repository import Repositories

KEPT_S = 7 * 24 * 3600.0
"""How long the links that the library made for a state of a model are left: somebody may still open them."""

_FOLDER = "hub"
_MODULES = "HF_MODULES_CACHE"
_WITH_MODULES = ("transformers.utils", "transformers.utils.hub", "transformers.dynamic_module_utils")
"""Where transformers has read that variable into a constant, once it is imported."""
_SWEPT = ("snapshots", ".no_exist", "trees")


class HubInterception:
    """Puts a provider in the hub's place, in the whole process, until it is taken out again."""

    def __init__(self, provider: ModelFileProvider, base: str, cache_dir: Path) -> None:
        """Nothing is changed yet.

        Args:
            provider: of the base's scheme: `Providers.provider_for(base)`.
            base: what stands before "owner/name" in references: "modelcache://", "s3://bucket/models",
                "/srv/models".
            cache_dir: the folder of the cache; the library's own links go into a subfolder of it.
        """
        self._provider = provider
        self._base = base
        self._cache_dir = cache_dir / _FOLDER
        self._guard = threading.Lock()
        self._undo: contextlib.ExitStack | None = None

    def install(self) -> None:
        """Begin; a second call changes nothing.

        Raises:
            SourceFailedError: the hub's library is not installed.
        """
        constants = library("huggingface_hub.constants", "hub")
        http = library("huggingface_hub.utils._http", "hub")
        transports = library("model_files.hub_transport", "hub")
        with self._guard, contextlib.ExitStack() as undo:
            if self._undo is not None:
                return
            _sweep(self._cache_dir)
            repositories = Repositories(self._provider, self._base)
            transport = transports.ProviderTransport(repositories, self._cache_dir, None)
            undo.callback(transport.shut)
            undo.enter_context(_replaced(constants, _constants(self._cache_dir)))
            undo.enter_context(_modules_in(self._cache_dir / "modules"))
            undo.enter_context(_factories(http, transport, transports.RefusingTransport()))
            self._undo = undo.pop_all()

    def uninstall(self) -> None:
        """End: the library is as it was; a second call changes nothing."""
        with self._guard:
            undo, self._undo = self._undo, None
        if undo is not None:
            undo.close()

    def __enter__(self) -> Self:
        """Begin."""
        self.install()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End."""
        self.uninstall()


def _constants(cache_dir: Path) -> dict[str, Any]:
    """Return what the library reads at every call: all that it writes goes into the cache folder."""
    return {
        "HF_HUB_CACHE": str(cache_dir),
        "HUGGINGFACE_HUB_CACHE": str(cache_dir),
        "HF_ASSETS_CACHE": str(cache_dir / "assets"),
        "HF_XET_CACHE": str(cache_dir / "xet"),
        "AGENT_HARNESSES_PATH": str(cache_dir / ".agent_harnesses.json"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_OFFLINE": False,  # nothing is on-line, and the library must ask us
    }


@contextlib.contextmanager
def _replaced(module: Any, values: dict[str, Any]) -> Iterator[None]:
    """Give a module's constants other values; those that this version does not have are left out."""
    before = {name: getattr(module, name) for name in values if hasattr(module, name)}
    try:
        for name in before:
            setattr(module, name, values[name])
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


@contextlib.contextmanager
def _modules_in(folder: Path) -> Iterator[None]:
    """Have transformers copy the code that models bring along into a folder, loaded already or not."""
    before = os.environ.get(_MODULES)
    os.environ[_MODULES] = str(folder)
    loaded = [sys.modules[name] for name in _WITH_MODULES if name in sys.modules]
    try:
        with contextlib.ExitStack() as stack:
            for module in loaded:
                stack.enter_context(_replaced(module, {_MODULES: str(folder)}))
            yield
    finally:
        if before is None:
            os.environ.pop(_MODULES, None)
        else:
            os.environ[_MODULES] = before


@contextlib.contextmanager
def _factories(http: Any, transport: Any, refusing: Any) -> Iterator[None]:
    """Have the library make its clients with our transports; it has no way to ask for the factory before."""
    httpx = library("huggingface_hub.utils", "hub").httpx
    before = getattr(http, "_GLOBAL_CLIENT_FACTORY", http.default_client_factory)
    before_async = getattr(http, "_GLOBAL_ASYNC_CLIENT_FACTORY", http.default_async_client_factory)
    http.set_client_factory(lambda: httpx.Client(transport=transport, follow_redirects=True))
    http.set_async_client_factory(lambda: httpx.AsyncClient(transport=refusing))
    try:
        yield
    finally:
        http.set_client_factory(before)
        http.set_async_client_factory(before_async)


def _sweep(cache_dir: Path) -> None:
    """Remove the library's links of states that are long past, and those to what has been evicted."""
    oldest = time.time() - KEPT_S
    for kind in _SWEPT:
        for state in cache_dir.glob(f"models--*/{kind}/*"):
            with contextlib.suppress(OSError):
                if state.stat().st_mtime < oldest:
                    shutil.rmtree(state) if state.is_dir() else state.unlink()
    for link in cache_dir.glob("models--*/blobs/*"):
        with contextlib.suppress(OSError):
            if link.is_symlink() and not link.exists():
                link.unlink()
