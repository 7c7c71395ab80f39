"""The JSON commands of COMMAND packets: a table from `cmd` to a frozen struct."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from protocol.errors import bad_request
from protocol.json_values import decode_object, lenient_int, shown

_MAX_INDEX = 255
"""A slot's index is one byte in data requests."""
_MAX_U32 = 0xFFFF_FFFF
_MAX_FILE_BYTES = 2**63 - 1
"""Longest file that an operating system knows."""

MAX_WARMUP_RUNS = 1_000
"""Upper end of `runs`: minutes of a slow model."""

MAX_STREAM_MODELS = 16
"""How many models one stream's frames may go through."""

MetricsFormat: TypeAlias = Literal["json", "prometheus"]
_METRICS_FORMATS = get_args(MetricsFormat)


class _Command(msgspec.Struct, frozen=True, rename="camel", tag_field="cmd"):
    """What the commands share: encoded, they are the JSON object that they are parsed from."""


class Load(_Command, frozen=True, tag="load"):
    """Load a model into a slot; on one that serves, as Replace."""

    index: int
    """0 to 255."""
    config: dict[str, Any]  # Any: JSON; the worker parses it
    """The model config."""


class Replace(_Command, frozen=True, tag="replace"):
    """Load a model beside the one that serves, and swap."""

    index: int
    """0 to 255."""
    config: dict[str, Any]  # Any: JSON; the worker parses it
    """The model config."""


class Unload(_Command, frozen=True, tag="unload"):
    """Empty a slot for what comes after."""

    index: int
    """0 to 255."""


class Status(_Command, frozen=True, tag="status"):
    """Tell what the slots hold."""


class UncacheFrame(_Command, frozen=True, tag="uncache_frame"):
    """Forget a cached frame."""

    frame_id: int


class Ping(_Command, frozen=True, tag="ping"):
    """Tell that the worker lives, and since when."""


class Drain(_Command, frozen=True, tag="drain"):
    """Take no more data requests, and answer when the last one is done."""


class Cancel(_Command, frozen=True, tag="cancel"):
    """Let go of the data requests under an id, as far as they have not reached predict."""

    request_id: int
    """Of the requests that are meant, not the command's own."""


class Warmup(_Command, frozen=True, tag="warmup"):
    """Run blank pictures through a slot."""

    index: int
    """0 to 255."""
    runs: int = 1
    """1 to MAX_WARMUP_RUNS."""


class Metrics(_Command, frozen=True, tag="metrics"):
    """Tell what was counted and measured."""

    format: MetricsFormat = "json"


class RegionAttach(_Command, frozen=True, tag="region_attach"):
    """Make a file's memory known under an id."""

    region_id: int
    path: str
    """Not empty, without NUL."""
    size: int
    """Bytes of the region, from the start of the file; at least 1."""
    trusted: bool = False
    """Map it in place whatever it is: the host vouches that it never shrinks."""


class RegionDetach(_Command, frozen=True, tag="region_detach"):
    """Forget a region for what comes after; answered when its last user is done."""

    region_id: int


class StreamOpen(_Command, frozen=True, tag="stream_open"):
    """Open a stream of pictures; its events come under the command's id."""

    stream_id: int
    """Chosen by the host; free again when the stream has ended."""
    source: dict[str, Any]  # Any: JSON; `stream_open` parses it
    models: tuple[int, ...] = (0,)
    """Slots that each frame goes through, 0 to 255."""
    options: dict[str, Any] | None = None
    """Stream options and request options."""


class StreamClose(_Command, frozen=True, tag="stream_close"):
    """End a stream."""

    stream_id: int


class UnknownCommand(msgspec.Struct, frozen=True):
    """A `cmd` that this version does not serve."""

    name: str


_Known: TypeAlias = (
    Load
    | Replace
    | Unload
    | Status
    | UncacheFrame
    | Ping
    | Drain
    | Cancel
    | Warmup
    | Metrics
    | RegionAttach
    | RegionDetach
    | StreamOpen
    | StreamClose
)
CommandRequest: TypeAlias = _Known | UnknownCommand

COMMANDS: dict[str, type[_Known]] = {str(cls.__struct_config__.tag): cls for cls in get_args(_Known)}
"""`cmd` to its struct."""

_DEFAULTS: dict[str, dict[str, object]] = {
    name: dict(zip(reversed(cls.__struct_encode_fields__), reversed(cls.__struct_defaults__), strict=False))
    for name, cls in COMMANDS.items()
}
"""Of each command, its optional fields by their names on the wire; they stand last in the structs."""


def parse_command(body: bytes) -> CommandRequest:
    """Parse a command. Keys that it does not know are ignored.

    Raises:
        WireError: bad_request; not JSON, not an object, no `cmd`, or a missing or unusable field.
    """
    try:
        fields = decode_object(body)
    except ValueError as error:
        raise bad_request(f"command: {error}") from error
    name = fields.get("cmd")
    if not isinstance(name, str):
        raise bad_request(
            'command: "cmd" must be a string' if "cmd" in fields else 'command: "cmd" is missing'
        )
    command_class = COMMANDS.get(name)
    if command_class is None:
        return UnknownCommand(name)
    make: Callable[..., CommandRequest] = command_class
    return make(*(_field(name, fields, field) for field in command_class.__struct_encode_fields__))


def encode_command(command: CommandRequest) -> bytes:
    """The JSON object of a command, for hosts. An UnknownCommand goes without fields."""
    if isinstance(command, UnknownCommand):
        return msgspec.json.encode({"cmd": command.name})
    return msgspec.json.encode(command)


def _field(command: str, fields: dict[str, Any], name: str) -> object:
    """One field, checked; WireError names the command and the field."""
    defaults = _DEFAULTS[command]
    if name in defaults and fields.get(name) is None:
        return defaults[name]
    if name not in fields:
        raise bad_request(f'{command}: "{name}" is missing')
    try:
        return _FIELDS[name](fields[name])
    except ValueError as error:
        raise bad_request(f'{command}: "{name}": {error}') from error


def _within(least: int, most: int, value: object) -> int:
    number = lenient_int(value)
    if not least <= number <= most:
        raise ValueError(f"must be {least} to {most}, got {shown(value)}")
    return number


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, got {shown(value)}")
    return value


def _path(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"must be a string that is not empty and has no NUL, got {shown(value)}")
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, got {shown(value)}")
    return value


def _models(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_STREAM_MODELS:
        raise ValueError(f"must be a list of 1 to {MAX_STREAM_MODELS} indexes, got {shown(value)}")
    return tuple(_within(0, _MAX_INDEX, index) for index in value)


def _metrics_format(value: object) -> object:
    if value not in _METRICS_FORMATS:
        raise ValueError(f'must be "json" or "prometheus", got {shown(value)}')
    return value


_u32 = partial(_within, 0, _MAX_U32)

_FIELDS: dict[str, Callable[[object], object]] = {
    "index": partial(_within, 0, _MAX_INDEX),
    "config": _object,
    "frameId": _u32,
    "requestId": _u32,
    "runs": partial(_within, 1, MAX_WARMUP_RUNS),
    "format": _metrics_format,
    "regionId": _u32,
    "path": _path,
    "size": partial(_within, 1, _MAX_FILE_BYTES),
    "trusted": _bool,
    "streamId": _u32,
    "source": _object,
    "models": _models,
    "options": _object,
}
"""Field name on the wire to what reads it; a field means the same in every command."""
