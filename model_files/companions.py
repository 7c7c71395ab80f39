"""Which files belong to a model's main file, by rules: most places cannot list what they have. Pure.

| main file | what belongs to it |
|---|---|
| `model.xml` | `model.bin`; `metadata.yaml` where there is one |
| `model.bin` | `model.xml` and `metadata.yaml`, where there are such |
| `model.onnx` | the external data that the file itself names |
| `*.index.json` | the shards in its `weight_map` |
| `model.mlpackage` | all that is listed, else what its `Manifest.json` names |
| `model.mlmodelc` | all that is listed, else its files by their usual names |
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_files.errors import InvalidReferenceError, SourceFailedError
from model_files.names import beside, check_path
from model_files.onnx_external import external_locations

MAX_INDEX_BYTES = 64 << 20
"""Of a file that is parsed as JSON; the largest indexes in use have a few megabytes."""
METADATA = "metadata.yaml"
MANIFEST = "Manifest.json"

_INDEX = ".index.json"
_FOLDERS = (".mlpackage", ".mlmodelc")
_COMPILED = ("metadata.json", "model.mil", "weights/weight.bin", "analytics/coremldata.bin")


@dataclass(frozen=True, slots=True)
class Companion:
    """A file that belongs to a model."""

    path: str
    """In the model's folder, checked."""
    required: bool = True
    """Whether the model cannot do without it."""


def is_folder(path: str) -> bool:
    """Whether a reference with this path names a folder and not a file."""
    return path.lower().endswith(_FOLDERS)


def companions_of(path: str, content: memoryview) -> tuple[Companion, ...]:
    """Return what belongs to a main file.

    Args:
        path: of the main file in the model's folder.
        content: its bytes.

    Raises:
        InvalidReferenceError: the file names something outside its folder.
        SourceFailedError: an index cannot be read as one.
    """
    name = path.lower()
    rule = next((rule for suffix, rule in _RULES.items() if name.endswith(suffix)), None)
    return rule(path, content) if rule else ()


def listed_in(folder: str, listing: tuple[str, ...]) -> tuple[Companion, ...]:
    """Return what a place lists inside a folder; names that are not allowed are an error."""
    return tuple(Companion(check_path(path)) for path in listing if path.startswith(f"{folder}/"))


def entry_file(folder: str) -> Companion:
    """Return the file by which a folder that nobody lists is begun."""
    return Companion(f"{folder}/{MANIFEST if folder.lower().endswith('.mlpackage') else 'coremldata.bin'}")


def folder_files(folder: str, entry: memoryview) -> tuple[Companion, ...]:
    """Return what else is in a folder, by its entry file's content."""
    if not folder.lower().endswith(".mlpackage"):
        return tuple(Companion(f"{folder}/{name}", required=False) for name in _COMPILED)
    items = _object(_json(f"{folder}/{MANIFEST}", entry).get("itemInfoEntries"))
    paths = [_object(item).get("path") for item in items.values()]
    return tuple(_package_item(folder, path) for path in paths if isinstance(path, str))


def _package_item(folder: str, path: str) -> Companion:
    """Return the file of an item: a model, or the one file that a folder of weights has, if any."""
    inside = f"{folder}/Data/{check_path(path)}"
    is_file = path.endswith(".mlmodel")
    return Companion(check_path(inside if is_file else f"{inside}/weight.bin"), required=is_file)


def _beside_xml(path: str, content: memoryview) -> tuple[Companion, ...]:
    stem, _, suffix = path.rpartition(".")
    other = "bin" if suffix.lower() == "xml" else "xml"
    # Without its weights a model is none; a .bin may also be one of other kinds.
    return Companion(f"{stem}.{other}", required=other == "bin"), Companion(
        beside(path, METADATA), required=False
    )


def _external_data(path: str, content: memoryview) -> tuple[Companion, ...]:
    return tuple(Companion(_named_in(path, location)) for location in external_locations(content))


def _shards(path: str, content: memoryview) -> tuple[Companion, ...]:
    shards = set(_object(_json(path, content).get("weight_map")).values())
    if not shards or not all(isinstance(shard, str) for shard in shards):
        raise SourceFailedError(f"{path} is no index of shards: it has no weight_map from names to files")
    return tuple(Companion(_named_in(path, shard)) for shard in sorted(shards))


def _named_in(path: str, location: str) -> str:
    try:
        return beside(path, location)
    except InvalidReferenceError as exc:
        raise InvalidReferenceError(f"{path} names a file that cannot lie beside it: {exc}") from exc


def _json(path: str, content: memoryview) -> Mapping[str, Any]:
    if len(content) > MAX_INDEX_BYTES:
        raise SourceFailedError(f"{path} is too large for an index: {len(content)} bytes")
    try:
        return _object(json.loads(bytes(content)))
    except (ValueError, RecursionError) as exc:
        raise SourceFailedError(f"{path} cannot be read as JSON: {exc}") from exc


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


_RULES: dict[str, Callable[[str, memoryview], tuple[Companion, ...]]] = {
    ".xml": _beside_xml,
    ".bin": _beside_xml,
    ".onnx": _external_data,
    _INDEX: _shards,
}
"""A main file's ending, lower case → its rule."""
