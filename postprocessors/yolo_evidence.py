"""What there is to tell a YOLO model's family by: its output, its input's size, its file's words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from postprocessors.base import UnknownFamilyError
from postprocessors.yolo_grid import Size
from runtimes.spec import DYNAMIC, ModelDescription, ModelMetadata, TensorKind, TensorSpec

_FLOATS = frozenset({"float32", "float16", "float64"})

_LATER_TASKS: dict[str, str] = {
    "segment": "segmentation models come with a later postprocessor",
    "pose": "pose models come with a later postprocessor",
    "obb": "models of rotated boxes come with a later postprocessor",
    "classify": "classification models come with a later postprocessor",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What there is to tell a family by."""

    output: TensorSpec
    """[batch, rows, anchors] or the like."""
    image_size: Size | None
    """Of the tensor, or what the exporter recommends; None where both leave it open."""
    label_count: int | None
    labels_from: str
    """"metadata" or "configuration"."""
    metadata: ModelMetadata
    named: bool
    """Whether the configuration names the family."""

    @property
    def ends_with_boxes(self) -> bool:
        """Whether the exporter says that suppression is in the model (end to end, or `nms=True`)."""
        properties = self.metadata.properties
        nms = re.search(r"\bnms\b\W*true\b", properties.get("args", ""), re.IGNORECASE)
        return properties.get("end2end", "").lower() == "true" or nms is not None


def gather(model: ModelDescription, labels: Sequence[str], named: bool) -> Evidence:
    """Find the output that holds the boxes, and what is known about it."""
    metadata = model.metadata
    if metadata.task not in (None, "detect"):
        what = _LATER_TASKS.get(metadata.task or "", "only detection models are decoded")
        raise UnknownFamilyError(f'the model\'s metadata says task "{metadata.task}": {what}')
    images = [spec for spec in model.inputs if spec.kind is TensorKind.IMAGE]
    if len(images) != 1:
        raise UnknownFamilyError(f"not a detector of one picture: inputs {shapes(model.inputs)}")
    output = _box_output(model.outputs)
    size = images[0].image_size
    return Evidence(
        output=output,
        image_size=metadata.image_size if DYNAMIC in size else size,
        label_count=len(labels or metadata.labels) or None,
        labels_from="configuration" if labels else "metadata",
        metadata=metadata,
        named=named,
    )


def _box_output(outputs: Sequence[TensorSpec]) -> TensorSpec:
    """The one three-dimensional output; early YOLOv5 exports add their raw heads, which have five."""
    boxes = [spec for spec in outputs if len(spec.shape) != 5]
    if len(boxes) != 1 or len(boxes[0].shape) != 3:
        raise UnknownFamilyError(
            f"not a YOLO detector: it has the outputs {shapes(outputs)}, where one of three dimensions "
            "was expected (segmentation models, which have two, come with a later postprocessor)"
        )
    if boxes[0].dtype not in _FLOATS:
        raise UnknownFamilyError(f"{shapes(boxes)} is {boxes[0].dtype}; only float outputs are decoded")
    return boxes[0]


def shapes(specs: Sequence[TensorSpec]) -> str:
    """Names and shapes, for a person."""
    return ", ".join(f"{spec.name} {list(spec.shape)}" for spec in specs) or "none"
