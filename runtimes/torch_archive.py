"""Looks into a PyTorch file without PyTorch: what it is, and the texts beside the program. Runs nothing."""

import json
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import IO

from runtimes.errors import ModelLoadError
from runtimes.file_kinds import check_model_file, describe_kind
from runtimes.torch_exported import check_exported

WANTED = "a TorchScript or torch.export (.pt2) model"

MAX_TEXT_BYTES = 8 << 20
"""Of one extra file: labels of thousands of classes have room, a bomb has not."""

_CONFIG = "config.txt"
"""The extra file in which YOLO exporters leave a JSON object."""
_DATA = re.compile(
    r"torch\.(?!nn\.modules\.).*|collections\.OrderedDict|numpy\..*|(?:builtins|__builtin__)\.(?:set|dict|list|tuple)"
)
"""A pickle that names nothing else holds weights alone."""
_PICKLE_BYTES = 64 << 20
_ZIP_ERRORS = (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError, EOFError, KeyError)

NEXT_STEP = (
    "export it where its code is, with torch.jit.trace(model, example).save(…) or torch.export.save(…)"
)


class ProgramKind(Enum):
    """The two formats that hold a whole program."""

    SCRIPT = auto()
    EXPORTED = auto()


@dataclass(frozen=True, slots=True)
class TorchFile:
    """A file that is worth opening with the library."""

    kind: ProgramKind
    properties: Mapping[str, str]
    """The extra files by name; the keys of a JSON `config.txt` stand for themselves."""
    has_example: bool = False
    """torch.jit.trace left the inputs that it traced with."""


def read_file(path: Path) -> TorchFile:
    """Tell what a file is.

    Raises:
        ModelLoadError: it is no program, or one that holds more than tensors and operators.
    """
    head = check_model_file(path, WANTED)
    if not zipfile.is_zipfile(path):
        raise ModelLoadError(_not_a_zip(path, head))
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(path, archive)
    except _ZIP_ERRORS as exc:
        raise ModelLoadError(f"{path} is truncated or damaged: {exc}") from exc


def _read_archive(path: Path, archive: zipfile.ZipFile) -> TorchFile:
    if min((info.header_offset for info in archive.infolist()), default=0) > 0:
        # The end of an archive within it was taken for its own.
        raise ModelLoadError(f"{path} is truncated or damaged: it does not begin with its first record")
    records = {name.partition("/")[2] or name: name for name in archive.namelist()}
    if "archive_format" in records or "serialized_exported_program.json" in archive.namelist():
        check_exported(path, archive)
        return TorchFile(ProgramKind.EXPORTED, _properties(archive))
    if "constants.pkl" in records and any(name.startswith("code/") for name in records):
        return TorchFile(ProgramKind.SCRIPT, _properties(archive), "traced_inputs.pkl" in records)
    if "data.pkl" in records:
        with archive.open(records["data.pkl"]) as file:
            raise ModelLoadError(_checkpoint_text(path, file))
    raise ModelLoadError(f"{path} is a zip archive, but not {WANTED}")


def _properties(archive: zipfile.ZipFile) -> dict[str, str]:
    texts: dict[str, str] = {}
    for info in archive.infolist():
        folder, _, name = info.filename.rpartition("/")
        if folder.rpartition("/")[2] in {"extra", "extra_files"} and info.file_size <= MAX_TEXT_BYTES:
            texts[name] = archive.read(info).decode("utf-8", "replace")
    config = _config_pairs(texts.pop(_CONFIG, ""))
    return {**texts, **config}


def _config_pairs(text: str) -> dict[str, str]:
    """Return the pairs of a JSON object, their values as Python literals; {} where it is none."""
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in pairs.items()} if isinstance(pairs, dict) else {}


def _not_a_zip(path: Path, head: bytes) -> str:
    if head[:1] == b"\x80":  # what torch.save wrote before it wrote zip archives
        with path.open("rb") as file:
            return _checkpoint_text(path, file)
    kind = describe_kind(head)
    if kind is not None and not head.startswith(b"PK"):
        return f"{path} is {kind}, not {WANTED}"
    return f"{path} is not {WANTED}, or is truncated or damaged"


def _checkpoint_text(path: Path, pickle: IO[bytes]) -> str:
    """Return why a pickle is refused, by the names in it; it is read as text, never loaded."""
    strange = [name for name in _pickled_names(pickle) if not _DATA.fullmatch(name)]
    if not strange:
        return f"{path} is a checkpoint, weights without a program: {NEXT_STEP}"
    return f"{path} is a pickle that would run the code of {strange[0]}, and is not loaded: {NEXT_STEP}"


def _pickled_names(pickle: IO[bytes]) -> Iterator[str]:
    """Yield "module.name" of every class and function that loading a pickle would import."""
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(pickle.read(_PICKLE_BYTES)):
            if opcode.name in {"GLOBAL", "INST"}:
                yield str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                yield ".".join(strings[-2:])
            elif isinstance(argument, str):
                strings.append(argument)
    except (ValueError, IndexError):  # truncated, or no pickle behind the first byte
        return
