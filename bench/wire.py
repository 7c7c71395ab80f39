"""What the bench's own processes tell each other: a JSON line a message, over stdin and stdout."""

import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from msgspec import Struct, json

Job = TypeVar("Job", bound=Struct)


class GeneratorJob(Struct, frozen=True, kw_only=True):
    """What a generator sends, and to whom."""

    command: list[str]
    """Starts the subject: the worker, or the reference reader."""
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


class BareJob(Struct, frozen=True, kw_only=True):
    """What a bare loop runs."""

    model: str
    type: int
    payloads: list[str]
    """The same files as the generator's, so that both sides see the same pictures."""
    cached: bool
    """Prepare each picture once, and repeat predict and postprocess alone."""
    threads: int
    native_threads: int | None
    """None: as many as there are cores, spinning, as the library does by itself."""


class Order(Struct, frozen=True, kw_only=True):
    """Run so many requests."""

    count: int
    in_flight: int = 1


class Measurement(Struct, frozen=True, kw_only=True):
    """What one run gave."""

    count: int
    seconds: float
    """From the first request to the last answer."""
    subject_cpu_s: float
    peak_mb: float
    """The subject's resident memory at its highest, since it began."""
    generator_cpu_s: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.count / self.seconds


class Ready(Struct, frozen=True, kw_only=True):
    """The process is set up."""

    answer: dict[str, Any] = {}
    """The subject's ready answer."""


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
