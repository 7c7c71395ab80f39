"""Scenarios about whole processes: to start, to have memory, to do nothing."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from bench.intervals import Interval, exact, median_interval
from bench.link import Link, request_packet
from bench.models import model_named
from bench.procfs import thread_seconds, wake_ups
from bench.rows import Row, SideFigures, medians, row_of, unmeasured
from bench.scenario import Idle, Memory, StartUp
from bench.scenario_base import Rival
from bench.settings import Settings
from bench.side_maker import CONCURRENCIES, UNCALIBRATED_BARE, WORKER, SideMaker
from bench.sides import Side
from bench.target import Metric
from protocol.messages import MessageType

MEMORY_REQUESTS = 64
"""Four times what is in flight: every buffer has been in use."""

FIXED_CONCURRENCY = CONCURRENCIES[-1]
"""Nothing is calibrated here."""

SETTLE_S = 2.0
"""From the last answer until a worker counts as idle."""

_IMPORTS = "import os, numpy, cv2, onnxruntime; os.write(1, b'.')"

Step = Callable[[str, float], None]


def measure_start_up(scenario: StartUp, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Fresh processes in pairs: a worker to its ready answer, and one that imports the libraries."""
    config = maker.config(scenario, FIXED_CONCURRENCY, scenario.config)
    against = partial(_seconds_to_ready, maker.against, config)
    measures = (
        partial(_seconds_to_ready, WORKER, config),
        against if maker.against else _seconds_to_import,
    )
    for measure in measures:
        measure()  # the files are in the page cache from here on
    seconds = _pairs(measures, settings.rounds, step)
    labels = (_concurrency(), _concurrency() if maker.against else "numpy, cv2, onnxruntime")
    mine, theirs = (
        SideFigures(label, seconds=median_interval(side).median)
        for label, side in zip(labels, seconds, strict=True)
    )
    rounds = {Metric.EXTRA_S: _differences(seconds)}
    return row_of(
        scenario,
        medians(rounds),
        worker_side=mine,
        rival=maker.rival_name(Rival.IMPORTS),
        rival_side=theirs,
        rounds=rounds,
        judged=not maker.against,
    )


def measure_memory(scenario: Memory, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Fresh processes in pairs, some requests each, and their peaks."""
    measures = (
        lambda: _peak(maker.worker(scenario, FIXED_CONCURRENCY), scenario),
        lambda: _peak(maker.start_rival(scenario), scenario),
    )
    peaks = _pairs(measures, settings.memory_rounds, step)
    labels = (_concurrency(), _concurrency() if maker.against else UNCALIBRATED_BARE.label)
    mine, theirs = (
        SideFigures(label, peak_mb=median_interval(side).median)
        for label, side in zip(labels, peaks, strict=True)
    )
    rounds = {Metric.EXTRA_MB: _differences(peaks)}
    return row_of(
        scenario,
        medians(rounds),
        worker_side=mine,
        rival=maker.rival_name(Rival.BARE),
        rival_side=theirs,
        rounds=rounds,
        judged=not maker.against,
    )


def measure_idle(scenario: Idle, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """A worker that has answered once for each model, and is then left alone."""
    names = [name for name in scenario.loaded if not model_named(name).missing]
    if not names:
        return unmeasured(scenario, "skipped: none of its models is here")
    seconds = scenario.seconds * settings.window_share
    models = [{"path": model_named(name).path, **model_named(name).config} for name in names]
    link = Link(WORKER)
    try:
        link.shake_hands(
            {"protocol": 3, "runtime": "auto", "concurrency": FIXED_CONCURRENCY, "models": models}
        )
        for slot in range(len(names)):
            link.send([request_packet(slot, MessageType.INFER_RAW, _gray_picture(slot))])
            link.one_answer()
        step("idle", 0.1)
        time.sleep(SETTLE_S)
        figures = _at_rest(link.process.pid, seconds)
    finally:
        link.close()
    return row_of(
        scenario,
        figures,
        worker_side=SideFigures(_concurrency()),
        note=f"{', '.join(names)} loaded; one look of {seconds:g} s",
    )


def _at_rest(pid: int, seconds: float) -> dict[Metric, Interval]:
    cpu, woken, began = thread_seconds(pid), wake_ups(pid), time.perf_counter()
    time.sleep(seconds)
    passed = time.perf_counter() - began
    return {
        Metric.CPU: exact(100 * (thread_seconds(pid) - cpu) / passed),
        Metric.WAKE_UPS: exact((wake_ups(pid) - woken) / passed),
    }


def _gray_picture(slot: int, side: int = 64) -> bytes:
    head = bytes([slot]) + side.to_bytes(4, "little") * 2 + bytes([0])
    return head + bytes([128]) * (side * side * 3)


def _concurrency() -> str:
    return f"concurrency {FIXED_CONCURRENCY}"


def _pairs(
    measures: Sequence[Callable[[], float]], rounds: int, step: Step
) -> tuple[list[float], list[float]]:
    results: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        step(f"round {number + 1} of {rounds}", number / rounds)
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            results[which].append(measures[which]())
    return results


def _differences(pairs: tuple[list[float], list[float]]) -> list[float]:
    return [mine - theirs for mine, theirs in zip(*pairs, strict=True)]


def _peak(side: Side, scenario: Memory) -> float:
    with side:
        return side.run(MEMORY_REQUESTS, scenario.in_flight).peak_mb


def _seconds_to_ready(command: Sequence[str], config: dict[str, object]) -> float:
    began = time.perf_counter()
    link = Link(command)
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
