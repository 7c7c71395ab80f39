"""One source floods: what do the others notice?"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from bench.intervals import Interval, quantile_interval
from bench.policies.closed_loop import Flood, sustained
from bench.policies.host import Host, Request
from bench.policies.requests import plain_requests, with_options
from bench.rows import Row, SideFigures, row_of
from bench.scenario import Fairness
from bench.schedule import pace, random_sources
from bench.settings import Settings
from bench.side_maker import SideMaker, request_options
from bench.sides import SideFailedError
from bench.target import Metric
from bench.wire import Latency

PAIRS = 4
"""Windows without the flood and with it, in turn."""

P99 = 0.99

Latencies = Mapping[int, list[float]]
"""Seconds from the scheduled arrival, by source."""


def measure(
    scenario: Fairness, settings: Settings, maker: SideMaker, step: Callable[[str, float], None]
) -> Row:
    """Windows of the same arrivals, without the flood and with it, in turn."""
    config = maker.config(scenario, scenario.concurrency, scenario.config)
    with Host(config, ["options"], scenario.link) as host:
        step("what it sustains", 0.0)
        plain = plain_requests(maker.payloads(scenario))
        rate, _ = sustained(host, plain, scenario.sources, settings.round_s)
        requests = with_options(plain, request_options(scenario))
        quiet: Latencies = defaultdict(list)
        flooded: Latencies = defaultdict(list)
        seconds = scenario.seconds * settings.policy_share / PAIRS
        for number in range(2 * PAIRS):
            step("flooded" if number % 2 else "quiet", 0.1 + 0.9 * number / (2 * PAIRS))
            into, flood = (flooded, scenario.flood_in_flight) if number % 2 else (quiet, 0)
            window = _Window(host, requests, rate * scenario.load, seconds, seed=number // 2)
            window.run(flood, into)
        if wrong := host.lost_or_twice():
            raise SideFailedError(f"{wrong} requests are lost or were answered twice")
    return _row(scenario, rate, quiet, flooded)


class _Window:
    """One schedule of all sources, with or without a flood of the first."""

    def __init__(
        self, host: Host, requests: Sequence[Sequence[Request]], rate: float, seconds: float, seed: int
    ) -> None:
        self._host = host
        self._requests = requests
        self._arrivals = random_sources(rate, len(requests), seconds, seed)
        self._ids: list[int] = []

    def run(self, flood_in_flight: int, into: Latencies) -> None:
        """Run it, and add the latencies of all sources but the first."""
        arrivals = [each for each in self._arrivals if each.source or not flood_in_flight]
        flood = Flood(self._host, self._requests[0], flood_in_flight)
        sources = [each.source for each in arrivals]
        began = pace([each.at for each in arrivals], lambda first, end: self._send(sources[first:end]))
        self._host.wait_for(self._ids)
        flood.stop()
        self._host.wait()
        for number, arrival in zip(self._ids, arrivals, strict=True):
            answered = self._host.answers.get(number)
            if arrival.source and answered:
                into[arrival.source].append(answered.at - began - arrival.at)

    def _send(self, sources: Sequence[int]) -> None:
        self._ids += self._host.post([self._requests[source][0] for source in sources])


def _row(scenario: Fairness, rate: float, quiet: Latencies, flooded: Latencies) -> Row:
    ratios = [_ratio(quiet[source], flooded[source]) for source in sorted(quiet)]
    worst = Interval(
        max(ratio.median for ratio in ratios),
        max(ratio.low for ratio in ratios),
        max(ratio.high for ratio in ratios),
        min(ratio.coverage for ratio in ratios),
    )
    sides = [
        SideFigures(label, latency=Latency.of([value for each in values.values() for value in each]))
        for label, values in (("flooded", flooded), ("quiet", quiet))
    ]
    return row_of(
        scenario,
        {Metric.FLOODED_P99: worst},
        worker_side=sides[0],
        rival="without the flood",
        rival_side=sides[1],
        rounds={Metric.FLOODED_P99: [ratio.median for ratio in ratios]},
        note=f"{scenario.load:.0%} of {rate:,.0f}/s by {scenario.sources} sources; rounds are sources",
    )


def _ratio(quiet: Sequence[float], flooded: Sequence[float]) -> Interval:
    """Return one source's p99 with the flood over that without; the bounds take the worst of both."""
    before, after = quantile_interval(quiet, P99), quantile_interval(flooded, P99)
    return Interval(
        after.median / before.median,
        after.low / before.high,
        after.high / before.low,
        min(before.coverage, after.coverage),
    )
