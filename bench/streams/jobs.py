"""What the sides of a stream's scenario are told; orders and figures are those of `bench.wire`."""

from typing import Any

from msgspec import Struct

from bench.stream_scenario import Way


class StreamJob(Struct, frozen=True, kw_only=True):
    """A worker that reads a file."""

    command: list[str]
    """Starts it."""
    config: dict[str, Any]
    """The handshake."""
    clip: str


class WatchJob(Struct, frozen=True, kw_only=True):
    """The command `watch`, started anew for every run."""

    command: list[str]
    """With all its arguments but `--frames`."""


class StreamBareJob(Struct, frozen=True, kw_only=True):
    """What a bare loop decodes, and what it makes of it."""

    model: str
    """For its input's size; and to run it where that is asked for."""
    clip: str
    way: Way = "rgb24"
    predicts: bool = False
    threads: int = 1
    """That prepare and predict; the decoder has its own."""
    native_threads: int | None = 1
    """Of each predict call; None: as the library does by itself."""
    from_first: bool = False
    """Measure from the first frame on, as is done with `watch`."""
