"""Runs one scenario: rounds in alternation, figures with intervals, verdicts."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from bench.hosts import kills, lag, ratio, recycle
from bench.inputs import INPUTS
from bench.intervals import median_interval
from bench.models import model_named
from bench.policies import cancelling, endurance, fairness, overload
from bench.processes import measure_idle, measure_memory, measure_start_up
from bench.rounds import (
    LEAD_IN,
    Step,
    alternate,
    closed_rounds,
    latency_ratios,
    latency_rounds,
    round_count,
)
from bench.rows import Point, Row, SideFigures, kind_of, medians, row_of, side_figures, unmeasured
from bench.scenario import Absolute, Driven, Open, Ratio, Scenario, Sweep
from bench.settings import Settings
from bench.side_maker import LackingError, SideMaker
from bench.sides import Side
from bench.streams import first, pushed
from bench.streams import ratio as stream_ratio
from bench.target import Metric
from bench.wire import Measurement

STAGES_S = 0.3
"""About how long the pass lasts that looks into the answers."""

STAGES_MOST = 500


def run_scenario(scenario: Scenario, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Measure a scenario, or say why it is skipped."""
    missing = [name for name in scenario.models if model_named(name).missing]
    if missing:
        return unmeasured(scenario, f"skipped: no model {missing[0]!r} here")
    if maker.against and not scenario.DRIVEN:
        return unmeasured(scenario, "skipped: about one worker alone")
    try:
        return _MEASURES[kind_of(scenario)](scenario, settings, maker, step)
    except LackingError as error:
        return unmeasured(scenario, f"skipped: {error}")


def _ratio(scenario: Ratio | Absolute, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Closed-loop runs of the worker and, where there is one, its rival, in turn."""
    step("calibrating", 0.0)
    with ExitStack() as ending:
        sides = _start_sides(scenario, maker, ending)
        count = _count(sides, scenario, settings)
        runs = alternate(
            [partial(_run, side, count, scenario.in_flight) for side in sides],
            settings.rounds,
            step,
        )
        step("stages", 0.97)
        stages = _stages(sides[0], scenario.in_flight, min(run.rate for run in runs[0]))
    pictures = INPUTS[scenario.input].pictures
    figures = [side_figures(side.label, each, pictures) for side, each in zip(sides, runs, strict=True)]
    return _row(scenario, maker, figures, closed_rounds(runs), stages)


def _open(scenario: Open, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Windows of a fixed arrival rate, of the worker and, where there is one, the other worker, in turn."""
    step("calibrating", 0.0)
    with ExitStack() as ending:
        sides = _start_sides(scenario, maker, ending)
        rate = scenario.rate or scenario.load * _sustained(sides, settings)
        seconds = scenario.seconds * settings.window_share / settings.rounds
        for side in sides:
            side.run_open(rate, 0.2)
        runs = alternate([partial(side.run_open, rate, seconds) for side in sides], settings.rounds, step)
    figures = [side_figures(side.label, each) for side, each in zip(sides, runs, strict=True)]
    rounds = {**latency_rounds(runs[0]), Metric.RATE: [run.rate for run in runs[0]]}
    rounds[Metric.FRESH] = [100 * run.count / (run.count + sum(run.errors.values())) for run in runs[0]]
    if len(runs) > 1:
        rounds |= latency_ratios(runs, {Metric.P50_RATIO: "p50", Metric.P99_RATIO: "p99"})
    return _row(scenario, maker, figures, rounds, {}, f"arrivals at {rate:,.4g}/s")


def _sweep(scenario: Sweep, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Each number in flight in turn, in each round; the rival once, or at each number too."""
    step("calibrating", 0.0)
    with ExitStack() as ending:
        sides = _start_sides(scenario, maker, ending)
        cases = [(sides[0], number) for number in scenario.in_flights]
        for rival in sides[1:]:  # a bare loop has nothing in flight: once is enough
            cases += [(rival, number) for number in (scenario.in_flights if maker.against else (1,))]
        seconds = settings.round_seconds(scenario)
        measures = [
            partial(_run, side, _sweep_count(side, number, seconds), number) for side, number in cases
        ]
        runs = alternate(measures, settings.sweep_rounds, step)
    pictures = INPUTS[scenario.input].pictures
    points = [_point(number, each, pictures) for (_, number), each in zip(cases, runs, strict=True)]
    mine, theirs = points[: len(scenario.in_flights)], points[len(scenario.in_flights) :]
    best = max(mine, key=_rate_of)
    return Row(
        scenario.title,
        kind_of(scenario),
        scenario.model,
        maker.rival_name(str(scenario.rival)) if theirs else "",
        f"best at {best.in_flight} in flight",
        worker_side=SideFigures(sides[0].label, rate=_rate_of(best)),
        rival_side=SideFigures(sides[1].label, rate=max(map(_rate_of, theirs))) if theirs else None,
        points=tuple(mine),
        rival_points=tuple(theirs),
    )


def _sweep_count(side: Side, in_flight: int, seconds: float) -> int:
    return max(round(side.rate(in_flight, seconds / 4) * seconds), 2 * in_flight, 8)


def _rate_of(point: Point) -> float:
    return point.rate.median


def _point(in_flight: int, runs: Sequence[Measurement], pictures: int) -> Point:
    p50 = median_interval([run.latency.p50 if run.latency else 0.0 for run in runs]).median
    return Point(in_flight, median_interval([run.rate * pictures for run in runs]), p50)


def _start_sides(scenario: Driven, maker: SideMaker, ending: ExitStack) -> list[Side]:
    worker = ending.enter_context(maker.best_worker(scenario))
    rival = maker.rival(scenario)
    return [worker, ending.enter_context(rival)] if rival else [worker]


def _row(
    scenario: Ratio | Absolute | Open,
    maker: SideMaker,
    figures: Sequence[SideFigures],
    rounds: dict[Metric, list[float]],
    stages: dict[str, float],
    note: str = "",
) -> Row:
    rival = maker.rival_name(str(scenario.rival) if isinstance(scenario, Ratio) else "")
    return row_of(
        scenario,
        medians(rounds),
        worker_side=figures[0],
        rival=rival if len(figures) > 1 else "",
        rival_side=figures[1] if len(figures) > 1 else None,
        rounds=rounds,
        stages=stages,
        note=note,
        judged=not maker.against,
    )


def _count(sides: Sequence[Side], scenario: Ratio | Absolute, settings: Settings) -> int:
    """Return the requests of a round; of full batches, whole ones."""
    rates = [side.rate(scenario.in_flight, settings.round_s / 4) for side in sides]
    count = round_count(rates, settings.round_seconds(scenario), scenario.in_flight)
    batch = scenario.full_batches if isinstance(scenario, Ratio) else 0
    return -(-count // batch) * batch if batch else count


def _sustained(sides: Sequence[Side], settings: Settings) -> float:
    """Return the requests a second of the slower side."""
    return min(side.rate(8, settings.round_s) for side in sides)


def _run(side: Side, count: int, in_flight: int) -> Measurement:
    side.run(LEAD_IN, in_flight)
    return side.run(count, in_flight)


def _stages(side: Side, in_flight: int, rate: float) -> dict[str, float]:
    count = max(2 * in_flight, min(STAGES_MOST, round(rate * STAGES_S)))
    return side.stages(count, in_flight)


_MEASURES: dict[str, Callable[[Any, Settings, SideMaker, Step], Row]] = {
    "ratio": _ratio,
    "absolute": _ratio,
    "open": _open,
    "sweep": _sweep,
    "start-up": measure_start_up,
    "memory": measure_memory,
    "idle": measure_idle,
    "fairness": fairness.measure,
    "overload": overload.measure,
    "endurance": endurance.measure,
    "cancel": cancelling.measure,
    "host-ratio": ratio.measure,
    "host-lag": lag.measure,
    "host-kills": kills.measure,
    "host-recycle": recycle.measure,
    "stream-ratio": stream_ratio.measure,
    "stream-first": first.measure,
    "stream-pushed": pushed.measure,
}
"""By kind; each takes the scenario of its kind."""
