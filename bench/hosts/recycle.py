"""One worker takes the place of the last under full load: what do the requests notice?"""

from bench.host_scenario import HostRecycle
from bench.hosts.messages import Recycle, Recycled, Recycling
from bench.intervals import exact
from bench.rounds import Step
from bench.rows import Row, SideFigures, row_of
from bench.settings import Settings
from bench.side_maker import SideMaker
from bench.sides import SideFailedError
from bench.target import Metric


def measure(scenario: HostRecycle, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """A time without a recycle, then one with a recycle every so often."""
    share = settings.policy_share
    # However short it is, one recycle at least takes place and ends.
    seconds = max(scenario.seconds * share, 1.5 * scenario.every_s)
    order = Recycling(
        seconds=seconds, every_ms=round(1000 * scenario.every_s), calm_seconds=scenario.calm_seconds * share
    )
    with maker.driver(scenario, scenario.input) as driver:
        step("recycling", 0.1)
        recycled = driver.ask(Recycle(recycle=order), Recycled, order.seconds + order.calm_seconds)
    if not recycled.recycles:
        raise SideFailedError(f"{driver.label}: nothing was recycled in {seconds:g} s")
    return _row(scenario, driver.label, recycled)


def _row(scenario: HostRecycle, label: str, recycled: Recycled) -> Row:
    figures = {
        Metric.FAILED: exact(recycled.failed),
        Metric.RECYCLED_P99: exact(recycled.p99_ms / recycled.calm_p99_ms),
    }
    return row_of(
        scenario,
        figures,
        worker_side=SideFigures(label, rate=recycled.per_second),
        rival="without a recycle",
        rival_side=SideFigures("calm", rate=recycled.calm_per_second),
        note=f"{recycled.recycles} recycles, {recycled.answered:,} answered; "
        f"p99 {recycled.p99_ms:.1f} ms, {recycled.calm_p99_ms:.1f} ms without",
    )
