"""Writes ONNX models of a few hundred bytes: every kind of input and batch axis, each with a known answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

Axis = int | str | None

ELEMENT_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
    "int64": TensorProto.INT64,
    "string": TensorProto.STRING,
}


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[str, Sequence[Axis]]],
    outputs: Mapping[str, tuple[str, Sequence[Axis]]],
    *,
    metadata: Mapping[str, str] | None = None,
    constants: Mapping[str, object] | None = None,
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(n, ELEMENT_TYPES[t], list(s)) for n, (t, s) in inputs.items()],
        [helper.make_tensor_value_info(n, ELEMENT_TYPES[t], list(s)) for n, (t, s) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, path)
    return path


def means(
    path: Path,
    shape: Sequence[Axis] = ("batch", 3, 8, 8),
    *,
    dtype: str = "float32",
    spatial: tuple[int, int] = (2, 3),
    out_batch: Axis = "batch",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a model that answers the mean of each channel: `means`, [batch, channels] float32."""
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["means"], axes=list(spatial), keepdims=0),
    ]
    channels = next(axis for index, axis in enumerate(shape) if index not in {0, *spatial})
    return save(
        path,
        nodes,
        {"images": (dtype, shape)},
        {"means": ("float32", (out_batch, channels))},
        metadata=metadata,
    )
