"""OpenVINO's library without its telemetry: its import, its core, what it says of a model file.

`import openvino` reports itself to a statistics server and writes an id into the home folder, unless
the person has opted out. It does neither where `openvino_telemetry` cannot be imported, so it cannot.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

from runtimes.errors import ModelLoadError
from runtimes.file_kinds import check_model_file, describe_kind
from runtimes.inputs import Axis, DeclaredTensor
from runtimes.metadata import read_metadata
from runtimes.metadata_yaml import read_beside
from runtimes.spec import ModelMetadata


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Let no import find a module for a while, unless it is there already."""
    modules = cast("dict[str, Any]", sys.modules)
    hidden = modules.setdefault(name, None) is None
    try:
        yield
    finally:
        if hidden:
            del modules[name]


with _without("openvino_telemetry"):
    import openvino
    from openvino import frontend

Tensor: Any = openvino.Tensor
Model = Any  # openvino.Model
Port = Any  # openvino.Output and openvino.ConstOutput: one input or output of a model

LIBRARY_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    MemoryError,
    frontend.GeneralFailure,
    frontend.InitializationFailure,
    frontend.NotImplementedFailure,
    frontend.OpConversionFailure,
    frontend.OpValidationFailure,
)
"""What the library raises: almost always RuntimeError; the readers' own have no root below Exception."""

WANTED = "a model that OpenVINO reads (IR, ONNX, TensorFlow Lite)"

DTYPES = {
    "f32": "float32",
    "f16": "float16",
    "f64": "float64",
    "i8": "int8",
    "u8": "uint8",
    "i16": "int16",
    "u16": "uint16",
    "i32": "int32",
    "u32": "uint32",
    "i64": "int64",
    "u64": "uint64",
    "boolean": "bool",
}
"""The library's name of an element type → numpy's; strings, bfloat16 and packed types are not carried."""

_AXIS_NAMES = {"N": "batch", "C": "channels", "H": "height", "W": "width"}

_IR_ROOT = re.compile(rb"<net\s[^>]*\bversion\s*=")
_IR_HEAD_BYTES = 64 * 1024


@cache
def core() -> Any:  # openvino.Core
    """Return the process's core: it holds the devices' plugins, and nothing of a model."""
    made = openvino.Core()
    # Weights that are mapped end the process (SIGBUS) where their file is cut short while in use.
    made.set_property({"ENABLE_MMAP": False})
    return made


@cache
def _onnx_reader() -> Any:
    return frontend.FrontEndManager().load_by_framework("onnx")


def read_model(path: Path) -> Model:
    """Read a model file; of an IR the `.xml`, or its `.bin`.

    The kind is told by the first bytes: the library, asked to find out by itself, tries one reader after
    the other, and those print.

    Raises:
        ModelLoadError: it is missing, broken, or of another kind.
    """
    if path.suffix.lower() == ".bin":
        path = path.with_suffix(".xml")
    head = check_model_file(path, WANTED)
    is_xml = head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"<?xml", b"<net"))
    is_tflite = head[4:8] == b"TFL3"
    kind = describe_kind(head)
    if kind is not None and not is_xml and not is_tflite:
        raise ModelLoadError(f"{path} is {kind}, not {WANTED}")
    if is_xml and not _has_ir_root(path):
        raise ModelLoadError(f"{path} is an XML file, but no OpenVINO model")
    try:
        model = core().read_model(str(path)) if is_xml or is_tflite else _read_onnx(path)
    except LIBRARY_ERRORS as exc:
        raise ModelLoadError(f"{path} cannot be loaded: {short_text(exc)}") from exc
    if not model.inputs or not model.outputs:
        raise ModelLoadError(f"{path} holds a model without inputs or outputs")
    return model


def _read_onnx(path: Path) -> Model:
    try:
        graph = _onnx_reader().load(str(path))
    except LIBRARY_ERRORS as exc:
        raise ModelLoadError(f"{path} is not {WANTED}, or is truncated or damaged") from exc
    return _onnx_reader().convert(graph)


def _has_ir_root(path: Path) -> bool:
    with path.open("rb") as file:
        return _IR_ROOT.search(file.read(_IR_HEAD_BYTES)) is not None


def declared(named: Sequence[Port], compiled: Sequence[Port], made_up: str) -> tuple[DeclaredTensor, ...]:
    """Return inputs or outputs as a model declares them.

    Args:
        named: the ports of the model as read: compiling adds names of what it has folded away.
        compiled: the same ports of the compiled model: their shapes are worked out further.
        made_up: what a port without a name is called, with its number: "output0".

    Raises:
        ModelLoadError: an element type is not carried.
    """
    names = _names(named, made_up)
    types = [port.element_type.get_type_name() for port in compiled]
    unsupported = [f"{name} is {kind}" for name, kind in zip(names, types, strict=True) if kind not in DTYPES]
    if unsupported:
        raise ModelLoadError(f"only numeric tensors are supported, but {', '.join(unsupported)}")
    return tuple(
        DeclaredTensor(name, _axes(port, layout_of(origin)), DTYPES[kind])
        for name, kind, port, origin in zip(names, types, compiled, named, strict=True)
    )


def _names(ports: Sequence[Port], made_up: str) -> list[str]:
    """Return one name a port; several outputs may share a tensor, and so its names."""
    names: list[str] = []
    for index, port in enumerate(ports):
        own = sorted(name for name in port.names if name not in names)
        names.append(own[0] if own else _free(f"{made_up}{index}", names))
    return names


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


def layout_of(port: Port) -> str:
    """Return the letters of an input's layout, "NCHW", "" where the file does not say."""
    layout = getattr(port.get_node(), "layout", None)
    letters = str(layout).strip("[]").replace(",", "") if layout is not None else ""
    return letters if letters.isalpha() else ""


def _axes(port: Port, layout: str) -> tuple[Axis, ...]:
    """Return the size of each axis, else its name by the layout, else None."""
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return (None,)
    sizes = [axis.get_length() if axis.is_static else None for axis in shape]
    names = (
        [_AXIS_NAMES.get(letter) for letter in layout] if len(layout) == len(sizes) else [None] * len(sizes)
    )
    return tuple(name if size is None else size for size, name in zip(sizes, names, strict=True))


def batch_bound(ports: Sequence[Port]) -> int | None:
    """Return the most rows that an open batch axis takes, None where there is no limit."""
    shapes = [port.get_partial_shape() for port in ports]
    first = [shape[0] for shape in shapes if not shape.rank.is_dynamic and len(shape)]
    return min((axis.get_max_length() for axis in first if axis.get_max_length() > 0), default=None)


def model_metadata(model: Model, path: Path) -> ModelMetadata:
    """Return what a model says of itself, and a `metadata.yaml` beside it.

    The file's own pairs come first (an ONNX model's, or what is left of them in an IR), then the
    `metadata.yaml`, then `model_info`, which has its labels in one line, "traffic_light stop_sign".
    """
    info = _section(model, "model_info")
    labels = info.get("labels", "").split()
    if labels:
        info["names"] = repr([label.replace("_", " ") for label in labels])
    return read_metadata(info | read_beside(path) | _section(model, "framework"))


def _section(model: Model, name: str) -> dict[str, str]:
    """Return the pairs of a section of the model's rt_info; deeper levels are left out."""
    try:
        section = model.rt_info[name] if model.has_rt_info([name]) else {}
    except LIBRARY_ERRORS:
        return {}
    if not isinstance(section, Mapping):
        return {}
    texts = ((str(key), getattr(value, "value", value)) for key, value in section.items())
    return {key: str(value) for key, value in texts if not isinstance(value, Mapping)}


_NOISE: Mapping[re.Pattern[str], str] = {
    re.compile(r"Exception from src/\S+:\d+:?"): " ",
    re.compile(r"Check '.*?' failed at src/\S+?:\d+:?", re.DOTALL): " ",
    re.compile(r"\[?\b(?:src|/\S*?/openvino)/\S+\.(?:cpp|hpp|h):\d+\]?:?"): " ",
    re.compile(r"FrontEnd API failed with \w+:?"): " ",
    re.compile(r"\s+"): " ",
}
_MAX_TEXT = 300


def short_text(exc: Exception) -> str:
    """Return the useful part of one of the library's messages, in one line."""
    text = str(exc)
    for pattern, replacement in _NOISE.items():
        text = pattern.sub(replacement, text)
    text = text.strip() or type(exc).__name__
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
