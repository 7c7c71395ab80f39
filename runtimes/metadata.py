"""Reads the pairs that exporters leave in a model file. Broken ones are left out, never an error."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from runtimes.spec import ModelMetadata

MAX_LABELS = 65_536
"""More class names than any detector has: a stray huge id must not make a huge tuple."""

MAX_TEXT = 4 << 20
"""Characters of one value that are parsed as a literal; parsing takes about a hundred times the memory."""

_LITERAL_ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def read_metadata(properties: Mapping[str, str]) -> ModelMetadata:
    """Return what the pairs say, in the style of the YOLO exporters.

    Args:
        properties: `names` "{0: 'person', …}" or "['person', …]", `task`, `stride` "32" or
            "[8, 16, 32]", `imgsz` "[height, width]" or "640"; others are kept as they are.
    """
    return ModelMetadata(
        labels=parse_labels(properties.get("names", "")),
        task=properties.get("task", "").strip().lower() or None,
        stride=max(_positive_ints(properties.get("stride", "")), default=None),
        image_size=parse_image_size(properties.get("imgsz", "")),
        properties=dict(properties),
    )


def parse_labels(text: str) -> tuple[str, ...]:
    """Return class names by class id from a dict or list literal; () where there are none.

    A class id that a dict leaves out is named by its number.
    """
    value = _literal(text)
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict) or not value:
        return ()
    try:
        names = {int(key): str(name) for key, name in value.items()}
    except (TypeError, ValueError):
        return ()
    if min(names) < 0 or max(names) >= MAX_LABELS:
        return ()
    return tuple(names.get(index, str(index)) for index in range(max(names) + 1))


def parse_image_size(text: str) -> tuple[int, int] | None:
    """Return (width, height) from "[height, width]" or from one number for both."""
    match _positive_ints(text):
        case [height, width]:
            return width, height
        case [size]:
            return size, size
        case _:
            return None


def _positive_ints(text: str) -> list[int]:
    """Return the numbers of "32", "32.0" or "[8, 16, 32]"; [] where any is none or below 1."""
    value = _literal(text)
    numbers: Iterable[Any] = value if isinstance(value, list | tuple) else [value]
    try:
        whole = [int(number) for number in numbers]
    except (TypeError, ValueError, OverflowError):
        return []
    return whole if min(whole, default=0) > 0 else []


def _literal(text: str) -> Any:  # Any: whatever a stranger wrote into the file
    """Return the Python literal that `text` is, None where it is none; nothing is evaluated."""
    if len(text) > MAX_TEXT:
        return None
    try:
        return ast.literal_eval(text.strip())
    except _LITERAL_ERRORS:
        return None
