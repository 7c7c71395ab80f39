"""Requests a second of a driver against the generator's, or against its own with another input."""

from contextlib import ExitStack
from functools import partial

from bench.host_scenario import HostRatio
from bench.rounds import LEAD_IN, Step, alternate, closed_rounds, round_count
from bench.rows import Row, medians, row_of, side_figures
from bench.settings import Settings
from bench.side_maker import SideMaker
from bench.sides import Run, settled_rate
from bench.wire import Measurement


def measure(scenario: HostRatio, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Closed-loop runs of both, in turn, with the same worker configuration on the same kind of link."""
    step("calibrating", 0.0)
    with ExitStack() as ending:
        driver = ending.enter_context(maker.driver(scenario, scenario.input))
        rival_label, rival_run = _start_rival(scenario, maker, ending)
        sides: list[Run] = [driver.run, rival_run]
        rates = [settled_rate(run, scenario.in_flight, settings.round_s / 4) for run in sides]
        count = round_count(rates, settings.round_seconds(scenario), scenario.in_flight)
        measures = [partial(_after_lead_in, run, count) for run in sides]
        runs = alternate(measures, settings.rounds, step)
    rounds = closed_rounds(runs)
    return row_of(
        scenario,
        medians(rounds),
        worker_side=side_figures(driver.label, runs[0]),
        rival=_rival_name(scenario),
        rival_side=side_figures(rival_label, runs[1]),
        rounds=rounds,
    )


def _rival_name(scenario: HostRatio) -> str:
    return f"{scenario.language} {scenario.rival_input}" if scenario.rival_input else "generator"


def _start_rival(scenario: HostRatio, maker: SideMaker, ending: ExitStack) -> tuple[str, Run]:
    if scenario.rival_input:
        other = ending.enter_context(maker.driver(scenario, scenario.rival_input))
        return other.label, other.run
    generator = ending.enter_context(maker.generator(scenario))
    return generator.label, partial(generator.run, in_flight=scenario.in_flight)


def _after_lead_in(run: Run, count: int) -> Measurement:
    run(LEAD_IN)
    return run(count)
