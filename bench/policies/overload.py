"""More arrives than is sustained: are those who are answered answered freshly?"""

import time
from collections.abc import Callable, Sequence
from statistics import median

from bench.intervals import Interval, exact, quantile_interval
from bench.policies.closed_loop import sustained
from bench.policies.host import Answered, Host, Request
from bench.policies.requests import plain_requests, with_options
from bench.procfs import resident_megabytes
from bench.rows import Row, SideFigures, row_of
from bench.scenario import Overload
from bench.schedule import even, pace
from bench.settings import Settings
from bench.side_maker import SideMaker, request_options
from bench.sides import SideFailedError
from bench.target import Metric
from bench.wire import Latency

IN_FLIGHT = 4
"""Of the closed loop that tells what is sustained."""

SAMPLE_S = 0.25
"""Between two looks at the worker's memory."""

P99 = 0.99

EXPECTED = ("superseded", "deadline_exceeded")
"""Errors that are no fault here."""


def measure(
    scenario: Overload, settings: Settings, maker: SideMaker, step: Callable[[str, float], None]
) -> Row:
    """Arrivals at a fixed rate above what is sustained."""
    config = maker.config(scenario, scenario.concurrency, scenario.config)
    with Host(config, ["options"], scenario.link) as host:
        step("what it sustains", 0.0)
        plain = plain_requests(maker.payloads(scenario))
        rate, predict_ms = sustained(host, plain, IN_FLIGHT, settings.round_s)
        requests = with_options(plain, _options(scenario, predict_ms))
        step(f"{scenario.load:g} of {rate:,.0f}/s", 0.1)
        run = _Run(host, requests, even(rate * scenario.load, _count(scenario, settings, rate)))
        wrong = host.lost_or_twice(EXPECTED)
        return _row(scenario, run, wrong, rate)


def _count(scenario: Overload, settings: Settings, rate: float) -> int:
    return max(8, round(rate * scenario.load * scenario.seconds * settings.policy_share))


def _options(scenario: Overload, predict_ms: float) -> list[dict[str, object]]:
    more = {"deadlineMs": scenario.deadline_predicts * predict_ms} if scenario.deadline_predicts else {}
    return [{**each, **more} for each in request_options(scenario) or [{}]]


class _Run:
    """The arrivals, and what became of them."""

    def __init__(self, host: Host, requests: Sequence[Sequence[Request]], schedule: Sequence[float]) -> None:
        self._host = host
        self._requests = requests
        self._ids: list[int] = []
        self._sampled_at = 0.0
        self.memory_mb: list[float] = []
        began = pace(schedule, self._send)
        host.wait()
        answers = [host.answers.get(number) for number in self._ids]
        self.arrived = len(answers)
        self.results: list[Answered] = []
        self.ages: list[float] = []
        for scheduled, answered in zip(schedule, answers, strict=True):
            if answered and not answered.outcome.code:
                self.results.append(answered)
                self.ages.append(answered.at - began - scheduled)

    def _send(self, first: int, end: int) -> None:
        for number in range(first, end):
            of_source = self._requests[number % len(self._requests)]
            self._ids += self._host.post([of_source[number % len(of_source)]])
        now = time.perf_counter()
        if now - self._sampled_at > SAMPLE_S:
            self._sampled_at = now
            self.memory_mb.append(resident_megabytes(self._host.pid))


def _row(scenario: Overload, run: _Run, wrong: int, rate: float) -> Row:
    if not run.results:
        raise SideFailedError("no request was answered by a result")
    predict_s = median(each.outcome.timings["predict"] for each in run.results) / 1000
    age = quantile_interval(run.ages, P99)
    half = len(run.memory_mb) // 2
    grown = median(run.memory_mb[half:]) / median(run.memory_mb[: half or 1])
    return row_of(
        scenario,
        {
            Metric.AGE: Interval(
                age.median / predict_s, age.low / predict_s, age.high / predict_s, age.coverage
            ),
            Metric.FRESH: exact(100 * len(run.results) / run.arrived),
            Metric.RSS_GROWTH: exact(grown),
            Metric.WRONG_ANSWERS: exact(wrong),
        },
        worker_side=SideFigures(
            f"concurrency {scenario.concurrency}",
            latency=Latency.of(run.ages),
            peak_mb=max(run.memory_mb),
        ),
        note=f"{run.arrived:,} arrivals at {scenario.load:g} of {rate:,.1f}/s, "
        f"predict {predict_s * 1000:.1f} ms",
    )
