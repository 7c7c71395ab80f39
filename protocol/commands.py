"""The JSON commands of COMMAND packets: a table from `cmd` to a frozen struct."""

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from protocol.errors import bad_request
from protocol.json_values import decode_object, lenient_int, shown

_MAX_INDEX = 255
"""A slot's index is one byte in data requests."""
_MAX_U32 = 0xFFFF_FFFF


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


class UnknownCommand(msgspec.Struct, frozen=True):
    """A `cmd` that this version does not serve."""

    name: str


CommandRequest: TypeAlias = Load | Replace | Unload | Status | UncacheFrame | Ping | Drain | UnknownCommand

COMMANDS: dict[str, type[CommandRequest]] = {
    str(cls.__struct_config__.tag): cls for cls in (Load, Replace, Unload, Status, UncacheFrame, Ping, Drain)
}
"""`cmd` to its struct."""


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
    if name not in fields:
        raise bad_request(f'{command}: "{name}" is missing')
    try:
        return _FIELDS[name](fields[name])
    except ValueError as error:
        raise bad_request(f'{command}: "{name}": {error}') from error


def _index(value: object) -> int:
    return _within(value, _MAX_INDEX)


def _u32(value: object) -> int:
    return _within(value, _MAX_U32)


def _within(value: object, most: int) -> int:
    number = lenient_int(value)
    if not 0 <= number <= most:
        raise ValueError(f"must be 0 to {most}, got {shown(value)}")
    return number


def _config(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, got {shown(value)}")
    return value


_FIELDS: dict[str, Callable[[object], object]] = {"index": _index, "config": _config, "frameId": _u32}
"""Field name on the wire to what reads it; a field means the same in every command."""
