"""Readers of single configuration values: lenient as v2 about numbers, strict about types.

None, 0, "" and "0" never reach a reader: they mean the default. Each reader raises `ValueError` that
says what was expected, the caller adds the path of the key; and each tells what it takes, in
words and as JSON Schema, for the reference documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from protocol.json_values import lenient_int

Schema = dict[str, Any]

_WHOLE_TEXT = r"^\+?0*[1-9][0-9]*(\.0*)?([eE]\+?[0-9]{1,2})?$"
"""A whole number above 0 written as a string; bounds of such strings only the reader checks."""
_NUMBER_TEXT = r"^\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_CLASS_ID = r"^(0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
"""0 to 65535, as the key of an object."""

LARGEST_SIDE = 16384
_CLASS_IDS = 1 << 16


class ConfigError(ValueError):
    """A configuration cannot be read; the text names the key's path and what was expected."""


class Reader(Protocol):
    """What reads the values of one key."""

    @property
    def expected(self) -> str:
        """What it takes, in words."""
        ...

    @property
    def schema(self) -> Schema:
        """What it takes, as JSON Schema; where that can be told strictly, no wider than the reader."""
        ...

    def __call__(self, value: Any) -> Any:
        """Return what a value means.

        Raises:
            ValueError: it is not what is expected, which is the text.
        """
        ...


@dataclass(frozen=True, slots=True)
class AsGiven:
    """Takes a value as it is: somebody else has read it, in the way that another reader describes."""

    like: Reader

    @property
    def expected(self) -> str:
        return self.like.expected

    @property
    def schema(self) -> Schema:
        return self.like.schema

    def __call__(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """Reads a string."""

    known: tuple[str, ...] = ()
    """Words that mean something; others may, by what is installed."""
    expected: ClassVar[str] = "a string"

    @property
    def schema(self) -> Schema:
        return {"type": "string"} | ({"examples": list(self.known)} if self.known else {})

    def __call__(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(self.expected)
        return value


@dataclass(frozen=True, slots=True)
class Flag:
    """Reads a boolean; 0 and 1 pass too."""

    expected: ClassVar[str] = "true or false"

    @property
    def schema(self) -> Schema:
        return {"enum": [True, False, 1]}

    def __call__(self, value: Any) -> bool:
        if value not in (True, False):
            raise ValueError(self.expected)
        return bool(value)


@dataclass(frozen=True, slots=True)
class Integer:
    """Reads whole numbers within bounds as v2 does: numeric strings and floats go through int()."""

    minimum: int
    maximum: int | None = None

    @property
    def expected(self) -> str:
        upper = "" if self.maximum is None else f" and at most {self.maximum}"
        return f"a whole number of at least {self.minimum}{upper}"

    @property
    def schema(self) -> Schema:
        upper = {} if self.maximum is None else {"exclusiveMaximum": self.maximum + 1}  # 2.7 means 2
        number = {"type": "number", "minimum": self.minimum, **upper}
        return {"anyOf": [number, {"type": "string", "pattern": _WHOLE_TEXT}]}

    def __call__(self, value: Any) -> int:
        number = whole(value)
        if number < self.minimum or (self.maximum is not None and number > self.maximum):
            raise ValueError(self.expected)
        return number


@dataclass(frozen=True, slots=True)
class IntegerOrAuto:
    """Reads a positive number; None stands for "auto"."""

    number: Integer = Integer(minimum=1)

    @property
    def expected(self) -> str:
        return f'{self.number.expected}, or "auto"'

    @property
    def schema(self) -> Schema:
        return {"anyOf": [{"const": "auto"}, *self.number.schema["anyOf"]]}

    def __call__(self, value: Any) -> int | None:
        return None if value == "auto" else self.number(value)


@dataclass(frozen=True, slots=True)
class Number:
    """Reads numbers within bounds; numeric strings pass."""

    minimum: float
    maximum: float

    @property
    def expected(self) -> str:
        return f"a number from {self.minimum:g} to {self.maximum:g}"

    @property
    def schema(self) -> Schema:
        number = {"type": "number", "minimum": self.minimum, "maximum": self.maximum}
        return {"anyOf": [number, {"type": "string", "pattern": _NUMBER_TEXT}]}

    def __call__(self, value: Any) -> float:
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError
            result = float(value)
            if not self.minimum <= result <= self.maximum:
                raise ValueError
        except (ValueError, OverflowError):
            raise ValueError(self.expected) from None
        return result


@dataclass(frozen=True, slots=True)
class Choice:
    """Reads one of an enum's words, in any case."""

    kind: type[StrEnum]

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(self.kind)

    @property
    def schema(self) -> Schema:
        words = "|".join("".join(f"[{char.upper()}{char}]" for char in word) for word in self.kind)
        return {"anyOf": [{"enum": list(self.kind)}, {"type": "string", "pattern": f"^({words})$"}]}

    def __call__(self, value: Any) -> StrEnum:
        try:
            return self.kind(value.lower() if isinstance(value, str) else "")
        except ValueError:
            raise ValueError(self.expected) from None


@dataclass(frozen=True, slots=True)
class ChoiceOr:
    """Reads an enum's words and takes anything else for the default (v2's batch_mode).

    The schema allows the words alone: it is there to find what was misspelt.
    """

    default: StrEnum

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(type(self.default))

    @property
    def schema(self) -> Schema:
        return {"enum": list(type(self.default))}

    def __call__(self, value: Any) -> StrEnum:
        try:
            return type(self.default)(value)
        except ValueError:
            return self.default


@dataclass(frozen=True, slots=True)
class Size:
    """Reads a side, or [width, height], in pixels."""

    side: Integer = Integer(1, LARGEST_SIDE)
    expected: ClassVar[str] = "a side in pixels, or [width, height]"

    @property
    def schema(self) -> Schema:
        pair = {"type": "array", "items": self.side.schema, "minItems": 2, "maxItems": 2}
        return {"anyOf": [*self.side.schema["anyOf"], pair]}

    def __call__(self, value: Any) -> tuple[int, int]:
        sides = value if isinstance(value, list) else [value, value]
        if len(sides) != 2:
            raise ValueError(self.expected)
        return self.side(sides[0]), self.side(sides[1])


@dataclass(frozen=True, slots=True)
class Labels:
    """Reads class names: a list by class id, or an object from class id to name."""

    expected: ClassVar[str] = "a list of class names, or an object from class id to name"

    @property
    def schema(self) -> Schema:
        names: Schema = {"type": "string"}
        by_id = {"patternProperties": {_CLASS_ID: names}, "additionalProperties": False}
        return {"anyOf": [{"type": "array", "items": names}, {"type": "object", **by_id}]}

    def __call__(self, value: Any) -> tuple[str, ...]:
        names = _in_order(value) if isinstance(value, Mapping) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("a list of class names")
        return tuple(names)


@dataclass(frozen=True, slots=True)
class ListOf:
    """Reads a list; what is in it is read one by one, later."""

    definition: str
    """The schema's name of one item."""
    expected: ClassVar[str] = "a list"

    @property
    def schema(self) -> Schema:
        return {"type": "array", "items": {"$ref": f"#/$defs/{self.definition}"}}

    def __call__(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(self.expected)
        return tuple(value)


@dataclass(frozen=True, slots=True)
class ObjectOf:
    """Reads an object; its keys are read by themselves."""

    definition: str
    """The schema's name of it."""
    expected: ClassVar[str] = "an object"

    @property
    def schema(self) -> Schema:
        return {"$ref": f"#/$defs/{self.definition}"}

    def __call__(self, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError(self.expected)
        return value


def whole(value: Any) -> int:
    """Read a number as v2 does: numeric strings and floats go through int().

    Raises:
        ValueError: it is no number.
    """
    try:
        return lenient_int(value)
    except ValueError:
        raise ValueError("a whole number") from None


def _in_order(names: Mapping[Any, Any]) -> list[Any]:
    """Return class names by class id; an id without a name has its number for one."""
    try:
        by_id = {whole(key): name for key, name in names.items()}
    except ValueError:
        raise ValueError("an object from class id to name") from None
    if not all(0 <= key < _CLASS_IDS for key in by_id):
        raise ValueError("class ids from 0 to 65535")
    return [by_id.get(index, str(index)) for index in range(max(by_id, default=-1) + 1)]
