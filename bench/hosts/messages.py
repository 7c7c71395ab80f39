"""What the bench and a driver tell each other: a JSON line a message, over its stdin and stdout."""

from typing import Any

from msgspec import Struct


class _Line(Struct, frozen=True, kw_only=True, rename="camel"):
    """Drivers speak camel case."""


class DriverJob(_Line, frozen=True, kw_only=True):
    """The first line to a driver: which worker it starts through its library, and what it sends."""

    command: list[str]
    """Starts the worker."""
    config: dict[str, Any]
    """The handshake, without `protocol`: the library adds it."""
    input: str
    """A `HostInput.word`."""
    width: int
    height: int
    in_flight: int
    cwd: str
    """Of the worker."""


class DriverReady(_Line, frozen=True, kw_only=True):
    """One request has been answered by a result."""

    worker_pid: int


class Run(_Line, frozen=True, kw_only=True):
    """A closed loop of so many requests."""

    run: int


class Ran(_Line, frozen=True, kw_only=True):
    """What a closed loop gave."""

    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int


class Cameras(_Line, frozen=True, kw_only=True):
    """Frames at fixed moments, by source handles."""

    seconds: float
    sources: int
    fps: int
    """Of each source."""


class Lag(_Line, frozen=True, kw_only=True):
    """Keep a timer of 5 ms beside the frames of cameras."""

    lag: Cameras


class Lagged(_Line, frozen=True, kw_only=True):
    """How late the timer was, and what became of the frames."""

    lag_p50_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    sent: int
    answered: int
    superseded: int
    failed: int


class Deaths(_Line, frozen=True, kw_only=True):
    """Requests while the worker is killed so often at random moments."""

    requests: int
    kills: int
    retries: int


class Kills(_Line, frozen=True, kw_only=True):
    """Check every answer while the worker dies again and again."""

    kills: Deaths


class Killed(_Line, frozen=True, kw_only=True):
    """What became of the requests."""

    answered: int
    """By their own result."""
    rejected: int
    wrong: int
    """Answered by another picture's result."""
    slowest_rejection_ms: float
    """After the death."""


class Recycling(_Line, frozen=True, kw_only=True):
    """First a time without a recycle, then one with a recycle every so often, both under full load."""

    seconds: float
    every_ms: int
    calm_seconds: float


class Recycle(_Line, frozen=True, kw_only=True):
    """Recycle again and again."""

    recycle: Recycling


class Recycled(_Line, frozen=True, kw_only=True):
    """What the load noticed of it."""

    failed: int
    recycles: int
    answered: int
    calm_p99_ms: float
    p99_ms: float
    calm_per_second: float
    per_second: float


class Problem(_Line, frozen=True, kw_only=True):
    """What a driver says in any answer's place when it could not do as it was told."""

    error: str = ""
