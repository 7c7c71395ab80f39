"""What a stream of the asyncio host gives: its events, as they stand on the wire."""

from typing import Literal, NotRequired, TypeAlias, TypedDict

from worker.client_errors import Answer


class OpenedEvent(TypedDict):
    """The stream is there."""

    event: Literal["opened"]
    streamId: int
    source: str
    credit: int
    """Bytes that may be sent at first; 0 where the worker reads by itself."""


class StartedEvent(TypedDict):
    """The source has shown what it is; what is not known is None."""

    event: Literal["started"]
    codec: str | None
    container: str | None
    width: int | None
    height: int | None
    fps: float | None
    durationMs: float | None
    frames: int | None
    rotation: NotRequired[int | None]
    """Degrees clockwise by which the frames were turned."""
    pixelAspect: NotRequired[str | None]
    hardware: NotRequired[str | None]
    hardwareFallback: NotRequired[str]


class FrameEvent(TypedDict):
    """A frame has been through the models."""

    event: Literal["frame"]
    frameNumber: int
    timestampMs: float
    width: int
    height: int
    results: list[Answer]
    """One a model, in the order in which they were asked for: an answer, or `error` and `code`."""


class NeedsTailEvent(TypedDict):
    """The container has its index at its end: frames come when it is complete."""

    event: Literal["needsTail"]


class ReconnectingEvent(TypedDict):
    """The place does not answer; it is tried again."""

    event: Literal["reconnecting"]
    attempt: int
    inMs: float
    reason: str
    error: str


class ReconnectedEvent(TypedDict):
    """It answers again."""

    event: Literal["reconnected"]
    attempt: int


class EndEvent(TypedDict):
    """There is nothing more."""

    event: Literal["end"]
    final: Literal[True]
    frames: int
    dropped: int
    reason: str
    """ "eof", "closed", "cancelled" or "drained"."""


StreamEvent: TypeAlias = FrameEvent | StartedEvent | NeedsTailEvent | ReconnectingEvent | ReconnectedEvent
"""What a stream gives while it goes on. `event` tells which; a program passes over those it does not know."""
