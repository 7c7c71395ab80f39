"""What the bench's own processes tell each other: a JSON line a message, over stdin and stdout."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeVar

from msgspec import Struct, json

from bench.intervals import percentile

Job = TypeVar("Job", bound=Struct)

CURVE = (*(step / 50 for step in range(50)), 0.99, 0.995, 0.999, 1.0)
"""The shares at which a distribution of latencies is told."""


class GeneratorJob(Struct, frozen=True, kw_only=True):
    """What a generator sends, and to whom."""

    command: list[str]
    """Starts the subject: the worker, or what stands in its place."""
    config: dict[str, Any]
    """The handshake."""
    link: str = "pipe"
    """A key of `bench.link.LINKS`."""
    type: int
    """Of the requests that are measured."""
    payloads: list[str] = []
    """Files with the payloads, sent in turn."""
    setup_type: int = 0
    setup_payloads: list[str] = []
    """Sent once, before anything is measured."""
    region_file: str = ""
    """What is written into a sealed memory file that is attached as a region; "": there is none."""
    region_id: int = 0
    options: list[dict[str, Any]] = []
    """Of the requests, in turn."""
    features: list[str] = []
    """Of protocol 3, that the requests use."""


class BareJob(Struct, frozen=True, kw_only=True):
    """What a bare loop runs."""

    model: str
    postprocessor: str = "yolo"
    type: int
    payloads: list[str]
    """The same pictures as the generator's."""
    cached: bool
    """Prepare each picture once, and repeat predict and postprocess alone."""
    threads: int
    native_threads: int | None
    """None: as many as there are cores, spinning, as the library does by itself."""
    batch: int = 1
    """Pictures in one call."""


class Order(Struct, frozen=True, kw_only=True):
    """Run so many requests."""

    count: int
    in_flight: int = 1
    """Closed loop: so many are kept in flight."""
    rate: float = 0.0
    """Open loop where it is above 0: so many arrive a second, whatever is answered."""
    stages: bool = False
    """Closed loop that looks into the answers for their `timings`: not to be measured by."""


class Latency(Struct, frozen=True, kw_only=True):
    """Milliseconds from sending (open loop: from the scheduled arrival) to the answer."""

    p50: float
    p99: float
    p90: float = 0.0
    """0 where the side does not tell; so is the next."""
    p999: float = 0.0
    curve: list[float] = []
    """At the shares of `CURVE`; [] where the side does not tell."""

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Return the quantiles; all 0 where there are no values."""
        ordered = [second * 1000 for second in sorted(seconds)] or [0.0]
        p50, p90, p99, p999 = (percentile(ordered, share) for share in (0.5, 0.9, 0.99, 0.999))
        return cls(p50=p50, p90=p90, p99=p99, p999=p999, curve=[percentile(ordered, at) for at in CURVE])


class Measurement(Struct, frozen=True, kw_only=True):
    """What one run gave."""

    count: int
    """Requests; in an open loop those that were answered by a result."""
    seconds: float
    """From the first request to the last answer."""
    subject_cpu_s: float
    peak_mb: float
    """The subject's resident memory at its highest, since it began."""
    generator_cpu_s: float = 0.0
    latency: Latency | None = None
    stages: dict[str, float] = {}
    """Mean milliseconds a stage, where the order asked for them."""
    errors: dict[str, int] = {}
    """Open loop: answers that were errors, by code."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.count / self.seconds


class Ready(Struct, frozen=True, kw_only=True):
    """The process is set up."""

    answer: dict[str, Any] = {}
    """The subject's ready answer."""
    lacking: list[str] = []
    """Features that the subject does not have: nothing was sent to it."""


class Performer(Protocol):
    """What runs orders inside a process of the bench."""

    def run(self, order: Order) -> Measurement: ...

    def close(self) -> None: ...


def serve(job_type: type[Job], prepare: Callable[[Job], tuple[Performer, Ready]]) -> None:
    """Take a job and orders from stdin, and answer on stdout, until stdin ends."""
    performer, ready = prepare(json.decode(sys.stdin.readline(), type=job_type))
    _say(ready)
    try:
        for line in sys.stdin:
            _say(performer.run(json.decode(line, type=Order)))
    finally:
        performer.close()


def _say(message: Struct) -> None:
    sys.stdout.write(json.encode(message).decode() + "\n")
    sys.stdout.flush()
