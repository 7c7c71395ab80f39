"""The keys of a model's `verify`: a picture, and what must be found in it."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import msgspec

from worker import config_readers as read
from worker.config_keys import key

_Unit = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Expectation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """An object that a model must find."""

    bbox: tuple[float, float, float, float]
    """[x, y, width, height] in pixels of the picture."""
    class_name: str | None = None
    class_id: Annotated[int, msgspec.Meta(ge=0)] | None = None
    score: _Unit | None = None
    """None takes any score that is reported."""

    def __post_init__(self) -> None:
        """Raises `ValueError` where nothing says what it is."""
        if self.class_name is None and self.class_id is None:
            raise ValueError("neither className nor classId")

    def __str__(self) -> str:
        name = self.class_name if self.class_name is not None else f"class {self.class_id}"
        score = "" if self.score is None else f" with a score of {self.score:g}"
        return f"{name} at {[round(side, 1) for side in self.bbox]}{score}"


@dataclass(frozen=True, slots=True)
class Expectations:
    """Reads a list of expectations."""

    expected: ClassVar[str] = (
        'a list of objects with "bbox" [x, y, width, height], "className" or "classId", and "score"'
    )

    @property
    def schema(self) -> read.Schema:
        properties = {
            "bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
            "className": {"type": "string"},
            "classId": {"type": "integer", "minimum": 0},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
        }
        item = {
            "type": "object",
            "properties": properties,
            "required": ["bbox"],
            "anyOf": [{"required": ["className"]}, {"required": ["classId"]}],
            "additionalProperties": False,
        }
        return {"type": "array", "items": item}

    def __call__(self, value: Any) -> tuple[Expectation, ...]:
        try:
            return msgspec.convert(value, tuple[Expectation, ...])
        except msgspec.ValidationError as error:
            raise ValueError(f"{self.expected} ({error})") from None


@dataclass(frozen=True, slots=True)
class VerifyConfig:
    """What a slot's model has to prove on every load."""

    image: str = key(
        "image",
        "",
        read.Text(),
        "The picture, a JPEG, PNG or WebP file: a path, relative ones from the worker's working directory."
        " It is read on every load.",
        "Take one that stands for what the model is used on.",
        required=True,
    )
    expect: tuple[Expectation, ...] = key(
        "expect",
        (),
        Expectations(),
        "What must be found in it: objects with `bbox` [x, y, width, height] in pixels, `className` or"
        " `classId`, and `score`, which may be left out. What else is found does not matter.",
        "List a few clear objects, as an answer for the picture has them.",
        absent="the picture must be answered, with whatever",
    )
    iou: float = key(
        "iou",
        0.8,
        read.Number(0.0, 1.0),
        "By how much a found box must overlap the expected one: intersection over union.",
        "Lower it for small objects, and between versions of a model.",
    )
    score_tolerance: float = key(
        "scoreTolerance",
        0.1,
        read.Number(0.0, 1.0),
        "By how much a score may differ from the expected one.",
        "Raise it for models in 8 bits, and between versions of a model.",
    )
