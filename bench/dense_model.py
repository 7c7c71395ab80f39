"""Writes a model that gains from batches: dense layers whose weights are far larger than any cache.

One picture and eight read the same weights, so eight in one call take little longer than one. The
weights are random by a fixed seed: what it answers means nothing, and costs nothing to read.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

SIDE = 64
"""Pixels of a side of its pictures."""

WIDTH = 4096
"""Of a layer: 4096 x 4096 float32 are 67 MB."""

LAYERS = 3

ANSWERS = 16
"""Numbers in an answer."""

_POOL = 4
_FEATURES = 3 * (SIDE // _POOL) ** 2
_SEED = 4


def write_dense_model(path: Path, width: int = WIDTH, layers: int = LAYERS) -> None:
    """Write the ONNX file: (N, 3, 64, 64) float32 in, (N, 16) float32 out, N open."""
    from onnx import TensorProto, helper, numpy_helper, save  # noqa: PLC0415 - heavy, and for one model alone

    random = np.random.default_rng(_SEED)
    sizes = [_FEATURES, *[width] * (layers + 1), ANSWERS]
    nodes = [
        helper.make_node(
            "AveragePool", ["images"], ["pooled"], kernel_shape=[_POOL] * 2, strides=[_POOL] * 2
        ),
        helper.make_node("Flatten", ["pooled"], ["layer0"]),
    ]
    weights = []
    for number, (rows, columns) in enumerate(pairwise(sizes)):
        matrix = random.standard_normal((rows, columns), np.float32) * np.float32(np.sqrt(2 / rows))
        weights.append(numpy_helper.from_array(matrix, f"weight{number}"))
        last = number == len(sizes) - 2
        product = "output" if last else f"product{number}"
        nodes.append(helper.make_node("MatMul", [f"layer{number}", f"weight{number}"], [product]))
        if not last:
            nodes.append(helper.make_node("Relu", [product], [f"layer{number + 1}"]))
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", ANSWERS])],
        weights,
    )
    # What every release of onnxruntime that is supported reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, str(path))
