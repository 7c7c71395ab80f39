"""The seam between a model's raw outputs and results in pixels of the source picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from postprocessors.results import Result
from preprocess.frame import Transform
from preprocess.options import InputRecipe
from runtimes.spec import ModelDescription, TensorMap


class PostprocessorError(Exception):
    """A model's outputs cannot be decoded; the text is one line for a person."""


class UnknownFamilyError(PostprocessorError):
    """A model does not say clearly enough what its outputs mean."""


class NonFiniteOutputError(PostprocessorError):
    """A result would hold NaN or an infinity, which JSON cannot."""


class UnknownClassError(PostprocessorError):
    """A request's `classes` names a class that the model does not have: the request's fault."""


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """What one request wants of its results."""

    confidence: float = 0.25
    """Lowest score that is reported, 0 to 1."""
    iou: float = 0.45
    """Overlap above which non-maximum suppression drops the weaker box, 0 to 1."""
    classes: tuple[int | str, ...] | None = None
    """Class ids or names that are reported; None is all of them."""
    max_detections: int = 300
    agnostic: bool = False
    """Suppress across classes, not only within one."""


@dataclass(frozen=True, slots=True)
class PostprocessContext:
    """What decoding needs beside the outputs."""

    transform: Transform
    options: ResultOptions


Postprocessor = Callable[[TensorMap, PostprocessContext], Result]
"""Pure: no device, no clock, no globals. Outputs of one item, each with a batch axis of 1."""


@dataclass(frozen=True, slots=True)
class PostprocessorSettings:
    """What a model's configuration says to its postprocessor."""

    labels: tuple[str, ...] = ()
    """Class names that override the file's own."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the model's configuration that only a postprocessor reads."""


@dataclass(frozen=True, slots=True)
class BoundPostprocessor:
    """A postprocessor that knows its model."""

    name: str
    run: Postprocessor
    recipe: InputRecipe
    """How the model's family wants its pictures."""
    labels: tuple[str, ...] = ()
    family: str | None = None
    """"yolov5", "yolov8" …; None where the postprocessor has no families."""
    family_reason: str | None = None
    """By what the family was told, for a person."""
    reads: frozenset[str] = frozenset()
    """Keys of `PostprocessorSettings.extra` that it reads; the host is warned of all others."""


class PostprocessorFactory(Protocol):
    """Binds a postprocessor to a model, once, at load."""

    def __call__(self, model: ModelDescription, settings: PostprocessorSettings) -> BoundPostprocessor:
        """Raises `PostprocessorError` (`UnknownFamilyError` …) where the model does not fit."""
        ...
