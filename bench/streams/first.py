"""When the first result of a video comes that is pushed while it uploads."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.generator import alarm
from bench.intervals import exact
from bench.rounds import Step, alternate
from bench.rows import Row, SideFigures, medians, row_of, unmeasured
from bench.settings import Settings
from bench.side_maker import CONCURRENCIES, SideMaker
from bench.stream_scenario import StreamFirst
from bench.streams.clips import packet_count, require_pyav, video
from bench.streams.host import Pushed, PushHost
from bench.target import Metric

PATIENCE_S = 60.0
"""More than the upload takes: then it has hung."""

_STREAM = 1


@dataclass(frozen=True, slots=True)
class Upload:
    """What came of one."""

    first_s: float
    """From its begin."""
    frames: int
    waited_for_tail: bool


def measure(scenario: StreamFirst, settings: Settings, maker: SideMaker, step: Step) -> Row:
    """Upload it so many times, each into a worker that has not decoded anything yet."""
    require_pyav()
    path = video(scenario.clip)
    if not path.exists():
        return unmeasured(scenario, f"skipped: no video {scenario.clip!r} here")
    config = maker.config(scenario, CONCURRENCIES[-1], scenario.config)
    (uploads,) = alternate([partial(_upload, config, path, scenario)], settings.memory_rounds, step)
    return _row(scenario, uploads, path)


def _row(scenario: StreamFirst, uploads: list[Upload], path: Path) -> Row:
    upload_s = path.stat().st_size / scenario.bytes_a_second
    allowed_s = max(scenario.allowed_share * upload_s, scenario.allowed_s)
    frames = packet_count(path)
    rounds = {
        Metric.FIRST_SHARE: [each.first_s / allowed_s for each in uploads],
        Metric.FIRST_S: [each.first_s for each in uploads],
        Metric.FIRST_UPLOADED: [100 * min(1.0, each.first_s / upload_s) for each in uploads],
    }
    missing = max(abs(frames - each.frames) for each in uploads)
    tail = "; had to be whole first" if any(each.waited_for_tail for each in uploads) else ""
    return row_of(
        scenario,
        medians(rounds) | {Metric.FRAMES_MISSING: exact(missing)},
        worker_side=SideFigures(f"concurrency {CONCURRENCIES[-1]}"),
        rounds=rounds,
        note=f"{frames} frames, an upload of {upload_s:.2f} s, {allowed_s:.2f} s allowed{tail}",
    )


def _upload(config: dict[str, object], path: Path, scenario: StreamFirst) -> Upload:
    data = path.read_bytes()
    with PushHost(config) as host, alarm(PATIENCE_S + len(data) / scenario.bytes_a_second):
        host.open([_STREAM])
        stream, first_at, began = host.streams[_STREAM], 0.0, time.perf_counter()
        for begin in range(0, len(data), scenario.chunk_bytes):
            chunk = data[begin : begin + scenario.chunk_bytes]
            due = began + (begin + len(chunk)) / scenario.bytes_a_second  # its last byte is here then
            first_at = _take_until(host, stream, due, len(chunk)) or first_at
            host.push(_STREAM, chunk)
        host.end(_STREAM)
        while stream.end is None:
            first_at = _take(host, stream, None) or first_at
    return Upload(first_at - began, stream.frames, "needsTail" in stream.names)


def _take_until(host: PushHost, stream: Pushed, due: float, credit: int) -> float:
    """Take events until it is time and there is credit; return when the first frame came, if that was now."""
    first_at = 0.0
    while (left := due - time.perf_counter()) > 0 or stream.credit < credit:
        first_at = _take(host, stream, left if left > 0 else None) or first_at
    return first_at


def _take(host: PushHost, stream: Pushed, timeout_s: float | None) -> float:
    before = stream.frames
    host.take(timeout_s)
    return time.perf_counter() if stream.frames and not before else 0.0
