"""Per-request options: the JSON that precedes the payload of types with the 0x80 flag."""

import struct
from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from protocol.errors import bad_request
from protocol.json_values import decode_object, nearest, shown, whole

MAX_DETECTIONS = 10_000
"""Upper end of `maxDetections`: some 1 MB of answer."""

MAX_SOURCE_CHARACTERS = 255
"""Longest `source`: a camera's name, perhaps with a path."""

_SHOWN_CHARACTERS = 160
"""How much of a reason is told: it may repeat what the host wrote."""

_LENGTH = struct.Struct("<H")
OPTIONS_LENGTH_BYTES = _LENGTH.size

_REMEMBERED = 64
"""A few hosts' worth of distinct options: 0.1 instead of 1.3 µs (2-core x86 box), at most 4 MB for all."""

_U32 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)]
_Size = Annotated[int, msgspec.Meta(ge=1, le=0xFFFF_FFFF)]
_Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class RequestOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """What one request wants otherwise than its slot does. camelCase on the wire."""

    confidence: _Fraction | None = None
    """Least score, 0 to 1; None: the slot's."""
    iou: _Fraction = 0.45
    """Overlap above which of two boxes the weaker one goes."""
    classes: tuple[_U32 | str, ...] | None = None
    """Ids or names to keep; None: all."""
    max_detections: Annotated[int, msgspec.Meta(ge=1, le=MAX_DETECTIONS)] = 300
    agnostic: bool = False
    """NMS across classes instead of by class."""
    roi: tuple[_U32, _U32, _Size, _Size] | None = None
    """x, y, width, height in source pixels; None: the whole picture."""
    exif: bool = False
    """Turn an encoded picture as its EXIF orientation says."""
    color_space: Literal["bt601", "bt709"] = "bt601"
    """The matrix of NV12 and I420 pictures."""
    deadline_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Milliseconds from arrival; passed before predict starts, the request fails."""
    priority: Literal["high", "normal", "low"] = "normal"
    """What waits for one slot goes by priority, strictly."""
    source: Annotated[str, msgspec.Meta(max_length=MAX_SOURCE_CHARACTERS)] | None = None
    """Which camera it is from: sources take turns. "" is a name like any other; None: the unnamed one."""
    supersede: bool = False
    """Older requests of its source and model that have not reached predict are `superseded`."""
    batch_hint: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)] | None = None
    """So many requests for this model are coming, this one among them; None: no hint."""
    batch_hint_ms: Annotated[float, msgspec.Meta(gt=0, le=60_000)] = 20.0
    """Milliseconds for which `batch_hint` holds its requests back at most."""


NO_OPTIONS = RequestOptions()
"""What a request without the 0x80 flag has."""

OPTION_NAMES: tuple[str, ...] = RequestOptions.__struct_encode_fields__
"""camelCase, as on the wire."""

_WHOLE_NUMBERS = ("roi", "maxDetections", "classes", "batchHint")
"""Options of integers. Hosts whose only number is a float may write 8.0."""


@lru_cache(maxsize=_REMEMBERED)
def parse_options(data: bytes) -> RequestOptions:
    """Parse the options' JSON. Hosts send the same bytes over and over, so the last ones are remembered.

    Raises:
        WireError: bad_request; the text names the option.
    """
    try:
        fields = decode_object(data)
    except ValueError as error:
        raise bad_request(f"options: {error}") from error
    for name in fields:
        if name not in OPTION_NAMES:
            raise bad_request(f"unknown option {shown(name)}{nearest(name, OPTION_NAMES)}")
    for name in _WHOLE_NUMBERS:
        if name in fields:
            fields[name] = whole(fields[name])
    try:
        return msgspec.convert(fields, RequestOptions)
    except msgspec.ValidationError as error:
        raise bad_request(_named(str(error))) from error


def split_options(payload: memoryview) -> tuple[RequestOptions, memoryview]:
    """The options before an ordinary payload, and that payload.

    Raises:
        WireError: bad_request; the prefix is cut short or says something wrong.
    """
    if len(payload) < OPTIONS_LENGTH_BYTES:
        raise bad_request("truncated options length")
    end = options_end(payload)
    if len(payload) < end:
        raise bad_request("truncated options")
    return parse_options(bytes(payload[OPTIONS_LENGTH_BYTES:end])), payload[end:]


def options_end(payload: memoryview) -> int:
    """Where the ordinary payload begins. The payload must hold the two bytes of the length."""
    length: int = _LENGTH.unpack_from(payload)[0]
    return OPTIONS_LENGTH_BYTES + length


def encode_options(options: RequestOptions) -> bytes:
    """The prefix: length and JSON. What is at its default is left out.

    Raises:
        ValueError: they take more bytes than the length can say.
    """
    text = msgspec.json.encode(options)
    if len(text) > 0xFFFF:
        raise ValueError(f"options take {len(text)} bytes, at most 65535 fit")
    return _LENGTH.pack(len(text)) + text


def _named(text: str) -> str:
    """Turn "Expected `float` <= 1.0 - at `$.iou`" into "option iou: expected float <= 1.0"."""
    reason, _, path = text.replace("`", "").rpartition(" - at $.")
    return f"option {path}: {reason[:1].lower()}{reason[1:_SHOWN_CHARACTERS]}"
