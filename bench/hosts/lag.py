"""How late a timer is in the event loop that also sends the frames of several cameras."""

from functools import partial

from bench.host_scenario import HostLag
from bench.hosts.driver import Driver
from bench.hosts.messages import Cameras, Lag, Lagged
from bench.rounds import Step, alternate
from bench.rows import Row, SideFigures, medians, row_of
from bench.settings import Settings
from bench.side_maker import SideMaker
from bench.sides import SideFailedError
from bench.target import Metric

WARM_UP_S = 0.5
"""Unmeasured: the code is compiled from here on."""


def measure(scenario: HostLag, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Windows of the same arrivals, one after another."""
    seconds = scenario.seconds * settings.window_share / settings.rounds
    with maker.driver(scenario, scenario.input) as driver:
        _window(scenario, driver, WARM_UP_S)
        (windows,) = alternate([partial(_window, scenario, driver, seconds)], settings.rounds, step)
    return _row(scenario, driver.label, windows)


def _window(scenario: HostLag, driver: Driver, seconds: float) -> Lagged:
    cameras = Cameras(seconds=seconds, sources=scenario.sources, fps=scenario.fps)
    return driver.ask(Lag(lag=cameras), Lagged, seconds)


def _row(scenario: HostLag, label: str, windows: list[Lagged]) -> Row:
    if failed := sum(each.failed for each in windows):
        raise SideFailedError(f"{label}: {failed} frames failed")
    rounds = {
        Metric.LAG_P99: [each.lag_p99_ms for each in windows],
        Metric.FRESH: [100 * each.answered / each.sent for each in windows],
    }
    worst = max(each.lag_max_ms for each in windows)
    superseded = sum(each.superseded for each in windows)
    return row_of(
        scenario,
        medians(rounds),
        worker_side=SideFigures(label),
        rounds=rounds,
        note=f"a timer of 5 ms, {worst:.1f} ms late at worst; {superseded:,} frames superseded",
    )
