"""What a Core ML model declares, in this project's terms. Imports no library."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from runtimes.batching import DYNAMIC_BATCH_CAP, BatchPlan
from runtimes.inputs import Axis, DeclaredTensor, input_specs, sizes
from runtimes.metadata import read_metadata
from runtimes.spec import DYNAMIC, Layout, ModelDescription, ModelMetadata, TensorKind, TensorSpec

SIDE_INPUTS = {"iouthreshold": 0.45, "confidencethreshold": 0.25}
"""Inputs of detectors with suppression inside, lower case → what they are filled with."""

_IMAGE_RANK = 4


class FeatureKind(Enum):
    """What a feature is made of."""

    IMAGE = auto()
    ARRAY = auto()
    NUMBER = auto()
    CLASSES = auto()
    """A score for each class label, by its name."""
    OTHER = auto()


class Color(Enum):
    """How a picture is handed over, by the name of Pillow's mode."""

    RGB = "RGB"
    GRAY = "L"
    GRAY_FLOAT = "F"


@dataclass(frozen=True, slots=True)
class Feature:
    """One input or output."""

    name: str
    kind: FeatureKind
    shape: tuple[int, ...] = ()
    """Of a picture (height, width); of an array its default; () where the file leaves it out."""
    ranges: tuple[tuple[int, int], ...] = ()
    """Of each axis of `shape` the least and the most, -1 for no limit; () where it is fixed."""
    choices: tuple[tuple[int, ...], ...] = ()
    """The shapes that are allowed, where the file lists them."""
    dtype: str = "float32"
    color: Color = Color.RGB
    optional: bool = False

    @property
    def channels(self) -> int:
        """Of a picture."""
        return 3 if self.color is Color.RGB else 1

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The sizes, None where one is open. Of shapes in a list the default stays but for the first axis."""
        if self.ranges:
            return tuple(low if low == high else None for low, high in self.ranges)
        if self.rows:
            return (None, *self.shape[1:])
        return self.shape

    @property
    def rows(self) -> tuple[int, ...]:
        """How many rows a call may have, where the file lists shapes that differ in the first axis alone."""
        same = all(shape[1:] == self.shape[1:] for shape in self.choices)
        rows = sorted({shape[0] for shape in self.choices if shape}) if same else []
        return tuple(rows) if len(rows) > 1 else ()

    @property
    def has_rows(self) -> bool:
        """Whether an array's first axis is the batch: four axes, or one row of anything."""
        return len(self.shape) >= _IMAGE_RANK or self.axes[:1] in {(1,), (None,)}


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that a file says of its model."""

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    class_labels: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> tuple[Feature, ...]:
        """The inputs that a caller has to fill: none that is optional, or has a default here."""
        return tuple(item for item in self.inputs if not (item.optional or is_side_input(item)))

    @property
    def given(self) -> tuple[Feature, ...]:
        """The outputs that are numbers: a class's name is told by its scores."""
        usable = (item for item in self.outputs if item.kind is not FeatureKind.OTHER)
        return tuple(item for item in usable if item.kind is not FeatureKind.CLASSES or self.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by class id: the exporter's, else the classifier's own."""
        return self.metadata.labels

    @property
    def metadata(self) -> ModelMetadata:
        """What the file says beside its tensors."""
        found = read_metadata(self.properties)
        labels = found.labels or self.class_labels or _listed_labels(self.properties)
        return replace(found, labels=labels)

    @property
    def rows(self) -> Axis:
        """The first axis of all inputs where they are arrays with rows of items, else 1."""
        arrays = all(item.kind is FeatureKind.ARRAY and item.has_rows for item in self.shown)
        found = {item.axes[0] for item in self.shown} if arrays else set()
        return found.pop() if len(found) == 1 else 1

    @property
    def stacks(self) -> bool:
        """Whether one call takes several items as rows of its arrays."""
        return self.rows != 1

    def output_has_rows(self, output: Feature) -> bool:
        """Tell whether an output's first axis is the batch: an open one may count boxes."""
        return output.has_rows and (self.stacks or output.axes[0] is not None)

    @property
    def plan(self) -> BatchPlan:
        """How a call takes several items: rows of arrays, or a list of dicts."""
        if isinstance(self.rows, int):
            return BatchPlan(self.rows, fixed=True) if self.stacks else BatchPlan(DYNAMIC_BATCH_CAP)
        rows = next((item.rows for item in self.shown if item.rows), ())
        limits = [item.ranges[0][1] for item in self.shown if item.ranges and item.ranges[0][1] > 0]
        most = min([*limits, *rows[-1:], DYNAMIC_BATCH_CAP])
        return BatchPlan(most, sizes=tuple(size for size in rows if size <= most), certain=False)

    def describe(self) -> ModelDescription:
        """Return the model in the terms of the seam."""
        inputs = _input_specs(self.shown, self.rows)
        outputs = tuple(_output_spec(item, self) for item in self.given)
        return ModelDescription(inputs, outputs, self.metadata)


def is_side_input(feature: Feature) -> bool:
    """Tell whether an input is filled by the adapter."""
    small = feature.kind is FeatureKind.NUMBER or feature.shape in {(), (1,)}
    return small and feature.kind is not FeatureKind.IMAGE and feature.name.lower() in SIDE_INPUTS


def _input_specs(features: Sequence[Feature], rows: Axis) -> tuple[TensorSpec, ...]:
    declared = [
        DeclaredTensor(item.name, _with_rows(item, rows, has_rows=item.has_rows), item.dtype)
        for item in features
    ]
    specs = input_specs(declared)
    return tuple(
        replace(spec, kind=TensorKind.IMAGE, layout=Layout.NHWC) if item.kind is FeatureKind.IMAGE else spec
        for item, spec in zip(features, specs, strict=True)
    )


def _with_rows(feature: Feature, rows: Axis, *, has_rows: bool) -> tuple[Axis, ...]:
    """Return the axes with a batch axis: open, as a call takes a list of items, but for fixed rows."""
    first = rows if isinstance(rows, int) and rows > 1 else None
    if feature.kind is FeatureKind.IMAGE:
        return (first, *feature.axes, feature.channels)
    if feature.kind is FeatureKind.NUMBER:
        return ()
    return (first, *(feature.axes[1:] if has_rows else feature.axes))


def _output_spec(feature: Feature, declaration: Declaration) -> TensorSpec:
    if feature.kind is FeatureKind.CLASSES:
        return TensorSpec(feature.name, (DYNAMIC, len(declaration.labels)), "float32")
    if feature.kind is FeatureKind.ARRAY and not feature.shape:
        return TensorSpec(feature.name, (), feature.dtype)  # the file does not tell
    if feature.kind is FeatureKind.NUMBER:
        return TensorSpec(feature.name, (DYNAMIC, 1), feature.dtype)
    axes = _with_rows(feature, declaration.rows, has_rows=declaration.output_has_rows(feature))
    dtype = "float32" if feature.dtype == "float16" else feature.dtype  # the library widens results
    return TensorSpec(feature.name, sizes(axes), dtype)


def _listed_labels(properties: Mapping[str, str]) -> tuple[str, ...]:
    """Return labels as other exporters leave them: "cat,dog", or in the parameters of Xcode's preview."""
    listed = properties.get("classes", "")
    if listed.strip():
        return tuple(name.strip() for name in listed.replace("\n", ",").split(",") if name.strip())
    try:
        parameters = json.loads(properties.get("com.apple.coreml.model.preview.params", ""))
    except ValueError:
        return ()
    labels = parameters.get("labels") if isinstance(parameters, dict) else None
    return tuple(map(str, labels)) if isinstance(labels, list) else ()
