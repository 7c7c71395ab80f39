"""Learns by running blank inputs what a TorchScript file does not say, and whether a program runs at all."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from runtimes.errors import ModelLoadError
from runtimes.inputs import Axis, DeclaredTensor
from runtimes.metadata import parse_image_size
from runtimes.torch_errors import FAILURES, short_text
from runtimes.torch_library import torch
from runtimes.torch_programs import BATCH, UNKNOWN_IMAGE, Placement, Program, Tensor, flatten, numpy_name

CHANNELS = (3, 1)
SIDES = (640, 512, 416, 384, 320, 299, 256, 224, 192, 160, 128, 112, 96, 64, 48, 32, 28)
"""Pixels; tried where nothing tells which pictures a program takes. The first that runs is the one."""

Shape = tuple[int, ...]


def settle(program: Program, placement: Placement, properties: Mapping[str, str]) -> Program:
    """Return the program with its inputs and outputs known.

    Raises:
        RuntimeError …: `torch_errors.FAILURES`, where it does not run on the device or in this precision.
        ModelLoadError: no size of picture runs.
    """
    if program.outputs is not None:
        if not placement.plain:
            _run(program, placement, [_some_shape(tensor.axes) for tensor in program.inputs])
        return program
    if not _is_open(program.inputs[0]):
        shapes = [_some_shape(tensor.axes) for tensor in program.inputs]
        results, writes = _run(program, placement, shapes)
        return replace(program, outputs=_declared(results), writes_inputs=writes)
    return _settle_size(program, placement, properties)


def _settle_size(program: Program, placement: Placement, properties: Mapping[str, str]) -> Program:
    """Find a picture that runs, then whether one of another size runs, too."""
    picture, rest = program.inputs[0], [_some_shape(tensor.axes) for tensor in program.inputs[1:]]
    failure = ""
    for shape in _pictures(picture.axes, properties):
        try:
            results, writes = _run(program, placement, [shape, *rest])
        except FAILURES as exc:
            failure = failure or short_text(exc)
            continue
        found = replace(program, writes_inputs=writes)
        try:
            others, _ = _run(program, placement, [_another_size(shape), *rest])
        except FAILURES:
            fixed = DeclaredTensor(picture.name, (BATCH, *shape[1:]), picture.dtype)
            return replace(found, inputs=(fixed, *program.inputs[1:]), outputs=_declared(results))
        opened = DeclaredTensor(picture.name, (BATCH, shape[1], *UNKNOWN_IMAGE[2:]), picture.dtype)
        return replace(found, inputs=(opened, *program.inputs[1:]), outputs=_declared(results, others))
    raise ModelLoadError(f"no picture runs through the model: {failure}")


def _run(
    program: Program, placement: Placement, shapes: Sequence[Shape]
) -> tuple[list[tuple[str, Tensor]], bool]:
    """Return the outputs for blank inputs, and whether the program wrote into these."""
    # Laid out as in service: what TorchScript sees in its first run is what it specializes on.
    blanks = [
        program.laid_out(torch.zeros(shape, dtype=dtype, device=placement.device))
        for shape, dtype in zip(shapes, program.dtypes, strict=True)
    ]
    versions = [blank._version for blank in blanks]
    with torch.inference_mode():
        results = list(flatten(program.call(blanks)))
    if not results:
        raise ModelLoadError("the model answers with no tensor")
    return results, versions != [blank._version for blank in blanks]


def _declared(
    results: Sequence[tuple[str, Tensor]], others: Sequence[tuple[str, Tensor]] | None = None
) -> tuple[DeclaredTensor, ...]:
    """Return the outputs: an axis is open where it was the one row, or moved with the size."""
    shapes = [tuple(tensor.shape) for _, tensor in (others or results)]
    if [len(shape) for shape in shapes] != [tensor.dim() for _, tensor in results]:
        shapes = [()] * len(results)  # not even the number of axes stays
    return tuple(
        DeclaredTensor(name, _moved(tuple(tensor.shape), other), numpy_name(tensor.dtype))
        for (name, tensor), other in zip(results, shapes, strict=True)
    )


def _moved(shape: Shape, other: Shape) -> tuple[Axis, ...]:
    axes = [size if size == elsewhere else None for size, elsewhere in itertools.zip_longest(shape, other)]
    return (None if shape[0] == 1 else axes[0], *axes[1:]) if axes else ()


def _is_open(tensor: DeclaredTensor) -> bool:
    return any(not isinstance(axis, int) for axis in tensor.axes[1:])


def _some_shape(axes: Sequence[Axis]) -> Shape:
    """Return a shape that the axes allow: one row, and sizes that most programs can halve five times."""
    return tuple(axis if isinstance(axis, int) else 64 if index else 1 for index, axis in enumerate(axes))


def _pictures(axes: Sequence[Axis], properties: Mapping[str, str]) -> Iterator[Shape]:
    recommended = parse_image_size(properties.get("imgsz", ""))
    sizes = [(recommended[1], recommended[0])] if recommended else [(side, side) for side in SIDES]
    channels = [axes[1]] if isinstance(axes[1], int) else CHANNELS
    return ((1, int(count), *size) for size, count in itertools.product(sizes, channels))


def _another_size(shape: Shape) -> Shape:
    """Return the same with half the sides, in steps of 32; where that is nothing, with twice."""
    height, width = (side // 64 * 32 or side * 2 for side in shape[2:])
    return (*shape[:2], height, width)
