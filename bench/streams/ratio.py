"""Frames a second of a file through the worker, against bare loops, in alternation."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from bench.rounds import Step, alternate
from bench.rows import Row, medians, row_of, side_figures, unmeasured
from bench.scenario_base import Rival
from bench.settings import Settings
from bench.side_maker import CONCURRENCIES, WORKER, LackingError, SideMaker
from bench.sides import Side
from bench.stream_scenario import StreamRatio, Way
from bench.streams.clips import NO_PYAV, packet_count, require_pyav, video
from bench.streams.jobs import StreamBareJob, StreamJob, WatchJob
from bench.target import Metric
from bench.wire import Measurement
from runtimes.cores import available_cores

TRIAL_FRAMES = 50
"""Of each variant, twice, before one is chosen."""

_METRICS: dict[Way, Metric] = {"rgb24": Metric.RATIO, "I420": Metric.I420_RATIO}


def measure(scenario: StreamRatio, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Runs of the same frames on each side, in turn; only one side works at a time."""
    require_pyav()
    if not video(scenario.clip).exists():
        return unmeasured(scenario, f"skipped: no video {scenario.clip!r} here")
    step("calibrating", 0.0)
    frames = scenario.frames or packet_count(video(scenario.clip))
    with ExitStack() as ending:
        worker = ending.enter_context(_best([*_subjects(scenario, maker, settings)]))
        bare = [
            ending.enter_context(_best(_bare_loops(scenario, maker, way, settings))) for way in scenario.ways
        ]
        runs = alternate([partial(_run, side, frames) for side in (worker, *bare)], settings.rounds, step)
    rounds = {
        _METRICS[way]: [mine.rate / theirs.rate for mine, theirs in zip(runs[0], rival, strict=True)]
        for way, rival in zip(scenario.ways, runs[1:], strict=True)
    }
    return row_of(
        scenario,
        medians(rounds),
        worker_side=side_figures(worker.label, runs[0]),
        rival=Rival.BARE,
        rival_side=side_figures(bare[0].label, runs[1]),
        rounds=rounds,
        note=_note(frames, [worker, *bare], runs),
    )


def _run(side: Side, frames: int) -> Measurement:
    return side.run(frames, 1)


def _note(frames: int, sides: Sequence[Side], runs: Sequence[Sequence[Measurement]]) -> str:
    """CPU time tells more than the clock where something else ran meanwhile."""
    figures = [side_figures(side.label, each) for side, each in zip(sides, runs, strict=True)]
    cpu = "; ".join(f"{each.label} {each.cpu / each.rate * 1000:.2f}" for each in figures)
    return f"{frames} frames; CPU ms a frame: {cpu}"


def _best(sides: Sequence[Side]) -> Side:
    """Keep the quickest of sides that are started, and end the others."""
    if len(sides) == 1:
        return sides[0]
    with ExitStack() as ending:
        for side in sides:
            ending.callback(side.close)
        # In two rounds, as the machine may be slow during one.
        tries = [[_run(side, TRIAL_FRAMES).rate for side in sides] for _ in range(2)]
        rates = [max(each) for each in zip(*tries, strict=True)]
        best = sides[rates.index(max(rates))]
        ending.pop_all()
    for side in sides:
        if side is not best:
            side.close()
    return best


def _subjects(scenario: StreamRatio, maker: SideMaker, settings: Settings) -> list[Side]:
    if scenario.through == "watch":
        return [_watcher(scenario, maker)]
    if scenario.concurrency or not settings.calibrate_s:
        return [_subject(scenario, maker, scenario.concurrency or CONCURRENCIES[-1])]
    return [_subject(scenario, maker, each) for each in CONCURRENCIES]


def _subject(scenario: StreamRatio, maker: SideMaker, concurrency: int) -> Side:
    config = maker.config(scenario, concurrency, scenario.config)
    job = StreamJob(command=WORKER, config=config, clip=str(video(scenario.clip)))
    side = Side("bench.streams.reader", job, f"concurrency {concurrency}")
    if side.ready.lacking:
        side.close()
        raise LackingError(NO_PYAV)
    return side


def _watcher(scenario: StreamRatio, maker: SideMaker) -> Side:
    model = maker.config(scenario, 0, {})["models"][0]["path"]
    command = [*WORKER, "watch", str(video(scenario.clip)), "--model", model, "--json"]
    return Side("bench.streams.watcher", WatchJob(command=command), "watch")


def _bare_loops(scenario: StreamRatio, maker: SideMaker, way: Way, settings: Settings) -> list[Side]:
    """Where it predicts, one thread or two do it, as in the bare loop of single pictures."""
    cores = available_cores()
    variants: list[tuple[int, int | None]] = [(1, 1)]
    if scenario.predicts:
        variants = [(cores, 1), (1, cores), (1, None)] if settings.calibrate_s else [(cores, 1)]
    model = maker.config(scenario, 0, {})["models"][0]["path"]
    return [
        Side(
            "bench.streams.bare_loop",
            StreamBareJob(
                model=model,
                clip=str(video(scenario.clip)),
                way=way,
                predicts=scenario.predicts,
                threads=threads,
                native_threads=native,
                from_first=scenario.through == "watch",
            ),
            _label(scenario, way, threads, native),
        )
        for threads, native in variants
    ]


def _label(scenario: StreamRatio, way: Way, threads: int, native: int | None) -> str:
    if not scenario.predicts:
        return way
    return f"{way}, {threads} calling, {native or 'default'} native"
