"""A folder for `from_pretrained`, put together inside the cache from any provider."""

import weakref
from pathlib import Path
from typing import Protocol, runtime_checkable

from model_files.base import ModelFileProvider, ModelFiles, ModelRef
from model_files.companions import Companion, companions_of
from model_files.errors import (
    InvalidReferenceError,
    MissingFileError,
    SourceFailedError,
    SourceUnavailableError,
)
from model_files.names import shown
from model_files.progress import UNWATCHED, Watch
from model_files.snapshot_rules import (
    CONFIG,
    MODULES,
    PYTORCH,
    PYTORCH_INDEX,
    ROOTS,
    SAFETENSORS,
    SAFETENSORS_INDEX,
    SMALL_FILES,
    WEIGHTS,
    Module,
    inside,
    modules_of,
    wanted_of,
)


@runtime_checkable
class Collector(Protocol):
    """A provider that lays chosen files of a model beside each other: `model_files.remote.RemoteFiles`."""

    def collect(
        self, model_id: str, paths: tuple[Companion, ...], watch: Watch = UNWATCHED
    ) -> tuple[ModelFiles, frozenset[str]]:
        """Return a folder with these files, and the paths of those that are there."""
        ...

    def list_files(self, model_id: str) -> tuple[str, ...] | None:
        """Return the paths in a model's folder, None where nothing can list them."""
        ...

    def has_file(self, model_id: str, file_path: str) -> bool:
        """Whether a model has a file; nothing is fetched."""
        ...


def snapshot(provider: ModelFileProvider, reference: str) -> Path:
    """Return a folder with all that `from_pretrained` may want of a model.

    It stays in the cache for as long as the provider is there; `snapshot_files` says so more finely.

    Args:
        provider: of the reference's scheme: `Providers.provider_for(reference)`.
        reference: of the model's folder: "modelcache://owner/name", "hf://owner/name@revision", "s3://bucket/key",
            "https://host/folder", or a path.

    Raises:
        MissingFileError: a file is not there that no model can do without; the text names it.
        ModelFileError: anything else that can go wrong on the way.
    """
    files = snapshot_files(provider, reference)
    weakref.finalize(provider, _let_go, files)
    return files.path


def snapshot_files(provider: ModelFileProvider, reference: str, watch: Watch = UNWATCHED) -> ModelFiles:
    """Return the same with what keeps it in the cache, for a caller that knows when it is done with it.

    Args:
        provider: as for `snapshot`.
        reference: as for `snapshot`.
        watch: follows the transfers, and may end them.
    """
    folder = reference.rstrip("/")
    if not isinstance(provider, Collector):
        files = provider.local_files(ModelRef(folder))
        if not files.path.is_dir():
            raise InvalidReferenceError(f"{shown(reference)} is no model's folder")
        return files
    listing = listing_of(provider, folder)
    if listing is None:
        return _Walk(provider, folder, watch).run()
    wanted = wanted_of(listing)
    if not {file.path for file in wanted}.intersection(ROOTS):
        raise MissingFileError(f"{shown(reference)} has no {CONFIG}: it is no model for from_pretrained")
    return provider.collect(folder, wanted, watch)[0]


def listing_of(provider: ModelFileProvider | Collector, folder: str) -> tuple[str, ...] | None:
    """Return what is in a model's folder, None where the place cannot list or does not let us.

    Raises:
        MissingFileError: there is no such folder.
        SourceUnavailableError: the place cannot be reached now.
    """
    try:
        return provider.list_files(folder)
    except SourceUnavailableError:
        raise
    except SourceFailedError:
        return None


class _Walk:
    """Asks for files by rules, a few decisive ones first: a place that cannot list only says yes or no."""

    def __init__(self, provider: Collector, folder: str, watch: Watch) -> None:
        self._provider = provider
        self._folder = folder
        self._watch = watch

    def run(self) -> ModelFiles:
        modules = self._modules()
        folders = tuple(module.folder for module in modules if module.is_transformer) or ("",)
        wanted = {inside(folder, CONFIG): True for folder in folders}
        files, there = self._collect(_beside(modules, folders) | wanted)
        for folder in folders:
            files, there = self._with_shards(files, there, folder, SAFETENSORS_INDEX)
        bare = [module.folder for module in modules if module.may_have_weights] + list(folders)
        return self._with_torch_weights(files, there, bare, required=folders)

    def _modules(self) -> tuple[Module, ...]:
        try:
            files, _ = self._collect({MODULES: True})
        except MissingFileError:
            return ()
        return modules_of((files.path / MODULES).read_bytes())

    def _with_torch_weights(
        self, files: ModelFiles, there: frozenset[str], folders: list[str], required: tuple[str, ...]
    ) -> ModelFiles:
        """Add PyTorch's own format to the folders that have no safetensors."""
        bare = [folder for folder in folders if not _has(there, folder, (SAFETENSORS, SAFETENSORS_INDEX))]
        if not bare:
            return files
        wanted = dict.fromkeys(there, True)
        wanted |= {inside(folder, name): False for folder in bare for name in (PYTORCH, PYTORCH_INDEX)}
        files, there = self._collect(wanted)
        for folder in bare:
            files, there = self._with_shards(files, there, folder, PYTORCH_INDEX)
            if folder in required and not _has(there, folder, WEIGHTS):
                names = ", ".join(inside(folder, name) for name in WEIGHTS)
                raise MissingFileError(f"{shown(self._folder)} has no weights: none of {names}")
        return files

    def _with_shards(
        self, files: ModelFiles, there: frozenset[str], folder: str, index: str
    ) -> tuple[ModelFiles, frozenset[str]]:
        path = inside(folder, index)
        if path not in there:
            return files, there
        shards = companions_of(path, memoryview((files.path / path).read_bytes()))
        return self._collect(dict.fromkeys(there, True) | {shard.path: True for shard in shards})

    def _collect(self, wanted: dict[str, bool]) -> tuple[ModelFiles, frozenset[str]]:
        """Have files by name, and whether they must be there."""
        paths = tuple(Companion(path, required) for path, required in wanted.items())
        return self._provider.collect(self._folder, paths, self._watch)


def _beside(modules: tuple[Module, ...], folders: tuple[str, ...]) -> dict[str, bool]:
    """Return what may be there, none of it required."""
    names = [inside(folder, name) for folder in {"", *folders} for name in SMALL_FILES]
    names += [inside(folder, name) for folder in folders for name in (SAFETENSORS, SAFETENSORS_INDEX)]
    for module in modules:
        names.append(inside(module.folder, CONFIG))
        if module.may_have_weights:
            names.append(inside(module.folder, SAFETENSORS))
    return dict.fromkeys(names, False)


def _has(there: frozenset[str], folder: str, names: tuple[str, ...]) -> bool:
    return any(inside(folder, name) in there for name in names)


def _let_go(files: ModelFiles) -> None:
    """Hold a snapshot's lease until its provider is gone."""
