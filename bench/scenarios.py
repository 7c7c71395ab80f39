"""What is measured, and what it should come to: one row a scenario."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bench.intervals import Interval


class Kind(StrEnum):
    """How a scenario is measured."""

    RATIO = "ratio"
    """Requests a second against a rival, in pairs."""
    ABSOLUTE = "absolute"
    """Latency and requests a second of the worker alone."""
    START_UP = "start-up"
    """Seconds to the ready answer, beyond what importing the libraries takes."""
    MEMORY = "memory"
    """Peak resident memory beyond the bare loop's, in fresh processes."""


class Rival(StrEnum):
    """What the worker is held against."""

    BARE = "bare loop"
    REFERENCE = "reference reader"
    IMPORTS = "imports alone"
    NONE = ""


class Metric(StrEnum):
    """A figure with an interval."""

    RATIO = "ratio"
    P50_MS = "p50 ms"
    RATE = "requests/s"
    EXTRA_S = "extra s"
    EXTRA_MB = "extra MB"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a figure should keep."""

    metric: Metric
    bound: float
    at_least: bool
    """Else at most."""

    def met_by(self, interval: Interval) -> bool:
        """A target holds when the interval reaches it."""
        return interval.high >= self.bound if self.at_least else interval.low <= self.bound

    def __str__(self) -> str:
        return f"{self.metric} {'≥' if self.at_least else '≤'} {self.bound:,g}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the bench."""

    kind: Kind
    model: str
    """A key of `bench.inputs.MODELS`."""
    input: str
    """A key of `bench.inputs.INPUTS`."""
    in_flight: int
    rival: Rival = Rival.NONE
    link: str = "pipe"
    """A key of `bench.link.LINKS`."""
    batch: dict[str, Any] = field(default_factory=dict)
    """What the handshake says of batching."""
    targets: tuple[Target, ...] = ()

    @property
    def name(self) -> str:
        """Unique, for `--only` and the tables."""
        mode = self.batch.get("batch_mode", "")
        words = (self._what, mode, "socket" if self.link == "socket" else "", f"x{self.in_flight}")
        return " ".join(word for word in words if word)

    @property
    def _what(self) -> str:
        prefix = f"{self.kind} " if self.kind in {Kind.START_UP, Kind.MEMORY} else ""
        return f"{prefix}{self.model} {self.input}"


def _at_least(metric: Metric, bound: float) -> tuple[Target, ...]:
    return (Target(metric, bound, at_least=True),)


def _at_most(metric: Metric, bound: float) -> tuple[Target, ...]:
    return (Target(metric, bound, at_least=False),)


IN_FLIGHT = (1, 4, 16)

MODEL_TARGETS = {
    ("default", "raw 640", 4): 0.85,
    ("default", "JPEG 1080p", 4): 0.85,
    ("yolov8n", "raw 640", 4): 0.90,
    ("yolov8n", "JPEG 1080p", 4): 0.90,
    ("yolov8n", "cached", 4): 0.90,
}
"""Share of the bare loop's requests a second, by model, input and requests in flight."""

READER_TARGETS = {("raw 1080p", 1): 0.75, ("raw 1080p", 8): 0.90}
"""Share of the reference reader's requests a second, by input and requests in flight."""

BATCHING: dict[str, dict[str, Any]] = {
    "none": {"batch_mode": "none"},
    "list": {"batch_mode": "list"},
    "window": {"batch_mode": "window", "window_ms": 5, "max_batch_size": 8},
    "adaptive": {"batch_mode": "adaptive"},
}

SINGLES_BATCHED = ("window", "adaptive")
"""The modes that change single requests; `none` is among the model's own rows."""


def _noop_cached() -> Iterator[Scenario]:
    yield Scenario(Kind.ABSOLUTE, "no-op", "cached", 1, targets=_at_most(Metric.P50_MS, 0.2))
    yield Scenario(Kind.ABSOLUTE, "no-op", "cached", 16, targets=_at_least(Metric.RATE, 15_000))


def _noop_raw() -> Iterator[Scenario]:
    for link in ("pipe", "socket"):
        for name in ("raw 640", "raw 1080p"):
            for in_flight in (1, 8):
                bound = READER_TARGETS.get((name, in_flight))
                targets = _at_least(Metric.RATIO, bound) if bound else ()
                yield Scenario(
                    Kind.RATIO, "no-op", name, in_flight, Rival.REFERENCE, link=link, targets=targets
                )


def _models() -> Iterator[Scenario]:
    for model in ("default", "yolov8n"):
        for name in ("raw 640", "JPEG 1080p", "cached"):
            for in_flight in IN_FLIGHT:
                bound = MODEL_TARGETS.get((model, name, in_flight))
                targets = _at_least(Metric.RATIO, bound) if bound else ()
                yield Scenario(Kind.RATIO, model, name, in_flight, Rival.BARE, targets=targets)


def _batch_modes() -> Iterator[Scenario]:
    for mode in SINGLES_BATCHED:
        yield Scenario(Kind.RATIO, "default", "raw 640", 16, Rival.BARE, batch=BATCHING[mode])
    for batch in BATCHING.values():
        yield Scenario(Kind.RATIO, "default", "batch of 8", 2, Rival.BARE, batch=batch)


def _start_up() -> Iterator[Scenario]:
    for model in ("default", "yolov8n"):
        targets = _at_most(Metric.EXTRA_S, 0.25)
        yield Scenario(Kind.START_UP, model, "raw 640", 1, Rival.IMPORTS, targets=targets)


def _memory() -> Iterator[Scenario]:
    for model in ("no-op", "default", "yolov8n"):
        targets = _at_most(Metric.EXTRA_MB, 150)
        yield Scenario(Kind.MEMORY, model, "raw 1080p", 16, Rival.BARE, targets=targets)


SCENARIOS: tuple[Scenario, ...] = (
    *_noop_cached(),
    *_noop_raw(),
    *_models(),
    *_batch_modes(),
    *_start_up(),
    *_memory(),
)
"""In the order in which they run."""
