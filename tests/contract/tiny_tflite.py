"""Writes TensorFlow Lite models of about a kilobyte, each with a known answer."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

MEAN, CUSTOM, RESHAPE = 40, 32, 22
REDUCER_OPTIONS = 27
TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "string": 5, "bool": 6, "int16": 7, "int8": 9}


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; `signature` has -1 where an axis is open."""

    name: str
    shape: Sequence[int]
    dtype: str = "float32"
    signature: Sequence[int] | None = None
    scale: float | None = None
    zero_point: int = 0
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Operator:
    """An operator; `code` is a builtin's number or a custom one's name."""

    code: int | str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: tuple[int, Any] | None = None
    custom: bytes | None = None
    version: int = 1


def save(
    path: Path,
    tensors: Sequence[Tensor],
    operators: Sequence[Operator],
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    signature_names: Mapping[str, str] | None = None,
    metadata: bytes = b"",
    tail: Mapping[str, str] | None = None,
) -> Path:
    """Write a model.

    Args:
        signature_names: names of tensors by the names that the exporter gives them.
        metadata: TFLite's own, as `describe` writes it.
        tail: files of the zip archive that is appended.
    """
    index = {tensor.name: number for number, tensor in enumerate(tensors)}
    model = schema.ModelT(version=3, buffers=[schema.BufferT()], operatorCodes=[], metadata=[])
    graph = schema.SubGraphT(
        tensors=[_tensor(tensor, model.buffers) for tensor in tensors],
        inputs=[index[name] for name in inputs],
        outputs=[index[name] for name in outputs],
        operators=[_operator(each, index, model.operatorCodes) for each in operators],
    )
    model.subgraphs = [graph]
    if metadata:
        model.metadata = [schema.MetadataT(name="TFLITE_METADATA", buffer=len(model.buffers))]
        model.buffers.append(schema.BufferT(data=list(metadata)))
    if signature_names:
        model.signatureDefs = [_signature(signature_names, index, inputs)]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    if tail:
        with zipfile.ZipFile(path, "a") as archive:
            for name, text in tail.items():
                archive.writestr(name, text)
    return path


def _tensor(tensor: Tensor, buffers: list[Any]) -> Any:
    number = 0
    if tensor.data is not None:
        number = len(buffers)
        buffers.append(schema.BufferT(data=list(tensor.data.tobytes())))
    quantization = None
    if tensor.scale is not None:
        quantization = schema.QuantizationParametersT(scale=[tensor.scale], zeroPoint=[tensor.zero_point])
    return schema.TensorT(
        shape=list(tensor.shape),
        shapeSignature=None if tensor.signature is None else list(tensor.signature),
        type=TYPES[tensor.dtype],
        name=tensor.name,
        buffer=number,
        quantization=quantization,
    )


def _operator(operator: Operator, index: Mapping[str, int], codes: list[Any]) -> Any:
    custom = isinstance(operator.code, str)
    number = CUSTOM if custom else operator.code
    codes.append(
        schema.OperatorCodeT(
            deprecatedBuiltinCode=number,
            builtinCode=number,
            customCode=operator.code if custom else None,
            version=operator.version,
        )
    )
    kind, options = operator.options or (0, None)
    return schema.OperatorT(
        opcodeIndex=len(codes) - 1,
        inputs=[index[name] for name in operator.inputs],
        outputs=[index[name] for name in operator.outputs],
        builtinOptionsType=kind,
        builtinOptions=options,
        customOptions=None if operator.custom is None else list(operator.custom),
    )


def _signature(names: Mapping[str, str], index: Mapping[str, int], inputs: Sequence[str]) -> Any:
    maps = {name: schema.TensorMapT(name=name, tensorIndex=index[tensor]) for name, tensor in names.items()}
    return schema.SignatureDefT(
        signatureKey="serving_default",
        inputs=[each for name, each in maps.items() if names[name] in inputs],
        outputs=[each for name, each in maps.items() if names[name] not in inputs],
    )


def means(
    path: Path,
    signature: Sequence[int] = (1, 8, 8, 3),
    *,
    image: Mapping[str, Any] | None = None,
    answer: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Path:
    """Write a model that answers the mean of each channel: `means`, [batch, channels].

    Args:
        signature: of `images`, channels last; -1 is open.
        image: dtype, scale and zero_point of `images`.
        answer: the same of `means`.
        rest: for `save`.
    """
    shape = [max(size, 1) for size in signature]
    tensors = [
        Tensor("images", shape, signature=signature, **(image or {})),
        Tensor("axes", [2], "int32", data=np.array([1, 2], np.int32)),
        Tensor("means", [shape[0], shape[3]], signature=(signature[0], signature[3]), **(answer or {})),
    ]
    options = (REDUCER_OPTIONS, schema.ReducerOptionsT(keepDims=False))
    mean = Operator(MEAN, ["images", "axes"], ["means"], options, version=2)
    return save(path, tensors, [mean], ["images"], ["means"], **rest)


def ssd(path: Path, boxes: np.ndarray, scores: np.ndarray, *, rows: int = 4, **rest: Any) -> Path:
    """Write a detector of 8x8 pixels that sees the same objects in every picture.

    Args:
        boxes: (n, 4) ymin, xmin, ymax, xmax as fractions of the picture; none overlap.
        scores: (n, classes) without the background.
        rows: how many the operator reports at most.
        rest: for `save`.
    """
    count, classes = scores.shape
    centres = np.stack(
        (
            (boxes[:, 0] + boxes[:, 2]) / 2,
            (boxes[:, 1] + boxes[:, 3]) / 2,
            boxes[:, 2] - boxes[:, 0],
            boxes[:, 3] - boxes[:, 1],
        ),
        axis=1,
    )
    with_background = np.concatenate((np.zeros((count, 1)), scores), axis=1)[None]
    settings = {
        "max_detections": rows,
        "max_classes_per_detection": 1,
        "nms_score_threshold": 0.01,
        "nms_iou_threshold": 0.6,
        "num_classes": classes,
        **dict.fromkeys(("y_scale", "x_scale"), 10.0),
        **dict.fromkeys(("h_scale", "w_scale"), 5.0),
    }
    constants = {
        "encodings": np.zeros((1, count, 4)),
        "class_scores": with_background,
        "anchors": centres,
    }
    out = {"boxes": (1, rows, 4), "classes": (1, rows), "scores": (1, rows), "count": (1,)}
    tensors = [
        Tensor("images", (1, 8, 8, 3), "uint8", scale=1 / 128, zero_point=128),
        *(Tensor(name, each.shape, data=each.astype(np.float32)) for name, each in constants.items()),
        *(Tensor(name, shape) for name, shape in out.items()),
    ]
    operator = Operator(
        "TFLite_Detection_PostProcess", list(constants), list(out), custom=bytes(flexbuffers.Dumps(settings))
    )
    # Some exporters list the outputs in another order than the operator.
    return save(path, tensors, [operator], ["images"], ["scores", "boxes", "count", "classes"], **rest)


def describe(label_file: str, mean: Sequence[float], deviation: Sequence[float]) -> bytes:
    """Return TFLite's metadata of a model: a file of labels, and how pictures are normalised."""
    builder = flatbuffers.Builder()
    numbers = {slot: _floats(builder, each) for slot, each in enumerate((mean, deviation))}
    unit = _table(builder, {1: _table(builder, numbers)}, {0: 1})
    image = _table(builder, {4: _vector(builder, [unit])})
    label_file_name = builder.CreateString(label_file)
    labels = _table(builder, {0: label_file_name}, {2: 3})
    output = _table(builder, {6: _vector(builder, [labels])})
    graph = _table(builder, {2: _vector(builder, [image]), 3: _vector(builder, [output])})
    name = builder.CreateString("tiny")
    root = _table(builder, {0: name, 3: _vector(builder, [graph])})
    builder.Finish(root, b"M001")
    return bytes(builder.Output())


def _table(builder: Any, offsets: Mapping[int, int], small: Mapping[int, int] | None = None) -> int:
    builder.StartObject(8)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (small or {}).items():
        builder.PrependUint8Slot(slot, value, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, values: Sequence[float]) -> int:
    return int(builder.CreateNumpyVector(np.array(values, np.float32)))
