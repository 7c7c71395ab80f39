"""`yolo` and its families by name: YOLO detectors' outputs into `Detections`."""

from dataclasses import dataclass

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from postprocessors.base import (
    BoundPostprocessor,
    PostprocessContext,
    PostprocessorError,
    PostprocessorSettings,
)
from postprocessors.boxes import Floats, clip, to_source, xyxy_to_xywh
from postprocessors.class_names import ClassNames
from postprocessors.nms import Indices, best_first, suppress
from postprocessors.results import Detection, Detections
from postprocessors.yolo_decode import Candidates
from postprocessors.yolo_families import Layout, recipe_for, tell_family
from postprocessors.yolo_grid import Size, match_strides
from preprocess.frame import Transform
from runtimes.spec import ModelDescription, TensorMap

_BOX_DECIMALS = 2
_SCORE_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class YoloPostprocessor:
    """Decodes the outputs of one model."""

    layout: Layout
    output_name: str
    class_count: int | None
    """None where the model does not say; rows of a layout with one are then checked as they come."""
    labels: tuple[str, ...]
    classes: ClassNames

    def __call__(self, outputs: TensorMap, context: PostprocessContext) -> Detections:
        """Decode one picture.

        Raises:
            NonFiniteOutputError: a score is NaN or infinite, or a box that would count.
            UnknownClassError: `classes` has a class that the model does not have.
            PostprocessorError: the output is of another shape than the model announced.
        """
        options, transform = context.options, context.transform
        wanted = self.classes.wanted(options.classes)
        size = (transform.tensor_width, transform.tensor_height)
        output = self._matrix(outputs[self.output_name], size)
        # Absurd sizes may overflow on the way; decoders check what they return, and it is clipped.
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.layout.family.decode(output, options.confidence, size)
            if not len(found.scores):
                return Detections(detections=[])
            if wanted is not None:
                found = _select(found, np.flatnonzero(np.isin(found.class_ids, wanted)))
            found = _select(found, self._best(found, context))
        return Detections(detections=self._report(found, transform))

    def _matrix(self, array: Floats, size: Size) -> Floats:
        """The output without its batch axis, the way round that the family's decoder takes it."""
        if array.ndim != 3 or len(array) != 1 or not self._fits(array[0], size):
            raise PostprocessorError(
                f"output {self.output_name} {list(array.shape)} for {size[0]}x{size[1]} pixels is not what "
                f"the model announced for {self.layout.family.name}"
            )
        return np.ascontiguousarray(array[0].T) if self.layout.transposed else array[0]

    def _fits(self, matrix: Floats, size: Size) -> bool:
        """Whether the output, as it came, has the rows that it should have."""
        layout = self.layout
        first, second = matrix.shape
        rows, anchors = (first, second) if layout.channels_first else (second, first)
        if layout.box_rows == 0:
            return bool(rows == 6)
        if self.class_count is not None:
            return bool(rows == layout.box_rows + self.class_count)
        return (
            bool(rows > layout.box_rows) and match_strides(anchors, size, layout.anchors_per_cell) is not None
        )

    def _best(self, found: Candidates, context: PostprocessContext) -> Indices:
        options = context.options
        if not self.layout.family.suppress:
            return best_first(found.scores, options.max_detections)
        classes = None if options.agnostic else found.class_ids
        return suppress(found.boxes, found.scores, classes, options.iou, options.max_detections)

    def _report(self, found: Candidates, transform: Transform) -> list[Detection]:
        """Candidates as results; boxes without area inside the picture are none."""
        corners = clip(to_source(found.boxes, transform), transform.source_width, transform.source_height)
        # In float64, where rounding gives the short decimals that JSON should hold. Corners are
        # rounded before sizes are taken, so that a box at the border does not reach beyond it.
        boxes = xyxy_to_xywh(corners.round(_BOX_DECIMALS)).round(_BOX_DECIMALS)
        scores = found.scores.astype(np.float64).round(_SCORE_DECIMALS)
        visible = (boxes[:, 2:] > 0).all(axis=1)
        return [
            self._detection(bbox, score, class_id)
            for bbox, score, class_id in zip(
                boxes[visible].tolist(),
                scores[visible].tolist(),
                found.class_ids[visible].tolist(),
                strict=True,
            )
        ]

    def _detection(self, bbox: list[float], score: float, class_id: int) -> Detection:
        name = self.labels[class_id] if 0 <= class_id < len(self.labels) else UNSET
        return Detection(bbox=bbox, score=score, class_id=class_id, class_name=name)


def bind_yolo(model: ModelDescription, settings: PostprocessorSettings) -> BoundPostprocessor:
    """Tell the family by the model; refuse one that is not clear."""
    return _bind("yolo", None, model, settings)


def bind_yolov5(model: ModelDescription, settings: PostprocessorSettings) -> BoundPostprocessor:
    """YOLOv5 and v7; also heads of one anchor a cell that decode themselves (YOLOv6)."""
    return _bind("yolov5", "yolov5", model, settings)


def bind_yolov8(model: ModelDescription, settings: PostprocessorSettings) -> BoundPostprocessor:
    """YOLOv8, v9, 11 and 12."""
    return _bind("yolov8", "yolov8", model, settings)


def bind_yolov10(model: ModelDescription, settings: PostprocessorSettings) -> BoundPostprocessor:
    """YOLOv10, 26, and others exported with suppression inside."""
    return _bind("yolov10", "yolov10", model, settings)


def bind_yolox(model: ModelDescription, settings: PostprocessorSettings) -> BoundPostprocessor:
    """YOLOX as exported without decoding."""
    return _bind("yolox", "yolox", model, settings)


def _bind(
    name: str, family: str | None, model: ModelDescription, settings: PostprocessorSettings
) -> BoundPostprocessor:
    reading = tell_family(model, settings.labels, family)
    labels = settings.labels or model.metadata.labels
    names = ClassNames(labels, reading.classes)
    run = YoloPostprocessor(reading.layout, reading.output, reading.classes, labels, names)
    told = reading.layout.family
    return BoundPostprocessor(
        name=name,
        run=run,
        recipe=recipe_for(told, model),
        labels=labels,
        family=told.name,
        family_reason=reading.reason,
    )


def _select(found: Candidates, chosen: NDArray[np.intp]) -> Candidates:
    return Candidates(found.boxes[chosen], found.scores[chosen], found.class_ids[chosen])
