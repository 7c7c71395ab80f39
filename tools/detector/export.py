"""Writes the trained detector as one ONNX file that does everything up to non-maximum suppression."""

import copy
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tools.detector.model import STRIDES, Detector, cell_grid, corners

SIDE = 640
OPSET = 17


class Deployed(nn.Module):
    """Pictures (batch, 3, 640, 640) to centre x, y, width, height and class scores, (batch, 4 + nc, 8400)."""

    centres: Tensor
    strides: Tensor

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = fold(copy.deepcopy(detector).eval())
        centres, strides = cell_grid(SIDE, SIDE)
        self.register_buffer("centres", centres)
        self.register_buffer("strides", strides)

    def forward(self, images: Tensor) -> Tensor:
        raw = self.detector(images)
        boxes = corners(raw.sides, self.centres, self.strides)
        low, high = boxes[..., :2], boxes[..., 2:]
        return torch.cat([(low + high) * 0.5, high - low, raw.scores.sigmoid()], -1).transpose(1, 2)


def fold(module: nn.Module) -> nn.Module:
    """Folds every batch norm into the convolution before it, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential) and len(child) == 3 and isinstance(child[1], nn.BatchNorm2d):
            setattr(module, name, nn.Sequential(fuse_conv_bn_eval(child[0], child[1]), child[2]))
        else:
            fold(child)
    return module


def _output_shape(names: tuple[str, ...]) -> tuple[int, int]:
    return 4 + len(names), len(cell_grid(SIDE, SIDE)[0])


def _describe(model: onnx.ModelProto, names: tuple[str, ...]) -> None:
    """Adds the properties by which workers tell what the model is."""
    properties = {
        "description": "inferpipe shapes detector",
        "author": "inferpipe",
        "license": "Apache-2.0",
        "task": "detect",
        "stride": str(max(STRIDES)),
        "batch": "1",
        "imgsz": str([SIDE, SIDE]),
        "names": str(dict(enumerate(names))),
    }
    onnx.helper.set_model_props(model, properties)
    for dimension, size in zip(
        model.graph.output[0].type.tensor_type.shape.dim[1:], _output_shape(names), strict=True
    ):
        dimension.dim_value = size
    model.producer_name = "inferpipe"
    model.doc_string = ""


def export(detector: Detector, names: tuple[str, ...], path: Path) -> None:
    """Writes the detector to `path`; the input's and output's first axis is named "batch"."""
    deployed = Deployed(detector).eval()
    example = torch.zeros(2, 3, SIDE, SIDE)
    axes = {"images": {0: "batch"}, "output0": {0: "batch"}}
    torch.onnx.export(
        deployed,
        (example,),
        str(path),
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    model = onnx.load(path)
    _describe(model, names)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
