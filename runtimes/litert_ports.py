"""A model's inputs and outputs: what passes through a lane, and what the interpreter has."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from runtimes.errors import ModelLoadError
from runtimes.inputs import DeclaredTensor, input_specs
from runtimes.litert_quantization import Normalization, Quantization, read_quantization, takes_pixels
from runtimes.spec import DYNAMIC, TensorKind, TensorSpec

Interpreter = Any  # ai_edge_litert.interpreter.Interpreter: the library ships no types
Details = Mapping[str, Any]
"""What the library says of a tensor."""

DTYPES = frozenset(
    {"float16", "float32", "float64", "bool"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output."""

    name: str
    shape: tuple[int, ...]
    """`DYNAMIC` where the model leaves an axis open."""
    dtype: str
    """Of the tensors that pass through."""
    index: int
    """Of the interpreter's tensor."""
    quantization: Quantization | None = None
    """How that stands for what passes through; None where it is the same."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All of a model."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    input_specs: tuple[TensorSpec, ...]


def read_ports(interpreter: Interpreter, normalizations: Sequence[Normalization]) -> Ports:
    """Read what an interpreter says of its model.

    Quantised tensors pass as float32, but for pictures that it takes pixel by pixel.

    Args:
        interpreter: its tensors need not be allocated.
        normalizations: of the first input; see `takes_pixels`.

    Raises:
        ModelLoadError: a tensor holds no numbers.
    """
    names = _signature_names(interpreter)
    inputs = _ports(interpreter.get_input_details(), names)
    outputs = _ports(interpreter.get_output_details(), names)
    inputs = tuple(replace(port, shape=_one_item(port.shape)) for port in inputs)
    specs = input_specs([DeclaredTensor(port.name, port.shape, port.dtype) for port in inputs])
    inputs = tuple(
        _with_pixels(port, normalizations if position == 0 else ()) if spec.kind is TensorKind.IMAGE else port
        for position, (port, spec) in enumerate(zip(inputs, specs, strict=True))
    )
    specs = tuple(replace(spec, dtype=port.dtype) for spec, port in zip(specs, inputs, strict=True))
    return Ports(inputs, outputs, specs)


def open_shape(details: Details) -> tuple[int, ...]:
    """Return an input's sizes for one item, `DYNAMIC` where open: what an interpreter is prepared for."""
    return _one_item(_shape(details))


def _ports(all_details: Iterable[Details], names: Mapping[int, str]) -> tuple[Port, ...]:
    ports: dict[int, Port] = {}  # by index: a tensor may be an output twice
    for details in all_details:
        port = _port(details, names)
        taken = any(other.name == port.name for other in ports.values())
        ports.setdefault(port.index, replace(port, name=f"{port.name}:{port.index}") if taken else port)
    return tuple(ports.values())


def _port(details: Details, names: Mapping[int, str]) -> Port:
    index = int(details["index"])
    name = names.get(index) or details["name"] or "tensor"
    dtype = np.dtype(details["dtype"]).name
    if dtype not in DTYPES:
        raise ModelLoadError(f"only numeric tensors are supported, but {name} is {dtype}")
    quantization = read_quantization(details)
    return Port(name, _shape(details), "float32" if quantization else dtype, index, quantization)


def _shape(details: Details) -> tuple[int, ...]:
    shape = tuple(int(size) for size in details["shape"])
    signature = tuple(details.get("shape_signature", ()))
    if len(signature) != len(shape):
        return shape
    return tuple(DYNAMIC if named < 0 else size for named, size in zip(signature, shape, strict=True))


def _one_item(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Close an open batch axis: items run one by one.

    On the CPU a batch gains nothing and each new size of it costs: DeepLab v3 of 257 pixels, one
    thread: 9.2 ms an item alone, 8.2 by four, 12.3 by eight; to resize to eight takes 249 ms. The
    delegates take no new sizes at all.
    """
    return (1, *shape[1:]) if len(shape) > 1 and shape[0] < 0 else shape


def _with_pixels(port: Port, normalizations: Sequence[Normalization]) -> Port:
    quantization = port.quantization
    if quantization is None or not takes_pixels(quantization, normalizations):
        return port
    return replace(port, dtype=quantization.dtype, quantization=None)


def _signature_names(interpreter: Interpreter) -> dict[int, str]:
    """Return the names by which the exporter knows the tensors: "images", not "serving_default_images:0"."""
    keys = list(interpreter.get_signature_list())
    if len(keys) != 1:
        return {}
    runner = interpreter.get_signature_runner(keys[0])
    named = (*runner.get_input_details().items(), *runner.get_output_details().items())
    return {int(details["index"]): name for name, details in named}
