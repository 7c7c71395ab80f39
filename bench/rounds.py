"""Rounds in alternation, and the figures that each of them gives."""

from collections.abc import Callable, Sequence
from typing import Any

from bench.target import Metric
from bench.wire import Measurement

LEAD_IN = 4
"""Unmeasured requests before each run: the other side had the caches."""

Step = Callable[[str, float], None]
"""Told what is done now, and how much of the scenario is (0 to 1)."""


def alternate(measures: Sequence[Callable[[], Any]], rounds: int, step: Step) -> list[list[Any]]:
    """Take one measure after another, so many rounds; every other round in the opposite order."""
    results: list[list[Any]] = [[] for _ in measures]
    order = list(range(len(measures)))
    for number in range(rounds):
        step(f"round {number + 1} of {rounds}", 0.2 + 0.8 * number / rounds)
        for which in order if number % 2 == 0 else reversed(order):
            results[which].append(measures[which]())
    return results


def round_count(rates: Sequence[float], seconds: float, in_flight: int) -> int:
    """Return the requests of a round: the same for both sides, so that both end alike."""
    return max(round(min(rates) * seconds), 2 * in_flight, 8)


def closed_rounds(runs: Sequence[Sequence[Measurement]]) -> dict[Metric, list[float]]:
    """Return the figures of closed loops: of one side its own, of two their ratios."""
    if len(runs) == 1:
        return {**latency_rounds(runs[0]), Metric.RATE: [run.rate for run in runs[0]]}
    rounds = {Metric.RATIO: [mine.rate / theirs.rate for mine, theirs in zip(*runs, strict=True)]}
    return rounds | latency_ratios(runs, {Metric.P50_RATIO: "p50"})


def latency_rounds(runs: Sequence[Measurement]) -> dict[Metric, list[float]]:
    """Return one side's quantiles."""
    latencies = [run.latency for run in runs if run.latency]
    return {
        Metric.P50_MS: [latency.p50 for latency in latencies],
        Metric.P99_MS: [latency.p99 for latency in latencies],
    }


def latency_ratios(
    runs: Sequence[Sequence[Measurement]], wanted: dict[Metric, str]
) -> dict[Metric, list[float]]:
    """Return rival / worker for each quantile; nothing against a bare loop, which has no latencies."""
    pairs = [
        (mine.latency, theirs.latency)
        for mine, theirs in zip(*runs, strict=True)
        if mine.latency and theirs.latency and mine.latency.p50
    ]
    if not pairs:
        return {}
    return {
        metric: [getattr(theirs, name) / getattr(mine, name) for mine, theirs in pairs]
        for metric, name in wanted.items()
    }
