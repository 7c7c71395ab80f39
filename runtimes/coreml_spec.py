"""Reads what a Core ML model declares from its specification, on any platform."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtimes.coreml_features import Color, Declaration, Feature, FeatureKind
from runtimes.coreml_library import without_advice
from runtimes.errors import ModelLoadError, RuntimeUnavailableError

Message = Any  # of protobuf: the library ships no types

log = logging.getLogger(__name__)

DTYPES = {
    "FLOAT32": "float32",
    "FLOAT16": "float16",
    "DOUBLE": "float64",
    "INT32": "int32",
    "INT8": "int8",
}
COLORS = {
    "RGB": Color.RGB,
    "BGR": Color.RGB,  # the library takes RGB, and turns it
    "GRAYSCALE": Color.GRAY,
    "GRAYSCALE_FLOAT16": Color.GRAY_FLOAT,
}
_PIPELINES = {"pipeline", "pipelineClassifier", "pipelineRegressor"}
_NUMBERS = {"int64Type": "int64", "doubleType": "float64"}


def parse_spec(path: Path, content: bytes) -> Declaration:
    """Read a serialized `Model` message.

    Raises:
        ModelLoadError: it is none, or of a kind that one call cannot run.
        RuntimeUnavailableError: coremltools is not installed.
    """
    spec = _parse(path, content)
    description = _description(spec.description)
    if getattr(description, "state", ()):
        raise ModelLoadError(f"{path} keeps a state between calls, which is not supported")
    stages = list(_stages(spec))
    outputs = tuple(_known_shape(_feature(item), stages) for item in description.output)
    properties: dict[str, str] = {}
    for stage in [*stages, spec]:  # the whole knows better than its parts
        properties.update(dict(stage.description.metadata.userDefined))
    labels = next(filter(None, map(_class_labels, [spec, *reversed(stages)])), ())
    return Declaration(tuple(map(_feature, description.input)), outputs, labels, properties)


def _parse(path: Path, content: bytes) -> Message:
    logging.getLogger("coremltools").setLevel(logging.ERROR)  # warns of what it lacks outside macOS
    try:
        with without_advice():
            from coremltools.proto import Model_pb2  # noqa: PLC0415 - half a second to import
        from google.protobuf.message import DecodeError  # noqa: PLC0415
    except (ImportError, OSError) as exc:
        reason = " ".join(str(exc).split())
        hint = "pip install 'inferpipe[coreml]'"
        raise RuntimeUnavailableError(f"runtime coreml cannot be loaded: {reason}; {hint}") from exc
    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(content)
    except DecodeError as exc:
        raise ModelLoadError(f"{path} is not a Core ML model, or is truncated or damaged") from exc
    if spec.WhichOneof("Type") is None or (not spec.description.output and not spec.description.functions):
        raise ModelLoadError(f"{path} is not a Core ML model, or is truncated or damaged")
    return spec


def _description(description: Message) -> Message:
    """Return the description of what is called: of several functions the default one."""
    functions = list(getattr(description, "functions", ()))
    named = [item for item in functions if item.name == description.defaultFunctionName]
    return next(iter(named or functions), description)


def _stages(spec: Message) -> Iterator[Message]:
    """Yield the models of a pipeline, those of pipelines within it in their place."""
    kind = spec.WhichOneof("Type")
    if kind in _PIPELINES:
        holder = getattr(spec, kind)
        for stage in (holder if kind == "pipeline" else holder.pipeline).models:
            yield stage
            yield from _stages(stage)


def _feature(message: Message) -> Feature:
    kind = message.type.WhichOneof("Type")
    optional = bool(message.type.isOptional)
    if kind == "imageType":
        return _image(message.name, message.type.imageType, optional=optional)
    if kind == "multiArrayType":
        return _array(message.name, message.type.multiArrayType, optional=optional)
    if kind in _NUMBERS:
        return Feature(message.name, FeatureKind.NUMBER, dtype=_NUMBERS[kind], optional=optional)
    found = FeatureKind.CLASSES if kind == "dictionaryType" else FeatureKind.OTHER
    return Feature(message.name, found, optional=optional)


def _image(name: str, image: Message, *, optional: bool) -> Feature:
    ranges: tuple[tuple[int, int], ...] = ()
    shape: tuple[int, ...] = (int(image.height), int(image.width))
    choices: tuple[tuple[int, ...], ...] = ()
    match image.WhichOneof("SizeFlexibility"):
        case "imageSizeRange":
            limits = (image.imageSizeRange.heightRange, image.imageSizeRange.widthRange)
            ranges = tuple((int(limit.lowerBound), int(limit.upperBound)) for limit in limits)
        case "enumeratedSizes":
            choices = tuple((int(size.height), int(size.width)) for size in image.enumeratedSizes.sizes)
    if 0 in shape:
        shape = choices[0] if choices else tuple(low for low, _ in ranges) or shape
    space = type(image).ColorSpace.Name(image.colorSpace)
    return Feature(
        name,
        FeatureKind.IMAGE,
        shape,
        ranges,
        dtype="uint8",
        color=COLORS.get(space, Color.RGB),
        optional=optional,
    )


def _array(name: str, array: Message, *, optional: bool) -> Feature:
    shape = tuple(map(int, array.shape))
    ranges: tuple[tuple[int, int], ...] = ()
    choices: tuple[tuple[int, ...], ...] = ()
    match array.WhichOneof("ShapeFlexibility"):
        case "shapeRange":
            ranges = tuple((int(s.lowerBound), int(s.upperBound)) for s in array.shapeRange.sizeRanges)
        case "enumeratedShapes":
            choices = tuple(tuple(map(int, item.shape)) for item in array.enumeratedShapes.shapes)
    shape = shape or (choices[0] if choices else tuple(low for low, _ in ranges))
    dtype = DTYPES.get(type(array).ArrayDataType.Name(array.dataType), "float32")
    return Feature(name, FeatureKind.ARRAY, shape, ranges, choices, dtype, optional=optional)


def _known_shape(feature: Feature, stages: list[Message]) -> Feature:
    """Return an output with the shape that the last stage gives it, where the pipeline gives none."""
    if feature.shape or feature.kind is not FeatureKind.ARRAY:
        return feature
    same = (
        item for stage in reversed(stages) for item in stage.description.output if item.name == feature.name
    )
    return next((found for found in map(_feature, same) if found.shape), feature)


def _class_labels(spec: Message) -> tuple[str, ...]:
    kind = spec.WhichOneof("Type")
    if kind == "mlProgram":
        return _program_labels(spec.mlProgram)
    model = getattr(spec, kind)
    found: Mapping[str, str] = {"stringClassLabels": "", "int64ClassLabels": ""}
    fields = {item.name for item in model.DESCRIPTOR.fields}
    for name in found.keys() & fields:
        if model.HasField(name):
            return tuple(map(str, getattr(model, name).vector))
    return ()


def _program_labels(program: Message) -> tuple[str, ...]:
    """Return the classes of the `classify` operation at a program's end; () where there is none."""
    for function in program.functions.values():
        for block in function.block_specializations.values():
            constants = {
                output.name: operation.attributes["val"]
                for operation in block.operations
                if operation.type == "const" and "val" in operation.attributes
                for output in operation.outputs
            }
            for operation in block.operations:
                if operation.type == "classify" and "classes" in operation.inputs:
                    [argument] = operation.inputs["classes"].arguments
                    return tuple(_texts(constants.get(argument.name, argument.value)))
    return ()


def _texts(value: Message) -> Iterator[str]:
    """Yield the strings or numbers of a program's constant, be it a tensor or a list."""
    immediate = value.immediateValue
    for item in immediate.list.values:
        yield from _texts(item)
    tensor = immediate.tensor
    yield from tensor.strings.values
    yield from map(str, [*tensor.ints.values, *tensor.longInts.values])
