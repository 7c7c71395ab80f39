"""What a fake model's path says: `fake:NAME?key=value&…`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from runtimes.errors import ModelLoadError
from runtimes.file_kinds import FAKE_SCHEME
from runtimes.spec import Layout

_MAX_SIDE = 16_384
_MAX_BATCH = 4096
_MAX_MB = 4096
_MAX_MS = 86_400_000.0


@dataclass(frozen=True, slots=True)
class FakeOptions:
    """The options that every fake model takes."""

    width: int = 640
    height: int = 640
    """`size` sets both."""
    channels: int = 3
    layout: Layout = Layout.NCHW
    dtype: str = "float32"
    batch: int = 32
    """`max_batch_size`."""
    ms: float = 0.0
    """Milliseconds of one predict call (of the load, for `slowload`)."""
    ms_per_item: float = 0.0
    """Milliseconds more for each item of a call."""
    load_ms: float = 0.0
    """Milliseconds that the load takes."""
    labels: tuple[str, ...] = ()
    mb: int = 0
    """Mebibytes of memory that the model keeps, touched, until it is closed."""


def parse_fake_uri(uri: str) -> tuple[str, dict[str, Any]]:
    """Return a fake model's name and the fields of `FakeOptions` that its path sets.

    Raises:
        ModelLoadError: a key is unknown or given twice, or a value is not of its kind.
    """
    if not uri.startswith(FAKE_SCHEME):
        raise ModelLoadError(f"{uri!r} is no fake model: expected fake:NAME?key=value")
    name, _, query = uri.removeprefix(FAKE_SCHEME).partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as exc:
        raise ModelLoadError(f"cannot read the options of {uri!r}: {exc}") from exc
    values: dict[str, Any] = {}
    # `size` first: width and height override it wherever they stand.
    for key, text in sorted(pairs, key=lambda pair: pair[0] != "size"):
        values.update(_parse(key, text))
    if len({key for key, _ in pairs}) != len(pairs):
        raise ModelLoadError(f"{uri!r} gives an option twice")
    return unquote(name), values


def _parse(key: str, text: str) -> Mapping[str, Any]:
    option = _OPTIONS.get(key)
    if option is None:
        raise ModelLoadError(f"unknown option {key!r} of a fake model: expected one of {', '.join(_OPTIONS)}")
    fields, parse = option
    try:
        value = parse(text)
    except ValueError as exc:
        raise ModelLoadError(f"option {key!r} of a fake model: {exc}") from exc
    return dict.fromkeys(fields, value)


def _whole(limit: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if not 1 <= number <= limit:
            raise ValueError(f"expected 1 to {limit}, got {number}")
        return number

    return parse


def _milliseconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= _MAX_MS:
        raise ValueError(f"expected milliseconds from 0 to {_MAX_MS:.0f}, got {text}")
    return number


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, got {text!r}")
        return text

    return parse


def _channels(text: str) -> int:
    return int(_one_of("1", "3")(text))


def _labels(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


_OPTIONS: Mapping[str, tuple[tuple[str, ...], Callable[[str], Any]]] = {
    "size": (("width", "height"), _whole(_MAX_SIDE)),
    "width": (("width",), _whole(_MAX_SIDE)),
    "height": (("height",), _whole(_MAX_SIDE)),
    "channels": (("channels",), _channels),
    "layout": (("layout",), Layout),
    "dtype": (("dtype",), _one_of("float32", "float16", "uint8")),
    "batch": (("batch",), _whole(_MAX_BATCH)),
    "ms": (("ms",), _milliseconds),
    "ms_per_item": (("ms_per_item",), _milliseconds),
    "load_ms": (("load_ms",), _milliseconds),
    "labels": (("labels",), _labels),
    "mb": (("mb",), _whole(_MAX_MB)),
}
"""Key → the fields that it sets, and how its text is read."""
