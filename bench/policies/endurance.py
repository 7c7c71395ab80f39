"""Very many requests of every kind: what stays in the worker's memory?"""

import itertools
import time
from collections.abc import Callable

from bench.intervals import exact
from bench.models import model_named
from bench.policies.host import Host
from bench.policies.mix import loads, mixed_requests
from bench.procfs import peak_megabytes, resident_megabytes
from bench.rows import Row, SideFigures, row_of
from bench.scenario import Endurance
from bench.settings import Settings
from bench.side_maker import SideMaker
from bench.target import Metric

CONCURRENCY = 2

CANCEL_EVERY = 50
LOAD_EVERY = 2_500
"""Requests from one cancel, or load, to the next."""

SETTLE_S = 0.5

EXPECTED = (
    *("bad_request", "unknown_type", "decode_failed", "model_not_loaded", "frame_not_cached"),
    "cancelled",
)
"""Errors that the mix asks for."""

_STEP_REQUESTS = 2_000


def measure(
    scenario: Endurance, settings: Settings, maker: SideMaker, step: Callable[[str, float], None]
) -> Row:
    """Send all, and look at the worker's memory early and late."""
    model = model_named(scenario.model)
    config = {
        "protocol": 3,
        "runtime": "auto",
        "concurrency": CONCURRENCY,
        "models": [{"path": model.path, **model.config}],
    }
    early, late = (round(count * settings.policy_share) for count in (scenario.early, scenario.late))
    with Host(config, ["cancel", "options"]) as host:
        sender = _Sender(host, scenario.in_flight)
        sender.run(early, lambda sent: step(f"{sent:,} requests", sent / late))
        first = _memory(host)
        sender.run(late, lambda sent: step(f"{sent:,} requests", sent / late))
        second = _memory(host)
        wrong, peak = host.lost_or_twice(EXPECTED), peak_megabytes(host.pid)
    return row_of(
        scenario,
        {Metric.RSS_GROWTH: exact(second / first), Metric.WRONG_ANSWERS: exact(wrong)},
        worker_side=SideFigures(f"concurrency {CONCURRENCY}", peak_mb=peak),
        note=f"{first:.1f} MB after {early:,}, {second:.1f} MB after {late:,}",
    )


class _Sender:
    """Keeps so many in flight, with a command now and then."""

    def __init__(self, host: Host, in_flight: int) -> None:
        self._host = host
        self._in_flight = in_flight
        self._requests = itertools.cycle(mixed_requests())
        self._sent = 0

    def run(self, until: int, progress: Callable[[int], None]) -> None:
        """Send until so many have been sent in all, and wait for the answers."""
        burst = max(1, self._in_flight // 2)
        while self._sent < until:
            self._host.wait(self._in_flight - burst)
            before, self._sent = self._sent, self._sent + burst
            ids = self._host.post(list(itertools.islice(self._requests, burst)))
            if _passed(before, self._sent, CANCEL_EVERY):
                self._host.cancel(ids[-1:])
            if _passed(before, self._sent, LOAD_EVERY):
                self._host.command(loads(self._sent // LOAD_EVERY))
            if _passed(before, self._sent, _STEP_REQUESTS):
                self._host.answers.clear()  # nobody asks for them
                progress(self._sent)
        self._host.wait()


def _passed(before: int, now: int, every: int) -> bool:
    return before // every != now // every


def _memory(host: Host) -> float:
    time.sleep(SETTLE_S)
    return resident_megabytes(host.pid)
