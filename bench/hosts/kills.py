"""A worker that dies again and again: is every request answered by its own result, or rejected soon?"""

from bench.host_scenario import HostKills
from bench.hosts.messages import Deaths, Killed, Kills
from bench.intervals import exact
from bench.rounds import Step
from bench.rows import Row, SideFigures, row_of
from bench.settings import Settings
from bench.side_maker import SideMaker
from bench.sides import SideFailedError
from bench.target import Metric

RESTART_S = 10.0
"""No restart takes longer."""


def measure(scenario: HostKills, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Send all; the driver kills the worker and checks the answers."""
    requests, kills = (
        max(1, round(number * settings.policy_share)) for number in (scenario.requests, scenario.kills)
    )
    order = Deaths(requests=requests, kills=kills, retries=scenario.retries)
    with maker.driver(scenario, scenario.input) as driver:
        step(f"{requests:,} requests, {kills} kills", 0.1)
        killed = driver.ask(Kills(kills=order), Killed, kills * RESTART_S)
    if lost := requests - killed.answered - killed.rejected - killed.wrong:
        raise SideFailedError(f"{driver.label}: {lost} of {requests} requests have no outcome")
    figures = {
        Metric.REJECTED_OR_WRONG: exact(killed.rejected + killed.wrong),
        Metric.WRONG: exact(killed.wrong),
        Metric.REJECTION_MS: exact(killed.slowest_rejection_ms),
    }
    return row_of(
        scenario,
        figures,
        worker_side=SideFigures(driver.label),
        note=f"{requests:,} requests, {kills} kills; {killed.answered:,} answered, "
        f"{killed.rejected:,} rejected",
    )
