"""What scenarios give: figures, verdicts, and what the report draws."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.intervals import Interval, median_interval
from bench.scenario import Scenario
from bench.target import Metric
from bench.wire import Latency, Measurement


@dataclass(frozen=True, slots=True)
class SideFigures:
    """Medians of one side's runs."""

    label: str
    rate: float = 0.0
    """Pictures a second."""
    latency: Latency | None = None
    """Each quantile the median over the runs."""
    cpu: float = 0.0
    """Cores that it kept busy."""
    generator_cpu: float = 0.0
    """Cores that the generator kept busy meanwhile."""
    peak_mb: float = 0.0
    seconds: float = 0.0
    """Of a start."""


@dataclass(frozen=True, slots=True)
class Point:
    """One number of requests in flight of a sweep."""

    in_flight: int
    rate: Interval
    """Pictures a second."""
    p50_ms: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a target holds."""

    target: str
    met: bool


@dataclass(frozen=True, slots=True)
class Row:
    """What a scenario gave."""

    scenario: str
    kind: str
    model: str = ""
    rival: str = ""
    note: str = ""
    """Why it was skipped or failed; else what there is to add."""
    worker_side: SideFigures | None = None
    rival_side: SideFigures | None = None
    figures: dict[Metric, Interval] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    """Mean milliseconds of a request, by stage, in a pass that was not measured."""
    points: tuple[Point, ...] = ()
    """Of a sweep."""
    rival_points: tuple[Point, ...] = ()
    rounds: dict[Metric, list[float]] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """Whether it gave anything."""
        return bool(self.figures or self.points)


def row_of(
    scenario: Scenario,
    figures: Mapping[Metric, Interval],
    *,
    worker_side: SideFigures | None = None,
    rival: str = "",
    rival_side: SideFigures | None = None,
    rounds: Mapping[Metric, list[float]] | None = None,
    stages: Mapping[str, float] | None = None,
    note: str = "",
    judged: bool = True,
) -> Row:
    """Return a row with the verdicts on a scenario's targets.

    There are none where it is not `judged`: another worker stands in the place of what they are about.
    """
    targets = scenario.targets if judged else ()
    return Row(
        scenario.title,
        kind_of(scenario),
        ", ".join(scenario.models),
        rival,
        note,
        worker_side=worker_side,
        rival_side=rival_side,
        figures=dict(figures),
        verdicts=tuple(Verdict(str(target), target.met_by(figures[target.metric])) for target in targets),
        stages=dict(stages or {}),
        rounds=dict(rounds or {}),
    )


def unmeasured(scenario: Scenario, note: str) -> Row:
    """Return the row of a scenario that gave nothing."""
    return Row(scenario.title, kind_of(scenario), ", ".join(scenario.models), note=note)


def kind_of(scenario: Scenario) -> str:
    """Return a scenario's kind as files have it."""
    return str(scenario.__struct_config__.tag)


def medians(rounds: Mapping[Metric, list[float]]) -> dict[Metric, Interval]:
    """Return each metric's median over the rounds."""
    return {metric: median_interval(values) for metric, values in rounds.items()}


def side_figures(label: str, runs: Sequence[Measurement], pictures: int = 1) -> SideFigures:
    """Return the medians of one side's runs."""
    return SideFigures(
        label,
        rate=_middle(runs, lambda run: run.rate) * pictures,
        latency=_middle_latency([run.latency for run in runs if run.latency]),
        cpu=_middle(runs, lambda run: run.subject_cpu_s / run.seconds),
        generator_cpu=_middle(runs, lambda run: run.generator_cpu_s / run.seconds),
        peak_mb=runs[-1].peak_mb,
    )


def _middle(runs: Sequence[Measurement], figure: Callable[[Measurement], float]) -> float:
    return median_interval([figure(run) for run in runs]).median


def _middle_latency(latencies: Sequence[Latency]) -> Latency | None:
    if not latencies:
        return None
    return Latency(
        p50=median_interval([each.p50 for each in latencies]).median,
        p90=median_interval([each.p90 for each in latencies]).median,
        p99=median_interval([each.p99 for each in latencies]).median,
        p999=median_interval([each.p999 for each in latencies]).median,
        curve=[
            median_interval(values).median for values in zip(*(each.curve for each in latencies), strict=True)
        ],
    )
