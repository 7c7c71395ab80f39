"""Several streams without an end at once: memory, disk, fairness, order; and what a killed worker leaves."""

import itertools
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.generator import alarm
from bench.intervals import Interval, exact, median_interval
from bench.procfs import peak_megabytes, resident_megabytes
from bench.rounds import Step
from bench.rows import Row, SideFigures, row_of
from bench.settings import Settings
from bench.side_maker import SideMaker
from bench.sides import SideFailedError
from bench.stream_scenario import StreamPushed
from bench.streams.clips import FRAMES, endless, require_pyav
from bench.streams.host import PushHost
from bench.target import Metric

SAMPLE_S = 0.1
"""From one look at the memory and the disk to the next."""

SETTLED = 1 / 3
"""Of the time: until then a worker's memory grows into what it needs."""

BLOCKS = 12
"""Of the settled time: two times the fewest slopes that give an interval of 95 %."""

KILL_AFTER = 50
"""Frames of every stream."""

PATIENCE_S = 120.0


class Turns:
    """The turns of an endless clip, kept until every stream has had them."""

    def __init__(self, turns: Iterator[bytes], streams: int) -> None:
        self._turns = turns
        self._kept: dict[int, bytes] = {}
        self.streams = tuple(range(1, streams + 1))
        self._next = dict.fromkeys(self.streams, 0)

    def size(self, stream: int) -> int:
        """Return how long the next turn of a stream is."""
        return len(self._turn(self._next[stream]))

    def take(self, stream: int) -> bytes:
        """Return it, and go on to the one after."""
        number = self._next[stream]
        data = self._turn(number)
        self._next[stream] = number + 1
        for old in [each for each in self._kept if each < min(self._next.values())]:
            del self._kept[old]
        return data

    def taken(self, stream: int) -> int:
        """Return how many turns a stream has had."""
        return self._next[stream]

    def _turn(self, number: int) -> bytes:
        if number not in self._kept:
            self._kept[number] = next(self._turns)
        return self._kept[number]


@dataclass(slots=True)
class Seen:
    """What was seen of a worker while it served."""

    at: list[float] = field(default_factory=list)
    """Seconds from the begin."""
    resident_mb: list[float] = field(default_factory=list)
    disk_mb: list[float] = field(default_factory=list)

    def look(self, at: float, pid: int, folder: Path) -> None:
        """Look now."""
        self.at.append(at)
        self.resident_mb.append(resident_megabytes(pid))
        self.disk_mb.append(_megabytes_on_disk(folder))

    @property
    def settled_mb(self) -> list[float]:
        """The memory from the moment on that counts."""
        return self.resident_mb[bisect_left(self.at, self.at[-1] * SETTLED) :]

    def slope(self) -> Interval:
        """Return by how many 10^6 bytes a minute the memory grows.

        What the C library keeps goes up and down by a tenth. So the time is cut into `BLOCKS`, and each
        block's median is compared with that of the block half the time later: that many independent slopes.
        """
        medians, half = [median(block) for block in self._blocks()], BLOCKS // 2
        minutes = self.at[-1] * (1 - SETTLED) / 2 / 60
        return median_interval([(medians[at + half] - medians[at]) / minutes for at in range(half)])

    def growth(self) -> float:
        """Return the median of the memory's second half over that of its first."""
        settled = self.settled_mb
        half = len(settled) // 2
        return median(settled[half:]) / median(settled[:half])

    def _blocks(self) -> list[list[float]]:
        settled = self.settled_mb
        bounds = [round(len(settled) * each / BLOCKS) for each in range(BLOCKS + 1)]
        return [settled[begin:end] for begin, end in itertools.pairwise(bounds)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of streams that were pushed to their end."""

    counts: list[int]
    """Frames of each stream while all were pushed."""
    wrong: int
    """Frames out of turn, and frames that were not answered, or too often."""
    left: int
    """Files."""
    peak_mb: float
    seen: Seen


def measure(scenario: StreamPushed, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Push for so long, end the streams and let them be answered; then push again, and kill."""
    require_pyav()
    seconds = max(2 * BLOCKS * SAMPLE_S, scenario.seconds * settings.policy_share)
    with tempfile.TemporaryDirectory(prefix="inferpipe-bench-streams-") as name:
        folder, clip = Path(name) / "worker", Path(name)
        config = maker.config(scenario, scenario.concurrency, scenario.config) | {"streamDir": str(folder)}
        turns = Turns(endless(scenario.container, clip), scenario.streams)
        with alarm(seconds + PATIENCE_S), PushHost(config) as host:
            outcome = _push(host, turns, folder, seconds, step)
        step("a worker is killed", 0.95)
        with alarm(PATIENCE_S):
            stale, left = _kill(scenario, config, folder, clip)
    return _row(scenario, seconds, outcome, stale, left)


def _row(scenario: StreamPushed, seconds: float, outcome: Outcome, stale: int, left: int) -> Row:
    seen, counts = outcome.seen, outcome.counts
    figures = {
        Metric.RSS_GROWTH: seen.growth(),
        Metric.MOST_LEAST: max(counts) / max(1, min(counts)),
        Metric.WRONG_FRAMES: outcome.wrong,
        Metric.FILES_LEFT: outcome.left + left,
        Metric.DISK_MB: max(seen.disk_mb),
        Metric.RATE: sum(counts) / seconds,
    }
    return row_of(
        scenario,
        {Metric.RSS_SLOPE: seen.slope()} | {metric: exact(value) for metric, value in figures.items()},
        worker_side=SideFigures(f"concurrency {scenario.concurrency}", peak_mb=outcome.peak_mb),
        note=f"{min(counts):,} to {max(counts):,} frames a stream in {seconds:g} s;"
        f" {min(seen.settled_mb):.0f} to {max(seen.settled_mb):.0f} MB resident;"
        f" a killed worker left {stale} files, the first stream of the next one {left} of them",
    )


def _push(host: PushHost, turns: Turns, folder: Path, seconds: float, step: Step) -> Outcome:
    ids = list(turns.streams)
    host.open(ids)
    seen, began, now = Seen(), time.perf_counter(), 0.0
    while now < seconds:
        _fill(host, turns)
        host.take(SAMPLE_S)
        now = time.perf_counter() - began
        if not seen.at or now >= seen.at[-1] + SAMPLE_S:
            seen.look(now, host.pid, folder)
            step(f"{now:.0f} s of {seconds:.0f}", 0.9 * now / seconds)
    counts = [host.streams[each].frames for each in ids]
    for each in ids:
        host.end(each)
    host.finish()
    lost = sum(abs(host.streams[each].frames - turns.taken(each) * FRAMES) for each in ids)
    wrong = lost + sum(host.streams[each].out_of_turn for each in ids)
    return Outcome(counts, wrong, len(_files(folder)), peak_megabytes(host.pid), seen)


def _fill(host: PushHost, turns: Turns) -> None:
    """Send every stream what it has credit for."""
    for number in turns.streams:
        while turns.size(number) <= host.streams[number].credit:
            host.push(number, turns.take(number))


def _kill(scenario: StreamPushed, config: dict[str, Any], folder: Path, clip: Path) -> tuple[int, int]:
    """Kill a worker under its streams; return its files, and those that are still there for the next one."""
    turns = Turns(endless(scenario.container, clip), scenario.streams)
    with PushHost(config) as host:
        host.open(turns.streams)
        while any(stream.frames < KILL_AFTER for stream in host.streams.values()):
            _fill(host, turns)
            host.take()
        host.kill()
    stale = _files(folder)
    if not stale:
        raise SideFailedError(
            "a worker that was killed under its streams has left no file: this shows nothing"
        )
    (number,) = turns.streams[:1]
    with PushHost(config) as host:
        host.open([number])
        while not host.streams[number].credit:
            host.take()
        host.push(number, Turns(endless(scenario.container, clip), 1).take(number))
        while not host.streams[number].frames:
            host.take()
        left = len(set(stale) & set(_files(folder)))
        host.end(number)
        host.finish()
    return len(stale), max(left, len(_files(folder)))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _megabytes_on_disk(folder: Path) -> float:
    """Return what the files take, without their holes."""
    blocks = 0
    for path in _files(folder):
        with suppress(FileNotFoundError):  # a stream has just ended
            blocks += path.stat().st_blocks
    return blocks * 512 / 1e6
