"""Which YOLO family a model is of, told by its output's shape and by what its file says.

Each layout in `LAYOUTS` either fits or says why not. Exactly one fitting family is an answer;
none, or several, is refused: a wrong guess gives boxes that look like results.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from postprocessors.base import UnknownFamilyError
from postprocessors.yolo_decode import Decoder, decode_yolov5, decode_yolov8, decode_yolov10, decode_yolox
from postprocessors.yolo_evidence import Evidence, gather, shapes
from postprocessors.yolo_grid import match_strides
from preprocess.options import Anchor, ChannelOrder, InputRecipe
from runtimes.spec import DYNAMIC, ModelDescription, TensorKind

_COCO_CLASSES = 80
"""Without labels, this many class rows are taken for COCO's: no landmarks add up to it."""

_MOST_ROWS = 1000
"""End-to-end models report 300 rows, a few hundred at most."""


@dataclass(frozen=True, slots=True)
class Family:
    """What the decoding of a family's models takes."""

    name: str
    decode: Decoder
    suppress: bool = True
    """Whether overlapping boxes are still in the output."""
    channels_first: bool = False
    """Whether the decoder takes (rows, anchors); else (anchors, rows)."""
    recipe: InputRecipe = field(default_factory=InputRecipe)


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which a family's exporters lay out the output."""

    family: Family
    box_rows: int
    """Rows before the classes: 4, or 5 with objectness. (0: `fits` reads rows of six.)"""
    anchors_per_cell: int = 1
    transposed: bool = False
    """Whether the output's two axes lie the other way round than the decoder takes them."""
    only_named: bool = False
    """Read this way only when the configuration names the family: the shape is another's as well."""

    @property
    def channels_first(self) -> bool:
        """[1, rows, anchors] instead of [1, anchors, rows]."""
        return self.family.channels_first is not self.transposed


@dataclass(frozen=True, slots=True)
class Reading:
    """A layout that fits, and why."""

    layout: Layout
    output: str
    """Name of the output that holds the boxes."""
    classes: int | None
    """How many classes the output holds; None where only running the model shows it."""
    reason: str


class _WrongShapeError(Exception):
    """The output is of another shape altogether."""


class _WrongClassesError(Exception):
    """The shape fits but for the number of classes, or leaves too much open."""


YOLOV5 = Family("yolov5", decode_yolov5)
YOLOV8 = Family("yolov8", decode_yolov8, channels_first=True)
YOLOV10 = Family("yolov10", decode_yolov10, suppress=False)
YOLOX = Family(
    "yolox",
    decode_yolox,
    recipe=InputRecipe(channels=ChannelOrder.BGR, anchor=Anchor.TOP_LEFT, scale=(1.0,)),
)

LAYOUTS: tuple[Layout, ...] = (
    Layout(YOLOV5, box_rows=5, anchors_per_cell=3),
    Layout(YOLOV5, box_rows=5, only_named=True),
    Layout(YOLOV8, box_rows=4),
    Layout(YOLOV8, box_rows=4, transposed=True),
    Layout(YOLOV10, box_rows=0),
    Layout(YOLOX, box_rows=5),
)

FAMILIES: dict[str, Family] = {layout.family.name: layout.family for layout in LAYOUTS}


def tell_family(model: ModelDescription, labels: Sequence[str], name: str | None = None) -> Reading:
    """Tell a model's family.

    Args:
        model: as its file describes it.
        labels: the configuration's, which override the file's; may be empty.
        name: the family that the configuration names; None tells it.

    Raises:
        UnknownFamilyError: nothing fits, or more than one does; the text says what was seen
            and what to set.
    """
    evidence = gather(model, labels, named=name is not None)
    readings: list[Reading] = []
    close: list[str] = []
    for layout in LAYOUTS:
        if name not in (None, layout.family.name) or (layout.only_named and name is None):
            continue
        try:
            readings.append(_fits(layout, evidence))
        except _WrongClassesError as misfit:
            close.append(f"{layout.family.name}: {misfit}")
        except _WrongShapeError:
            continue
    if len({reading.layout.family.name for reading in readings}) == 1:
        return readings[0]
    raise UnknownFamilyError(_refusal(evidence, readings, close, name))


def _fits(layout: Layout, evidence: Evidence) -> Reading:
    read = _read_rows_of_six if layout.box_rows == 0 else _read_grid
    return read(layout, evidence)


def _read_grid(layout: Layout, evidence: Evidence) -> Reading:
    """One row (or column) an anchor, with its box and a score a class."""
    _, first, second = evidence.output.shape
    rows, anchors = (first, second) if layout.channels_first else (second, first)
    if evidence.ends_with_boxes and second in (6, DYNAMIC):
        raise _WrongShapeError
    anchor_text = _read_anchors(anchors, layout, evidence)
    _require_told_from_yolox(anchors, layout, evidence)
    if rows == DYNAMIC:
        classes, class_text = _open_classes(layout, evidence)
    else:
        classes, class_text = _counted_classes(rows, layout, evidence)
    reason = f"{shapes([evidence.output])} is {class_text} by {anchor_text}"
    return Reading(layout, evidence.output.name, classes, reason)


def _read_anchors(anchors: int, layout: Layout, evidence: Evidence) -> str:
    size = evidence.image_size
    if anchors == DYNAMIC:
        return "any number of anchors"
    if size is None:
        return f"{anchors} anchors"
    strides = match_strides(anchors, size, layout.anchors_per_cell)
    if strides is None:
        raise _WrongShapeError
    times = f"{layout.anchors_per_cell} x the" if layout.anchors_per_cell > 1 else "the"
    return f"{anchors} = {times} anchors of {size[0]}x{size[1]} at strides {', '.join(map(str, strides))}"


def _require_told_from_yolox(anchors: int, layout: Layout, evidence: Evidence) -> None:
    """Where the number of anchors does not: YOLOv5's exporter writes the stride, YOLOX's nothing."""
    counted = anchors != DYNAMIC and evidence.image_size is not None
    if layout.family is YOLOX and not counted and not evidence.named and evidence.metadata.stride:
        raise _WrongShapeError


def _open_classes(layout: Layout, evidence: Evidence) -> tuple[int | None, str]:
    if not evidence.named:
        raise _WrongClassesError("the model leaves open how many rows it has")
    return evidence.label_count, f"{layout.box_rows} + classes"


def _counted_classes(rows: int, layout: Layout, evidence: Evidence) -> tuple[int, str]:
    classes = rows - layout.box_rows
    split = f"{layout.box_rows} + {classes} classes"
    if classes < 1:
        raise _WrongShapeError
    if evidence.label_count not in (None, classes):
        labels = f"the {evidence.labels_from} has {evidence.label_count} labels"
        raise _WrongClassesError(f"{rows} rows are {split}, but {labels}")
    return classes, f"{split}{_warrant(classes, layout, evidence)}"


def _warrant(classes: int, layout: Layout, evidence: Evidence) -> str:
    """What vouches that these rows are classes, not landmarks, keypoints or mask coefficients."""
    if evidence.label_count is not None:
        return f" (names in the {evidence.labels_from})"
    if evidence.named:
        return ""
    if evidence.metadata.task == "detect":
        return ' (task "detect" in the metadata)'
    if classes == _COCO_CLASSES:
        return " (as many as COCO has; no names)"
    if classes == 1 and layout.box_rows == 4:
        return ""
    raise _WrongClassesError(
        f"without labels nothing says that the {classes} rows after the first {layout.box_rows} are all "
        "classes, not landmarks or masks"
    )


def _read_rows_of_six(layout: Layout, evidence: Evidence) -> Reading:
    """[1, rows, 6]: corners, score, class."""
    _, rows, columns = evidence.output.shape
    vouched = evidence.ends_with_boxes or evidence.named
    if columns != 6 and not (columns == DYNAMIC and vouched):
        raise _WrongShapeError
    if not vouched and not _looks_end_to_end(rows, evidence):
        raise _WrongClassesError("the model does not say that its rows of 6 are corners, score and class")
    count = "rows" if rows == DYNAMIC else f"{rows} rows"
    told = "; the metadata says end to end" if evidence.ends_with_boxes else ""
    reason = f"{shapes([evidence.output])} is {count} of 6 = corners, score and class{told}"
    return Reading(layout, evidence.output.name, None, reason)


def _looks_end_to_end(rows: int, evidence: Evidence) -> bool:
    """Few rows, not a head's anchors, and not RT-DETR's [1, 300, 4 + 2 classes]."""
    if rows == DYNAMIC or rows > _MOST_ROWS or evidence.label_count == 2:
        return False
    size = evidence.image_size
    return size is None or not (match_strides(rows, size) or match_strides(rows, size, 3))


def _refusal(evidence: Evidence, readings: list[Reading], close: list[str], name: str | None) -> str:
    size = evidence.image_size
    seen = f"output {shapes([evidence.output])} of a {f'{size[0]}x{size[1]}' if size else 'any-size'} input"
    if readings:
        families = sorted({reading.layout.family.name for reading in readings})
        return f'{seen} may be {" or ".join(families)}: set "postprocessor" to the one that it is'
    if name is not None:
        return f"{seen} is not {name}" + (f" ({'; '.join(close)})" if close else "")
    if close:
        return f'{seen} is not clear ({"; ".join(close)}): set "labels", or "postprocessor" to its family'
    return (
        f"{seen} is of no known YOLO family: [1, 4 + classes, anchors], [1, anchors, 5 + classes] or "
        '[1, rows, 6]; set "postprocessor" to "raw" to get it undecoded'
    )


def recipe_for(family: Family, model: ModelDescription) -> InputRecipe:
    """A family's recipe; a model of one channel gets its pictures in gray."""
    channels = {spec.channels for spec in model.inputs if spec.kind is TensorKind.IMAGE}
    return replace(family.recipe, channels=ChannelOrder.GRAY) if channels == {1} else family.recipe
