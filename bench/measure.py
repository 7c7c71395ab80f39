"""Runs one scenario: rounds in alternation, figures with intervals, verdicts."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from bench.inputs import INPUTS, MODELS
from bench.intervals import Interval, median_interval
from bench.link import Link
from bench.scenarios import Kind, Metric, Scenario
from bench.sides import CONCURRENCIES, UNCALIBRATED_BARE, WORKER, Side, SideMaker, worker_config
from bench.wire import Measurement

LEAD_IN = 4
"""Unmeasured requests before each run: the other side had the caches."""

MEMORY_REQUESTS = 64
"""Four times what is in flight: every buffer has been in use."""

UNBOUND_SHARE = 0.6
"""Of `Settings.round_s`, for scenarios without a target."""

FIXED_CONCURRENCY = CONCURRENCIES[-1]
"""Where nothing is calibrated: start-up and memory."""

_IMPORTS = "import os, numpy, cv2, onnxruntime; os.write(1, b'.')"


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to measure."""

    rounds: int = 10
    round_s: float = 1.0
    """Of one side, where a round has requests enough."""
    calibrate_s: float = 0.5


@dataclass(frozen=True, slots=True)
class SideFigures:
    """Medians of one side's runs."""

    label: str
    rate: float = 0.0
    """Pictures a second."""
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    cpu: float = 0.0
    """Cores that it kept busy."""
    generator_cpu: float = 0.0
    """Cores that the generator kept busy meanwhile."""
    peak_mb: float = 0.0
    seconds: float = 0.0
    """Of a start."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a target holds."""

    target: str
    met: bool


@dataclass(frozen=True, slots=True)
class Row:
    """What a scenario gave."""

    scenario: str
    kind: Kind
    rival: str = ""
    note: str = ""
    """Why it was skipped or failed."""
    worker_side: SideFigures | None = None
    rival_side: SideFigures | None = None
    figures: dict[Metric, Interval] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    rounds: dict[Metric, list[float]] = field(default_factory=dict)


Progress = Callable[[str], None]


def run_scenario(scenario: Scenario, settings: Settings, maker: SideMaker, progress: Progress) -> Row:
    """Measure a scenario, or say why it is skipped."""
    if MODELS[scenario.model].missing:
        return Row(scenario.name, scenario.kind, scenario.rival, f"skipped: no model {scenario.model!r} here")
    return _MEASURES[scenario.kind](scenario, settings, maker, progress)


def _row(
    scenario: Scenario,
    rounds: dict[Metric, list[float]],
    worker_side: SideFigures,
    rival_side: SideFigures | None,
) -> Row:
    figures = {metric: median_interval(values) for metric, values in rounds.items()}
    verdicts = tuple(
        Verdict(str(target), target.met_by(figures[target.metric])) for target in scenario.targets
    )
    return Row(
        scenario.name,
        scenario.kind,
        scenario.rival,
        worker_side=worker_side,
        rival_side=rival_side,
        figures=figures,
        verdicts=verdicts,
        rounds=rounds,
    )


def _ratio(scenario: Scenario, settings: Settings, maker: SideMaker, progress: Progress) -> Row:
    """Pairs of runs, worker and rival in turn, the order changing each round."""
    progress("calibrating")
    with maker.best_worker(scenario) as worker, maker.rival(scenario) as rival:
        sides = (worker, rival)
        count = _count(
            min(side.rate(scenario.in_flight, settings.round_s / 4) for side in sides), scenario, settings
        )
        runs: tuple[list[Measurement], list[Measurement]] = ([], [])
        for number in range(settings.rounds):
            progress(f"round {number + 1} of {settings.rounds}")
            for which in (0, 1) if number % 2 == 0 else (1, 0):
                runs[which].append(_run(sides[which], count, scenario.in_flight))
        ratios = [mine.rate / theirs.rate for mine, theirs in zip(*runs, strict=True)]
        pictures = INPUTS[scenario.input].pictures
        figures = [_side_figures(side.label, run, pictures) for side, run in zip(sides, runs, strict=True)]
        return _row(scenario, {Metric.RATIO: ratios}, *figures)


def _absolute(scenario: Scenario, settings: Settings, maker: SideMaker, progress: Progress) -> Row:
    """Runs of the worker alone."""
    progress("calibrating")
    with maker.best_worker(scenario) as worker:
        count = _count(worker.rate(scenario.in_flight, settings.round_s / 4), scenario, settings)
        runs = []
        for number in range(settings.rounds):
            progress(f"round {number + 1} of {settings.rounds}")
            runs.append(_run(worker, count, scenario.in_flight))
        rounds = {Metric.P50_MS: [run.p50_ms for run in runs], Metric.RATE: [run.rate for run in runs]}
        return _row(scenario, rounds, _side_figures(worker.label, runs, 1), None)


def _start_up(scenario: Scenario, settings: Settings, _maker: SideMaker, progress: Progress) -> Row:
    """Fresh processes in pairs: a worker to its ready answer, and one that imports the libraries."""
    measures = (partial(_seconds_to_ready, worker_config(scenario, FIXED_CONCURRENCY)), _seconds_to_import)
    for measure in measures:
        measure()  # the files are in the page cache from here on
    seconds = _alternate(measures, settings.rounds, progress)
    labels = (f"concurrency {FIXED_CONCURRENCY}", "numpy, cv2, onnxruntime")
    figures = [
        SideFigures(label, seconds=median_interval(side).median)
        for label, side in zip(labels, seconds, strict=True)
    ]
    return _row(scenario, {Metric.EXTRA_S: _differences(seconds)}, *figures)


def _memory(scenario: Scenario, settings: Settings, maker: SideMaker, progress: Progress) -> Row:
    """Fresh processes in pairs, some requests each, and their peaks."""
    measures = (
        lambda: _peak(maker.worker(scenario, FIXED_CONCURRENCY), scenario),
        lambda: _peak(maker.bare(scenario, UNCALIBRATED_BARE), scenario),
    )
    peaks = _alternate(measures, settings.rounds, progress)
    labels = (f"concurrency {FIXED_CONCURRENCY}", UNCALIBRATED_BARE.label)
    figures = [
        SideFigures(label, peak_mb=median_interval(side).median)
        for label, side in zip(labels, peaks, strict=True)
    ]
    return _row(scenario, {Metric.EXTRA_MB: _differences(peaks)}, *figures)


_MEASURES: dict[Kind, Callable[[Scenario, Settings, SideMaker, Progress], Row]] = {
    Kind.RATIO: _ratio,
    Kind.ABSOLUTE: _absolute,
    Kind.START_UP: _start_up,
    Kind.MEMORY: _memory,
}


def _alternate(
    measures: Sequence[Callable[[], float]], rounds: int, progress: Progress
) -> tuple[list[float], list[float]]:
    results: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            results[which].append(measures[which]())
    return results


def _differences(pairs: tuple[list[float], list[float]]) -> list[float]:
    return [mine - theirs for mine, theirs in zip(*pairs, strict=True)]


def _count(rate: float, scenario: Scenario, settings: Settings) -> int:
    """Return the requests of a round: the same for both sides, so that both end alike."""
    seconds = settings.round_s * (1 if scenario.targets else UNBOUND_SHARE)
    return max(round(rate * seconds), 2 * scenario.in_flight, 8)


def _run(side: Side, count: int, in_flight: int) -> Measurement:
    side.run(LEAD_IN, in_flight)
    return side.run(count, in_flight)


def _side_figures(label: str, runs: Sequence[Measurement], pictures: int) -> SideFigures:
    def middle(figure: Callable[[Measurement], float]) -> float:
        return median_interval([figure(run) for run in runs]).median

    return SideFigures(
        label,
        rate=middle(lambda run: run.rate) * pictures,
        p50_ms=middle(lambda run: run.p50_ms),
        p95_ms=middle(lambda run: run.p95_ms),
        cpu=middle(lambda run: run.subject_cpu_s / run.seconds),
        generator_cpu=middle(lambda run: run.generator_cpu_s / run.seconds),
        peak_mb=runs[-1].peak_mb,
    )


def _peak(side: Side, scenario: Scenario) -> float:
    with side:
        return side.run(MEMORY_REQUESTS, scenario.in_flight).peak_mb


def _seconds_to_ready(config: dict[str, object]) -> float:
    began = time.perf_counter()
    link = Link(WORKER)
    link.shake_hands(config)
    seconds = time.perf_counter() - began
    link.close()
    return seconds


def _seconds_to_import() -> float:
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", _IMPORTS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        return time.perf_counter() - began
