"""What a `stream_open` says: where the pictures come from, and how they are chosen and run."""

from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec

from protocol.errors import bad_request
from protocol.json_values import nearest, shown, whole
from protocol.options import NO_OPTIONS, OPTION_NAMES, RequestOptions, parse_options

_SHOWN_CHARACTERS = 160
"""How much of a reason is told: it may repeat what the host wrote."""

_Text = Annotated[str, msgspec.Meta(min_length=1, pattern="^[^\x00]+$")]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
_Rate = Annotated[float, msgspec.Meta(gt=0, le=1000)]
_Place = Annotated[int, msgspec.Meta(ge=-(1 << 16), le=1 << 16)]


class _Source(
    msgspec.Struct,
    frozen=True,
    rename="camel",
    tag_field="type",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """What the sources share: encoded, they are the JSON object that they are parsed from."""


class PushFrom(_Source, frozen=True, tag="push"):
    """STREAM_DATA carries a growing container file: MP4, MKV, WebM, MPEG-TS."""


class PacketsFrom(_Source, frozen=True, tag="packets"):
    """Each STREAM_DATA is one frame with its header, or the continuation of one."""


class FileFrom(_Source, frozen=True, tag="file"):
    """A video file that the worker can read."""

    path: _Text
    start_frame: _Count = 0
    end_frame: _Count | None = None
    """The first frame that is left out; None: all to the end."""


class UrlFrom(_Source, frozen=True, tag="url"):
    """rtsp, rtsps (over TCP), http or https."""

    url: _Text
    reconnect: bool | None = None
    """None: RTSP does, HTTP does not."""
    timeout_ms: Annotated[float, msgspec.Meta(ge=100, le=600_000)] = 10_000.0
    """How long a place may say nothing."""


class CameraFrom(_Source, frozen=True, tag="camera"):
    """A camera of the worker's machine."""

    index: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    width: _Side = 640
    height: _Side = 480
    fps: _Rate = 30.0


class ScreenFrom(_Source, frozen=True, tag="screen"):
    """The screen of the worker's machine."""

    region: tuple[_Place, _Place, _Side, _Side] | None = None
    """x, y, width, height in pixels of the virtual screen; None: all of it."""
    fps: _Rate = 30.0


StreamSource: TypeAlias = PushFrom | PacketsFrom | FileFrom | UrlFrom | CameraFrom | ScreenFrom
SOURCE_TYPES = tuple(str(cls.__struct_config__.tag) for cls in get_args(StreamSource))


class StreamOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """How a stream's frames are chosen and decoded. camelCase on the wire."""

    max_fps: _Rate | None = None
    """By timestamps; None: every frame."""
    every_nth: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    keyframes_only: bool = False
    drop: Literal["oldest", "none"] | None = None
    """What happens to a frame that comes faster than the models take it; None: live sources drop."""
    rotate: bool = True
    """Turn pictures upright, as the container says."""
    hwaccel: Annotated[str, msgspec.Meta(max_length=32)] | None = None
    """"auto" or a device type; "none" and None: software."""
    threads: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    """Decoder threads; 0: as many as pay."""


STREAM_OPTION_NAMES: tuple[str, ...] = StreamOptions.__struct_encode_fields__


def parse_source(fields: dict[str, Any]) -> StreamSource:
    """Parse the `source` of a `stream_open`.

    Raises:
        WireError: bad_request; the text names the field.
    """
    kind = fields.get("type")
    if kind not in SOURCE_TYPES:
        raise bad_request(f"source type must be one of {', '.join(SOURCE_TYPES)}, got {shown(kind)}")
    try:
        source: StreamSource = msgspec.convert({k: whole(v) for k, v in fields.items()}, StreamSource)
    except msgspec.ValidationError as error:
        raise bad_request(f"source {kind}: {_reason(error)}") from error
    return source


def parse_stream_options(fields: dict[str, Any]) -> tuple[StreamOptions, RequestOptions]:
    """Sort the `options` of a `stream_open` into the stream's own and those of each frame's inference.

    Raises:
        WireError: bad_request; the text names the option.
    """
    for name in fields:
        if name not in STREAM_OPTION_NAMES and name not in OPTION_NAMES:
            raise bad_request(
                f"unknown option {shown(name)}{nearest(name, STREAM_OPTION_NAMES + OPTION_NAMES)}"
            )
    own = {name: whole(value) for name, value in fields.items() if name in STREAM_OPTION_NAMES}
    others = {name: value for name, value in fields.items() if name not in STREAM_OPTION_NAMES}
    try:
        options = msgspec.convert(own, StreamOptions)
    except msgspec.ValidationError as error:
        raise bad_request(f"option {_reason(error)}") from error
    return options, parse_options(msgspec.json.encode(others)) if others else NO_OPTIONS


def _reason(error: msgspec.ValidationError) -> str:
    reason, _, path = str(error).replace("`", "").rpartition(" - at $.")
    text = f"{path}: {reason[:1].lower()}{reason[1:]}" if reason else str(error)
    return text[:_SHOWN_CHARACTERS]
