"""Tensors into what coremltools takes, and what it answers with back into tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.coreml_features import SIDE_INPUTS, Color, Declaration, Feature, FeatureKind, is_side_input
from runtimes.coreml_library import Features, Library
from runtimes.errors import InferenceError
from runtimes.spec import DYNAMIC, TensorKind, TensorMap, TensorSpec

_NUMPY = {"float16": "float32"}
"""What a tensor is widened to: coremltools passes no array of 16-bit floats on."""


class FeatureWriter:
    """Writes items for one lane.

    Arrays are copied into buffers that live as long as the lane. Core ML lets go of its inputs up to a
    second after the call, in a thread of its own and without the interpreter's lock
    (github.com/apple/coremltools/pull/2827): it must never be the last to hold an array.
    """

    def __init__(self, declaration: Declaration, specs: Sequence[TensorSpec], library: Library) -> None:
        self._shown = tuple(zip(declaration.shown, specs, strict=True))
        self._sides = [item for item in declaration.inputs if is_side_input(item)]
        self._stacks = declaration.stacks
        self._library = library
        self._buffers: dict[tuple[str, int], NDArray[Any]] = {}

    def write(self, tensors: TensorMap, place: int) -> Features:
        """Return the features of one item.

        Args:
            tensors: the inputs; rows of several items where the model stacks them.
            place: which item of a call it is.

        Raises:
            InferenceError: a name, a type or a shape is not the model's.
        """
        if tensors.keys() != {item.name for item, _ in self._shown}:
            wanted = ", ".join(item.name for item, _ in self._shown)
            raise InferenceError(f"the model takes {wanted}, not {', '.join(tensors) or 'nothing'}")
        features: Features = {item.name: _side_value(item) for item in self._sides}
        for item, spec in self._shown:
            tensor = tensors[item.name]
            if tensor.dtype != spec.dtype or not self._fits(spec, tensor.shape):
                raise InferenceError(
                    f"{item.name} is {spec.dtype} {list(spec.shape)}, not {tensor.dtype} {list(tensor.shape)}"
                )
            features[item.name] = self._value(item, tensor, place)
        return features

    def _fits(self, spec: TensorSpec, shape: Sequence[int]) -> bool:
        if spec.kind is TensorKind.SCALAR and not spec.shape:
            return int(np.prod(shape)) == 1
        one = self._stacks or shape[:1] == (1,)
        fixed = zip(spec.shape, shape, strict=False)
        return one and len(spec.shape) == len(shape) and all(axis in {DYNAMIC, size} for axis, size in fixed)

    def _value(self, item: Feature, tensor: NDArray[Any], place: int) -> Any:
        if item.kind is FeatureKind.IMAGE:
            return self._picture(item, tensor[0])
        if item.kind is FeatureKind.NUMBER:
            return tensor.item()
        array = tensor if item.has_rows else tensor[0]
        key = (item.name, place)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.shape != array.shape:
            buffer = self._buffers[key] = np.empty(array.shape, _NUMPY.get(item.dtype, item.dtype))
        np.copyto(buffer, array)
        return buffer

    def _picture(self, item: Feature, pixels: NDArray[Any]) -> Any:
        """Return a picture from [height, width, channels] uint8; coremltools copies it in turn."""
        if item.color is Color.RGB:
            return self._library.picture(pixels, item.color.value)
        gray = pixels[..., 0]
        return self._library.picture(
            gray.astype(np.float32) if item.color is Color.GRAY_FLOAT else gray, item.color.value
        )


def to_tensors(declaration: Declaration, result: Mapping[str, Any]) -> TensorMap:
    """Return the outputs of one call as tensors with a batch axis.

    Raises:
        InferenceError: one is missing, or is no number.
    """
    try:
        return {item.name: _tensor(item, declaration, result[item.name]) for item in declaration.given}
    except KeyError as exc:
        raise InferenceError(f"the model did not answer with {exc}") from exc
    except (TypeError, ValueError) as exc:
        raise InferenceError(f"the model answered with something else than it declares: {exc}") from exc


def _tensor(item: Feature, declaration: Declaration, value: Any) -> NDArray[Any]:
    if value is None:
        raise TypeError(f"{item.name} is nothing")
    match item.kind:
        case FeatureKind.CLASSES:
            scores = {str(label): float(score) for label, score in value.items()}
            return np.array([[scores.get(label, 0.0) for label in declaration.labels]], np.float32)
        case FeatureKind.NUMBER:
            return np.array([[value]], item.dtype)
        case FeatureKind.IMAGE:
            pixels = np.asarray(value.convert(item.color.value))
            return np.ascontiguousarray(pixels.reshape(1, *pixels.shape[:2], item.channels))
        case _:
            array = np.ascontiguousarray(value, dtype=_NUMPY.get(item.dtype, item.dtype))
            known = declaration.output_has_rows(item) if item.shape else array.shape[:1] == (1,)
            return array if known else array[np.newaxis]


def _side_value(item: Feature) -> Any:
    value = SIDE_INPUTS[item.name.lower()]
    return value if item.kind is FeatureKind.NUMBER else np.full(item.shape or (1,), value, np.float64)
