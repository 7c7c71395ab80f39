"""Readers of single configuration values: lenient as v2 about numbers, strict about types.

None, 0 and "" never reach a reader: they mean the default. Each reader raises `ValueError`
that says what was expected; the caller adds the path of the key.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from protocol.json_values import lenient_int

Choice = TypeVar("Choice", bound=StrEnum)


class ConfigError(ValueError):
    """A configuration cannot be read; the text names the key's path and what was expected."""


def anything(value: Any) -> Any:
    """Take a value as it is: somebody else has read it."""
    return value


def text(value: Any) -> str:
    """Read a string."""
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def flag(value: Any) -> bool:
    """Read a boolean; 0 and 1 pass too."""
    if value not in (True, False):
        raise ValueError("true or false")
    return bool(value)


def whole(value: Any) -> int:
    """Read a number as v2 does: numeric strings and floats go through int().

    Raises:
        ValueError: it is no number.
    """
    try:
        return lenient_int(value)
    except ValueError:
        raise ValueError("a whole number") from None


def integer(minimum: int, maximum: int | None = None) -> Callable[[Any], int]:
    """Make a reader of whole numbers within bounds."""
    expected = f"a whole number of at least {minimum}" + (
        "" if maximum is None else f" and at most {maximum}"
    )

    def read(value: Any) -> int:
        number = whole(value)
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(expected)
        return number

    return read


def integer_or_auto(value: Any) -> int | None:
    """Read a positive number; None stands for "auto"."""
    if value == "auto":
        return None
    return integer(minimum=1)(value)


def number(minimum: float, maximum: float) -> Callable[[Any], float]:
    """Make a reader of numbers within bounds; numeric strings pass."""

    def read(value: Any) -> float:
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError
            result = float(value)
            if not minimum <= result <= maximum:
                raise ValueError
        except (ValueError, OverflowError):
            raise ValueError(f"a number from {minimum:g} to {maximum:g}") from None
        return result

    return read


def choice(kind: type[Choice]) -> Callable[[Any], Choice]:
    """Make a reader of one of an enum's words, in any case."""

    def read(value: Any) -> Choice:
        try:
            return kind(text(value).lower())
        except ValueError:
            raise ValueError("one of " + ", ".join(kind)) from None

    return read


def choice_or(default: Choice) -> Callable[[Any], Choice]:
    """Make a reader of an enum's words that takes anything else for the default (v2's batch_mode)."""

    def read(value: Any) -> Choice:
        try:
            return type(default)(value)
        except ValueError:
            return default

    return read


def size(value: Any) -> tuple[int, int]:
    """Read a side, or [width, height], in pixels."""
    sides = value if isinstance(value, list) else [value, value]
    side = integer(1, 16384)
    if len(sides) != 2:
        raise ValueError("a side in pixels, or [width, height]")
    return side(sides[0]), side(sides[1])


def labels(value: Any) -> tuple[str, ...]:
    """Read class names: a list by class id, or an object from class id to name."""
    if isinstance(value, Mapping):
        try:
            by_id = {whole(key): name for key, name in value.items()}
        except ValueError:
            raise ValueError("an object from class id to name") from None
        if not all(0 <= key < 1 << 16 for key in by_id):
            raise ValueError("class ids from 0 to 65535")
        value = [by_id.get(index, str(index)) for index in range(max(by_id, default=-1) + 1)]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("a list of class names")
    return tuple(value)


def array(value: Any) -> tuple[Any, ...]:
    """Read a list."""
    if not isinstance(value, list):
        raise ValueError("a list")
    return tuple(value)


def mapping(value: Any) -> Mapping[str, Any]:
    """Read an object."""
    if not isinstance(value, Mapping):
        raise ValueError("an object")
    return value
