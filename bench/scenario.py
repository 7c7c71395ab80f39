"""What is measured, and what it should come to: one frozen struct a kind of scenario."""

from typing import Any, Literal, TypeAlias

from msgspec import field

from bench.host_scenario import HostKills, HostLag, HostRatio, HostRecycle
from bench.scenario_base import Base, Link, Positive, Rival, Seconds, Share
from bench.stream_scenario import StreamFirst, StreamPushed, StreamRatio
from bench.target import Metric


class Driven(Base, frozen=True, kw_only=True):
    """Requests of one kind to one model."""

    model: str
    """A key of `bench.models.MODELS`, or a model's path or URI."""
    input: str
    """A key of `bench.inputs.INPUTS`."""
    link: Link = "pipe"
    config: dict[str, Any] = field(default_factory=dict)
    """What the handshake says besides the defaults."""
    model_config: dict[str, Any] = field(default_factory=dict)
    """What the model's configuration says besides its path."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of each request, by their names on the wire."""
    sources: int = 0
    """That many sources take turns (the option `source`); 0: none is named."""
    concurrency: int = 0
    """0: the better of 1 and 2, by a short trial."""

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model,)

    def _words(self, *more: str) -> str:
        mode = str(self.config.get("batch_mode", ""))
        words = (self.model, self.input, mode, "socket" if self.link == "socket" else "", *more)
        return " ".join(word for word in words if word)


class Ratio(Driven, frozen=True, kw_only=True, tag="ratio"):
    """Requests a second against a rival, in pairs of closed-loop runs."""

    METRICS = frozenset({Metric.RATIO, Metric.P50_RATIO})

    in_flight: Positive
    rival: Rival
    rival_config: dict[str, Any] = field(default_factory=dict)
    """Handshake of the other worker, where the rival is one."""
    full_batches: int = 0
    """The bare loop predicts so many in one call, from one thread with a core's worth of native ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rival not in {Rival.BARE, Rival.REFERENCE, Rival.WORKER}:
            raise ValueError(f"{self.rival or 'none'!r} is no rival of a ratio")

    def _made_name(self) -> str:
        return self._words(f"x{self.in_flight}")


class Absolute(Driven, frozen=True, kw_only=True, tag="absolute"):
    """Latency and requests a second of the worker alone, closed loop."""

    METRICS = frozenset({Metric.P50_MS, Metric.P99_MS, Metric.RATE})

    in_flight: Positive

    def _made_name(self) -> str:
        return self._words(f"x{self.in_flight}")


class Open(Driven, frozen=True, kw_only=True, tag="open"):
    """Latency at a fixed arrival rate, counted from the scheduled arrival."""

    METRICS = frozenset({Metric.P50_MS, Metric.P99_MS, Metric.RATE, Metric.FRESH})

    rate: float = 0.0
    """Requests a second."""
    load: float = 0.0
    """Or this share of what a short closed loop sustains."""
    seconds: Seconds = 10.0
    """In all; the rounds share them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.rate > 0) == (self.load > 0):
            raise ValueError("either rate or load must be above 0")

    def _made_name(self) -> str:
        return "open " + self._words(f"at {self.load:g}" if self.load else f"at {self.rate:g}/s")


class Sweep(Driven, frozen=True, kw_only=True, tag="sweep"):
    """Requests a second over the number in flight."""

    in_flights: tuple[Positive, ...] = (1, 2, 4, 8, 16)
    rival: Literal["bare loop", ""] = ""

    def _made_name(self) -> str:
        return "sweep " + self._words()


class StartUp(Driven, frozen=True, kw_only=True, tag="start-up"):
    """Seconds to the ready answer, beyond what importing the libraries takes."""

    METRICS = frozenset({Metric.EXTRA_S})

    def _made_name(self) -> str:
        return f"start-up {self._words()}"


class Memory(Driven, frozen=True, kw_only=True, tag="memory"):
    """Peak resident memory beyond the bare loop's, in fresh processes."""

    METRICS = frozenset({Metric.EXTRA_MB})

    in_flight: Positive = 16

    def _made_name(self) -> str:
        return f"memory {self._words(f'x{self.in_flight}')}"


class Idle(Base, frozen=True, kw_only=True, tag="idle"):
    """What a worker with models loaded does while nobody asks."""

    METRICS = frozenset({Metric.CPU, Metric.WAKE_UPS})
    DRIVEN = False

    loaded: tuple[str, ...]
    """Models; those that are not here are left out."""
    seconds: Seconds = 10.0

    def _made_name(self) -> str:
        return f"idle {len(self.loaded)} models"


class _Policy(Driven, frozen=True, kw_only=True):
    """One worker, no rival: what its queue does."""

    DRIVEN = False

    concurrency: int = 1
    seconds: Seconds = 20.0


class Fairness(_Policy, frozen=True, kw_only=True, tag="fairness"):
    """Several sources at a modest rate; one of them floods half of the time."""

    METRICS = frozenset({Metric.FLOODED_P99})

    sources: int = 16
    load: Share = 0.6
    """Of all sources together, as a share of what is sustained."""
    flood_in_flight: Positive = 64

    def _made_name(self) -> str:
        return f"fairness {self._words(f'{self.sources} sources')}"


class Overload(_Policy, frozen=True, kw_only=True, tag="overload"):
    """More than is sustained: who is answered gets a fresh answer."""

    METRICS = frozenset({Metric.AGE, Metric.RSS_GROWTH, Metric.WRONG_ANSWERS, Metric.FRESH})

    load: Share = 1.2
    seconds: Seconds = 60.0
    deadline_predicts: float = 0.0
    """Each request has this many predict times as its `deadlineMs`; 0: none."""

    def _made_name(self) -> str:
        how = "deadlineMs" if self.deadline_predicts else "supersede" if self.options else ""
        return f"overload {self._words(how)}"


class Endurance(Base, frozen=True, kw_only=True, tag="endurance"):
    """Mixed requests of every kind; resident memory late against early."""

    METRICS = frozenset({Metric.RSS_GROWTH, Metric.WRONG_ANSWERS})
    DRIVEN = False

    model: str = "fake:noop?size=64"
    early: Positive = 20_000
    """Requests before the first look."""
    late: Positive = 200_000
    """And before the second."""
    in_flight: Positive = 32

    def _made_name(self) -> str:
        return f"endurance {self.late:,} requests"


class Cancel(Base, frozen=True, kw_only=True, tag="cancel"):
    """`cancel` at every stage of a request, under load."""

    METRICS = frozenset({Metric.WRONG_ANSWERS, Metric.MISCOUNTED})
    DRIVEN = False

    each: Positive = 1_000
    """Requests a stage."""
    load_in_flight: Positive = 8

    def _made_name(self) -> str:
        return f"cancel {self.each:,} a stage"


Scenario: TypeAlias = (
    Ratio
    | Absolute
    | Open
    | Sweep
    | StartUp
    | Memory
    | Idle
    | Fairness
    | Overload
    | Endurance
    | Cancel
    | HostRatio
    | HostLag
    | HostKills
    | HostRecycle
    | StreamRatio
    | StreamFirst
    | StreamPushed
)
"""`kind` in a file tells which."""
