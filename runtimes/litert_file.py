"""What a .tflite file holds that its library does not tell, and the damage that it does not see.

Slots and types are those of tensorflow/lite/schema/schema.fbs, version 3. The library checks where
everything lies before it uses it, but believes sizes and which inputs there are: of 6,000 damaged
copies of four real models 17 ended the process, and none of those that pass here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from runtimes.litert_flatbuffer import FlatbufferError, Table, check_flex_map, root_table

IDENTIFIER = b"TFL3"
METADATA_NAME = "TFLITE_METADATA"
DETECTION_OP = "TFLite_Detection_PostProcess"

MAX_TENSOR_BYTES = 1 << 31
"""Far more than any tensor of a model that runs on phones."""

MAX_SCALE = 1e4
"""Of quantised numbers: 256 steps of it are 2.5 millions. Kernels shift by ratios of scales, unchecked."""

_CUSTOM = 32
"""The builtin code of operators that have a name."""

_DEQUANTIZE = 6

_REQUIRED_INPUTS = {16: 1, 44: 1, 46: 1}
"""Builtin code → how many of the first inputs must be there: of LSTMs one, of all others two."""

_WIDE_TYPES = {1: 2, 4: 8, 7: 2, 0: 4, 2: 4, 8: 8, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2}
"""TensorType → bytes an element, where that is more than one."""


@dataclass(frozen=True, slots=True)
class LitertFile:
    """One model file."""

    custom_ops: frozenset[str]
    detection_outputs: tuple[int, ...]
    """Tensors of boxes, classes, scores and count where the model ends with that operator, else ()."""
    metadata: bytes
    """A file of its own kind, TFLite's ModelMetadata; b"" where there is none."""


def read_model_file(data: bytes) -> LitertFile:
    """Read a whole file.

    Raises:
        FlatbufferError: it is damaged, truncated or of another kind.
    """
    model = root_table(data, IDENTIFIER)
    codes = [_builtin_code(code) for code in model.tables(1)]
    ops = [
        code.text(1) if builtin == _CUSTOM else ""
        for code, builtin in zip(model.tables(1), codes, strict=True)
    ]
    graphs = model.tables(2)
    if not graphs:
        raise FlatbufferError("the model has no graph")
    for graph in graphs:
        shapes = [_checked_shape(tensor) for tensor in graph.tables(0)]
        for operator in graph.tables(3):
            _check_operator(operator, codes, shapes)
            if ops[operator.number(0, "I")] == DETECTION_OP:
                check_flex_map(operator.bytes_of(5))
    return LitertFile(frozenset(filter(None, ops)), _detection_outputs(graphs[0], ops), _metadata(model))


def _builtin_code(code: Table) -> int:
    # The old field is of one byte and holds 127 where the new one holds more.
    return int(max(code.number(0, "b"), code.number(3, "i")))


def _checked_shape(tensor: Table) -> tuple[int, ...]:
    shape = tensor.vector(0, "i")
    size = prod(shape) * _WIDE_TYPES.get(tensor.number(1, "b"), 1)
    if size > MAX_TENSOR_BYTES or min(shape, default=0) < 0:
        raise FlatbufferError(f"a tensor has the shape {list(shape)}")
    quantization = tensor.table(4)
    scales = quantization.vector(2, "f") if quantization else ()
    if not all(0 <= scale <= MAX_SCALE for scale in scales):
        raise FlatbufferError("a tensor's quantisation has a scale beyond all use")
    return shape


def _check_operator(operator: Table, codes: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> None:
    inputs, outputs = operator.vector(1, "i"), operator.vector(2, "i")
    if not all(-1 <= index < len(shapes) for index in (*inputs, *outputs)):
        raise FlatbufferError("an operator refers to a tensor that the model does not have")
    number = operator.number(0, "I")
    if number >= len(codes):
        raise FlatbufferError("the model has an operator that it does not name")
    if -1 in inputs[: _REQUIRED_INPUTS.get(codes[number], 2)] or -1 in outputs:
        raise FlatbufferError("an operator lacks an input or output")
    # XNNPACK takes the size of unpacked weights from the output.
    if codes[number] == _DEQUANTIZE and [shapes[each] for each in inputs] != [
        shapes[each] for each in outputs
    ]:
        raise FlatbufferError("a tensor and what it is unpacked to differ in shape")


def _metadata(model: Table) -> bytes:
    buffers = model.tables(4)
    found = [entry.number(1, "I") for entry in model.tables(6) if entry.text(0) == METADATA_NAME]
    return buffers[found[0]].bytes_of(0) if found and found[0] < len(buffers) else b""


def _detection_outputs(graph: Table, ops: Sequence[str]) -> tuple[int, ...]:
    """Return the outputs of the last operator if it is detection post-processing.

    Always boxes, classes, scores, count (tensorflow/lite/kernels/detection_postprocess.cc), whatever
    their names and their order among the model's outputs.
    """
    found = [each for each in graph.tables(3) if ops[each.number(0, "I")] == DETECTION_OP]
    outputs = found[-1].vector(2, "i") if found else ()
    return outputs if len(outputs) == 4 and set(outputs) <= set(graph.vector(2, "i")) else ()
