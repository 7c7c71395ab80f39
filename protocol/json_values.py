"""JSON as hosts send it: strict in its syntax, lenient in how numbers are written."""

import json
from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import msgspec

_OBJECT = msgspec.json.Decoder(dict[str, Any])

_SHOWN_CHARACTERS = 64
"""How much of a host's own text an error repeats; also bounds the quadratic search below."""


def decode_object(data: bytes | memoryview) -> dict[str, Any]:
    """Decode a JSON object.

    Raises:
        ValueError: it is not JSON, or not an object; one line that says which.
    """
    try:
        return _OBJECT.decode(data)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def lenient_int(value: object) -> int:
    """A number as v2 takes it: strings ("2", also "2.0") and floats go through int(), bools are no numbers.

    Raises:
        ValueError: it is no number.
    """
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return int(value)
        with suppress(ValueError, OverflowError):
            if float(value).is_integer():
                return int(float(value))
    raise ValueError(f"expected a number, got {shown(value)}")


def whole(value: Any) -> Any:  # Any: JSON, checked by the caller's next step
    """Floats without a fraction as ints, in a list too; everything else as it is."""
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shown(value: object) -> str:
    """A host's value for an error text: as JSON where it is one, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint ` (did you mean "x"?)` for a misspelt name, or nothing."""
    matches = get_close_matches(name[:_SHOWN_CHARACTERS], list(known), n=1)
    return f' (did you mean "{matches[0]}"?)' if matches else ""
