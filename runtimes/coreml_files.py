"""Finds and reads the description in the three forms that a Core ML model comes in."""

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtimes.coreml_features import Color, Declaration, Feature, FeatureKind
from runtimes.coreml_spec import parse_spec
from runtimes.errors import ModelLoadError
from runtimes.file_kinds import check_model_file, describe_kind

WANTED = "a Core ML model"
PACKAGE, COMPILED = ".mlpackage", ".mlmodelc"

_KINDS = {
    "Image": FeatureKind.IMAGE,
    "MultiArray": FeatureKind.ARRAY,
    "Double": FeatureKind.NUMBER,
    "Int64": FeatureKind.NUMBER,
    "Dictionary": FeatureKind.CLASSES,
}
_DTYPES = {
    "Float32": "float32",
    "Float16": "float16",
    "Double": "float64",
    "Int32": "int32",
    "Int8": "int8",
    "Int64": "int64",
}


def read_declaration(path: Path) -> Declaration:
    """Return what a `.mlmodel`, `.mlpackage` or `.mlmodelc` says of its model.

    Raises:
        ModelLoadError: it is missing, broken, or none of these.
        RuntimeUnavailableError: coremltools is not installed.
    """
    if path.suffix.lower() == COMPILED and path.is_dir():
        return _compiled(path)
    file = _root_model(path) if path.is_dir() else path
    head = check_model_file(file, WANTED)
    kind = describe_kind(head)
    if kind is not None:
        raise ModelLoadError(f"{file} is {kind}, not {WANTED}")
    return parse_spec(path, file.read_bytes())


def _root_model(package: Path) -> Path:
    """Return the specification's file in a package, as its manifest tells."""
    manifest = package / "Manifest.json"
    if not manifest.is_file():
        raise ModelLoadError(f"{package} is a folder without a Manifest.json, not {WANTED}")
    try:
        items = json.loads(manifest.read_bytes())
        root = items["itemInfoEntries"][items["rootModelIdentifier"]]["path"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ModelLoadError(f"{manifest} is damaged: {exc}") from exc
    data = (package / "Data").resolve()
    file = (data / str(root)).resolve()
    if not file.is_relative_to(data):
        raise ModelLoadError(f"{manifest} is damaged: {root} lies outside the package")
    return file


def _compiled(folder: Path) -> Declaration:
    """Read the description that the compiler leaves as JSON; the model itself only macOS can read."""
    file = folder / "metadata.json"
    if not file.is_file():
        raise ModelLoadError(f"{folder} has no metadata.json: compile it with Xcode, or use the {PACKAGE}")
    try:
        [model, *_] = json.loads(file.read_bytes())
        return Declaration(
            tuple(map(_feature, model.get("inputSchema", ()))),
            tuple(map(_feature, model["outputSchema"])),
            tuple(map(str, model.get("classLabels", ()))),
            {str(key): str(value) for key, value in model.get("userDefinedMetadata", {}).items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError) as exc:
        raise ModelLoadError(f"{file} is damaged: {exc!r:.100}") from exc


def _feature(schema: Mapping[str, Any]) -> Feature:
    """Read one entry of a schema, all of whose values are texts."""
    kind = _KINDS.get(schema["type"], FeatureKind.OTHER)
    optional = schema.get("isOptional") == "1"
    if kind is FeatureKind.IMAGE:
        ranges = _pairs(schema.get("sizeRange", "[]"))[::-1]  # width comes first there
        shape = (int(schema["height"]), int(schema["width"]))
        color = _color(str(schema.get("colorspace", "")))
        return Feature(schema["name"], kind, shape, ranges, dtype="uint8", color=color, optional=optional)
    return Feature(
        schema["name"],
        kind,
        tuple(ast.literal_eval(schema.get("shape", "[]"))),
        _pairs(schema.get("shapeRange", "[]")),
        tuple(map(tuple, ast.literal_eval(schema.get("enumeratedShapes", "[]")))),
        _DTYPES.get(schema.get("dataType", schema["type"]), "float32"),
        optional=optional,
    )


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    return tuple((int(low), int(high)) for low, high in ast.literal_eval(text))


def _color(space: str) -> Color:
    if not space.lower().startswith("gray"):
        return Color.RGB
    return Color.GRAY_FLOAT if "16" in space else Color.GRAY
