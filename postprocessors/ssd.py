"""`ssd`: detectors whose last operator is TensorFlow Lite's detection post-processing.

Boxes are [1, n, 4] of ymin, xmin, ymax, xmax as fractions of the input, beside classes and scores
[1, n] and their count [1]. Suppression is in the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from postprocessors.base import (
    BoundPostprocessor,
    NonFiniteOutputError,
    PostprocessContext,
    PostprocessorError,
    PostprocessorSettings,
    UnknownFamilyError,
)
from postprocessors.boxes import Floats, clip, to_source, xyxy_to_xywh
from postprocessors.class_names import ClassNames
from postprocessors.nms import best_first
from postprocessors.results import Detection, Detections
from preprocess.options import ChannelOrder, InputRecipe
from runtimes.litert_metadata import DETECTION_OUTPUTS, read_normalizations
from runtimes.spec import ModelDescription, TensorKind, TensorMap

_BOX_DECIMALS = 2
_SCORE_DECIMALS = 4

_BACKGROUND = frozenset({"???", "background"})
"""First lines of label maps whose classes are counted from 1; the model counts from 0."""

_NO_CLASS = "???"
"""In label maps: a class id that was never used."""

_NAME_SETS: tuple[tuple[str, str, str, str], ...] = (
    ("detection_boxes", "detection_classes", "detection_scores", "num_detections"),
    (
        "TFLite_Detection_PostProcess",
        "TFLite_Detection_PostProcess:1",
        "TFLite_Detection_PostProcess:2",
        "TFLite_Detection_PostProcess:3",
    ),
)
"""Names of boxes, classes, scores and count where the file does not say which is which."""


@dataclass(frozen=True, slots=True)
class SsdPostprocessor:
    """Reads the outputs of one model."""

    outputs: tuple[str, str, str, str]
    """Names of boxes, classes, scores and count."""
    classes: ClassNames

    def __call__(self, outputs: TensorMap, context: PostprocessContext) -> Detections:
        """Decode one picture.

        Raises:
            NonFiniteOutputError: a score is NaN or infinite, or a box that would count.
            UnknownClassError: `classes` has a class that the model does not have.
            PostprocessorError: the outputs are of other shapes than they should be.
        """
        options = context.options
        wanted = self.classes.wanted(options.classes)
        boxes, class_ids, scores = self._rows(outputs)
        chosen = np.flatnonzero(scores >= options.confidence)
        if wanted is not None:
            chosen = chosen[np.isin(class_ids[chosen], wanted)]
        chosen = chosen[best_first(scores[chosen], options.max_detections)]
        if not np.isfinite(boxes[chosen]).all():
            raise NonFiniteOutputError("the model's output holds boxes that are NaN or infinite")
        return Detections(detections=self._report(boxes[chosen], scores[chosen], class_ids[chosen], context))

    def _rows(self, outputs: TensorMap) -> tuple[Floats, NDArray[np.intp], Floats]:
        """Boxes (n, 4), class ids (n,) and scores (n,) of as many rows as the model says it has filled."""
        boxes, classes, scores, count = (outputs[name] for name in self.outputs)
        rows = scores.shape[1] if scores.ndim == 2 else 0
        if (
            boxes.shape != (1, rows, 4)
            or classes.shape != (1, rows)
            or scores.shape != (1, rows)
            or not count.size
        ):
            shapes = ", ".join(str(list(each.shape)) for each in (boxes, classes, scores, count))
            raise PostprocessorError(
                f"boxes, classes, scores and count are {shapes}: not those of one picture"
            )
        filled = float(count.reshape(-1)[0])
        used = min(rows, max(0, int(filled))) if np.isfinite(filled) else rows
        scores, classes = scores[0, :used], classes[0, :used]
        if not (np.isfinite(scores).all() and np.isfinite(classes).all()):
            raise NonFiniteOutputError("the model's output holds scores or classes that are NaN or infinite")
        return boxes[0, :used].astype(np.float64), classes.astype(np.intp), scores

    def _report(
        self, boxes: Floats, scores: Floats, class_ids: NDArray[np.intp], context: PostprocessContext
    ) -> list[Detection]:
        """Rows as results; boxes without area inside the picture are none."""
        transform = context.transform
        size = np.array((transform.tensor_width, transform.tensor_height) * 2)
        placed = to_source(boxes[:, [1, 0, 3, 2]] * size, transform)
        corners = clip(placed, transform.source_width, transform.source_height).round(_BOX_DECIMALS)
        found = xyxy_to_xywh(corners).round(_BOX_DECIMALS)
        rounded = np.clip(scores.astype(np.float64), 0, 1).round(_SCORE_DECIMALS)
        return [
            self._detection(box, score, class_id)
            for box, score, class_id in zip(found.tolist(), rounded.tolist(), class_ids.tolist(), strict=True)
            if box[2] > 0 and box[3] > 0
        ]

    def _detection(self, bbox: list[float], score: float, class_id: int) -> Detection:
        labels = self.classes.labels
        name = labels[class_id] if 0 <= class_id < len(labels) else _NO_CLASS
        return Detection(
            bbox=bbox, score=score, class_id=class_id, class_name=UNSET if name == _NO_CLASS else name
        )


def bind_ssd(model: ModelDescription, settings: PostprocessorSettings) -> BoundPostprocessor:
    """Find out which output is which, and where the labels begin."""
    images = [spec for spec in model.inputs if spec.kind is TensorKind.IMAGE]
    if len(images) != 1:
        raise UnknownFamilyError("not a detector of one picture")
    labels = _without_background(settings.labels or model.metadata.labels)
    recipe = _recipe(model)
    return BoundPostprocessor(
        name="ssd",
        run=SsdPostprocessor(_output_names(model), ClassNames(labels)),
        recipe=replace(recipe, channels=ChannelOrder.GRAY) if images[0].channels == 1 else recipe,
        labels=labels,
    )


def _without_background(labels: Sequence[str]) -> tuple[str, ...]:
    """Return names by the model's class ids, which do not count the background."""
    return tuple(labels[1:] if labels and labels[0].lower() in _BACKGROUND else labels)


def _output_names(model: ModelDescription) -> tuple[str, str, str, str]:
    shapes = {spec.name: spec.shape for spec in model.outputs}
    told = tuple(model.metadata.properties.get(DETECTION_OUTPUTS, "").split("\n"))
    for names in (told, *_NAME_SETS):
        if len(names) == 4 and shapes.keys() >= set(names):
            boxes, classes, scores, count = names
            return boxes, classes, scores, count
    found = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "none"
    raise UnknownFamilyError(
        f"not an SSD detector with post-processing inside: nothing says which of the outputs {found} are "
        'boxes, classes, scores and count; set "postprocessor" to "raw" to get them undecoded'
    )


def _recipe(model: ModelDescription) -> InputRecipe:
    """Pixels from -1 to 1, as the detectors were trained, where the file does not say otherwise.

    A quantised model takes pixels as they are, whatever the recipe says.
    """
    normalizations = read_normalizations(model.metadata) or ((127.5, 127.5),)
    return InputRecipe(
        scale=tuple(1 / deviation for _, deviation in normalizations),
        mean=tuple(mean for mean, _ in normalizations),
    )
