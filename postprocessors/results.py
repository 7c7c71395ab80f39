"""Results as they are encoded into answers: one struct a kind, keys in camel case on the wire."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType


class Result(Struct, frozen=True, kw_only=True, rename="camel"):
    """Root of all results. Each has a `kind`."""


class Detection(Struct, frozen=True, kw_only=True, rename="camel"):
    """One object found in a picture."""

    bbox: list[float]
    """[x, y, width, height] in pixels of the source picture, clipped to it."""
    score: float
    """0 to 1."""
    class_id: int | UnsetType = UNSET
    class_name: str | UnsetType = UNSET


class Detections(Result, frozen=True, kw_only=True, rename="camel"):
    """The objects found in one picture, best first."""

    kind: str = "detections"
    detections: list[Detection]


class RawTensor(Struct, frozen=True, kw_only=True, rename="camel"):
    """One output tensor as it came."""

    shape: list[int]
    dtype: str
    """numpy's name of the element type."""
    data: str
    """The elements in row-major order, little-endian, base64."""


class RawTensors(Result, frozen=True, kw_only=True, rename="camel"):
    """A model's outputs, undecoded."""

    kind: str = "raw"
    tensors: dict[str, RawTensor]


def fields_of(result: Result) -> dict[str, Any]:
    """Return a result's keys and values, one level deep, to be merged into an answer."""
    return {name: getattr(result, name) for name in result.__struct_fields__}
