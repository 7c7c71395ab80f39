"""What a .tflite file says of itself: TFLite's metadata, and the small files in its zip tail.

TFLite's is a FlatBuffers file in one of the model's buffers (tflite-support, metadata_schema.fbs);
Ultralytics' exporters append a zip archive with one file, a dict as JSON or as Python writes it.
"""

import ast
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zlib import error as ZlibError  # noqa: N812  # zlib names its error class in lower case

from runtimes.litert_flatbuffer import FlatbufferError, Table, root_table
from runtimes.litert_quantization import Normalization
from runtimes.metadata import MAX_LABELS, MAX_TEXT, read_metadata
from runtimes.spec import ModelMetadata

METADATA_IDENTIFIER = b"M001"

PAIRS_FILES = frozenset({"metadata.json", "temp_meta.txt", "meta.txt"})
"""Names that Ultralytics' exporters have used for what they append."""

MEAN = "normalizationMean"
DEVIATION = "normalizationStd"
"""Keys of `ModelMetadata.properties`: numbers of the first input, one a channel or one for all, as JSON."""

DETECTION_OUTPUTS = "detectionOutputs"
"""Key of `ModelMetadata.properties`: names of the outputs that hold boxes, classes, scores and count, one
a line, where the model ends with TensorFlow Lite's operator for that."""

_AXIS_LABELS, _VALUE_LABELS = 2, 3
"""Kinds of associated files: what the indices along an output's axis mean, or its values."""

_NORMALIZATION = 1
_TEXTS = {0: "name", 1: "description", 2: "version", 4: "author", 5: "license"}
_ZIP_ERRORS = (zipfile.BadZipFile, ZlibError, OSError, ValueError, EOFError, RuntimeError)


def read_litert_metadata(path: Path, embedded: bytes) -> ModelMetadata:
    """Return labels, task and so on. What is broken is left out, never an error.

    Args:
        path: the model file.
        embedded: TFLite's metadata; b"" where the model has none.
    """
    described = _describe(embedded) if embedded else _Described()
    files = _read_files(path)
    for name in PAIRS_FILES & files.keys():
        pairs = _pairs(files[name])
        if pairs:
            return read_metadata({**described.properties, **pairs})
    metadata = read_metadata(described.properties)
    return replace(metadata, labels=_labels(files, described.label_files))


def read_normalizations(metadata: ModelMetadata) -> tuple[Normalization, ...]:
    """Return (mean, deviation) in pixel values, a channel or one for all; () where the file has none."""
    try:
        means, deviations = (
            [float(each) for each in json.loads(metadata.properties[key])] for key in (MEAN, DEVIATION)
        )
    except (KeyError, ValueError, TypeError):
        return ()
    if len(means) != len(deviations) or not all(deviations):
        return ()
    return tuple(zip(means, deviations, strict=True))


@dataclass(frozen=True, slots=True)
class _Described:
    """TFLite's metadata, as far as it is of use."""

    properties: Mapping[str, str] = field(default_factory=dict)
    label_files: tuple[str, ...] = ()


def _describe(data: bytes) -> _Described:
    try:
        root = root_table(data, METADATA_IDENTIFIER)
        texts = {key: root.text(slot) for slot, key in _TEXTS.items()}
        graph = next(iter(root.tables(3)), None)
        normalization = _normalization(graph.tables(2)) if graph else {}
        files = tuple(_label_files(graph.tables(3))) if graph else ()
    except FlatbufferError:
        return _Described()
    return _Described({key: text for key, text in texts.items() if text} | normalization, files)


def _normalization(inputs: Sequence[Table]) -> dict[str, str]:
    for unit in inputs[0].tables(4) if inputs else ():
        options = unit.table(1)
        if unit.number(0, "B") == _NORMALIZATION and options is not None:
            return {
                key: json.dumps([round(value, 6) for value in options.vector(slot, "f")])
                for slot, key in enumerate((MEAN, DEVIATION))
            }
    return {}


def _label_files(outputs: Sequence[Table]) -> Iterator[str]:
    """Names of files with labels, those without a locale first."""
    files = [file for output in outputs for file in output.tables(6)]
    for file in sorted(files, key=lambda file: bool(file.text(3))):
        if file.number(2, "b") in {_AXIS_LABELS, _VALUE_LABELS}:
            yield file.text(0)


def _read_files(path: Path) -> dict[str, str]:
    """Return the text files that are appended to a model, by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                entry.filename: archive.read(entry).decode("utf-8", "replace")
                for entry in archive.infolist()
                if 0 < entry.file_size <= MAX_TEXT and entry.filename.lower().endswith((".txt", ".json"))
            }
    except _ZIP_ERRORS:
        return {}


def _pairs(text: str) -> dict[str, str]:
    """Return a dict's keys and values as text, {} where the text is none."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict):
            return {str(key): str(each) for key, each in value.items()}
    return {}


def _labels(files: Mapping[str, str], named: Sequence[str]) -> tuple[str, ...]:
    """Return the lines of the file that the metadata names, else of one that is called so."""
    called = [name for name in files if "label" in name.lower()]
    text = next((files[name] for name in (*named, *called) if name in files), "")
    lines = [line.strip() for line in text.strip().splitlines()]
    return tuple(lines[:MAX_LABELS])
