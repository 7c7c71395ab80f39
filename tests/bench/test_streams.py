"""Streams at a small scale: that each scenario runs, and notices what it is there to notice."""

import io
import itertools
import sys

import av
import pytest

from bench.measure import run_scenario
from bench.rows import Row
from bench.settings import Settings
from bench.side_maker import LackingError, SideMaker
from bench.sides import SideFailedError
from bench.stream_scenario import StreamFirst, StreamPushed, StreamRatio
from bench.streams.clips import FRAMES, endless, packet_count
from bench.streams.host import PushHost
from bench.streams.pushed import Seen, Turns
from bench.target import Metric
from tests.streaming.clips import BY_NAME, Clip, encode

NOOP = "fake:noop?size=64"
SMALL_BUFFERS = {"limits": {"streamCreditBytes": 1 << 20, "streamBufferBytes": 2 << 20}}


def run(folder, scenario, rounds=2) -> Row:
    settings = Settings(rounds=rounds, calibrate_s=0.0, policy_share=0.01)
    return run_scenario(scenario, settings, SideMaker(folder, 0.0), lambda text, share: None)


@pytest.fixture
def clip_file(tmp_path):
    def make(name: str) -> str:
        path = tmp_path / name
        path.write_bytes(encode(BY_NAME[name]))
        return str(path)

    return make


def test_a_file_is_held_against_every_way_to_convert_it(tmp_path, clip_file) -> None:
    scenario = StreamRatio(model=NOOP, clip=clip_file("faststart"), ways=("rgb24", "I420"))
    row = run(tmp_path, scenario)
    assert {metric: len(values) for metric, values in row.rounds.items()} == {
        Metric.RATIO: 2,
        Metric.I420_RATIO: 2,
    }
    assert row.note.startswith("30 frames; CPU ms a frame: concurrency 2 ")
    for side in (row.worker_side, row.rival_side):
        assert side is not None
        assert side.rate > 0


def test_a_bare_loop_predicts_where_it_is_to(tmp_path, clip_file) -> None:
    scenario = StreamRatio(model=NOOP, clip=clip_file("matroska"), frames=8, predicts=True, concurrency=1)
    row = run(tmp_path, scenario, rounds=1)
    assert row.note.startswith("8 frames")
    assert row.rival_side is not None
    assert row.rival_side.label.startswith("rgb24, ")


def test_the_command_watch_is_measured_by_its_lines(tmp_path, clip_file) -> None:
    scenario = StreamRatio(model=NOOP, clip=clip_file("faststart"), through="watch")
    assert run(tmp_path, scenario, rounds=1).figures[Metric.RATIO].median > 0


def test_a_file_that_has_fewer_frames_fails(tmp_path, clip_file, capfd) -> None:
    scenario = StreamRatio(model=NOOP, clip=clip_file("faststart"), frames=31, concurrency=1)
    with pytest.raises(SideFailedError):
        run(tmp_path, scenario, rounds=1)
    assert "30 frames of 31" in capfd.readouterr().err


@pytest.mark.parametrize("kind", [StreamRatio, StreamFirst])
def test_a_video_that_is_not_here_is_told(tmp_path, kind) -> None:
    row = run(tmp_path, kind(model=NOOP, clip="none.mp4"))
    assert row.note == "skipped: no video 'none.mp4' here"


@pytest.mark.parametrize(("name", "is_late"), [("faststart", False), ("index_at_end", True)])
def test_an_upload_is_answered_whole(tmp_path, clip_file, name, is_late) -> None:
    scenario = StreamFirst(model=NOOP, clip=clip_file(name), bytes_a_second=100_000, chunk_bytes=1024)
    row = run(tmp_path, scenario, rounds=1)
    assert row.figures[Metric.FRAMES_MISSING].median == 0
    assert row.figures[Metric.FIRST_S].median > 0
    assert row.note.startswith("30 frames, an upload of ")
    assert row.note.endswith("had to be whole first") is is_late


@pytest.mark.parametrize("container", ["mpegts", "mp4"])
def test_pushed_streams_are_answered_frame_by_frame_and_leave_nothing(tmp_path, container) -> None:
    scenario = StreamPushed(model=NOOP, container=container, streams=2, config=SMALL_BUFFERS)
    row = run(tmp_path, scenario)
    assert row.figures[Metric.WRONG_FRAMES].median == 0
    assert row.figures[Metric.FILES_LEFT].median == 0
    assert row.figures[Metric.MOST_LEAST].median >= 1
    assert 0 < row.figures[Metric.DISK_MB].median < 6
    assert row.note.endswith("a killed worker left 2 files, the first stream of the next one 0 of them")


@pytest.mark.parametrize("container", ["mpegts", "mp4"])
def test_an_endless_clip_is_whole_after_every_turn(tmp_path, container) -> None:
    turns = list(itertools.islice(endless(container, tmp_path), 3))
    for count in (1, 3):
        file = io.BytesIO(b"".join(turns[:count]))
        with av.open(file) as clip:
            times = [frame.pts for frame in clip.decode(video=0)]
        assert len(times) == count * FRAMES
        assert len({after - before for before, after in itertools.pairwise(times)}) == 1


def test_turns_are_kept_until_every_stream_has_had_them() -> None:
    made = []
    turns = Turns((made.append(n) or bytes([n]) for n in itertools.count()), streams=2)
    assert [turns.take(1), turns.take(1), turns.take(2)] == [b"\0", b"\1", b"\0"]
    assert turns.size(2) == 1
    assert turns.take(2) == b"\1"
    assert made == [0, 1]
    assert (turns.taken(1), turns.taken(2)) == (2, 2)


def test_memory_is_judged_by_the_last_two_thirds() -> None:
    at = [0.25 * number for number in range(241)]
    resident = [200 - 10 * second if second < 15 else 50 + 6 * second / 60 for second in at]
    seen = Seen(at, resident, [])
    slope = seen.slope()
    assert slope.low <= slope.median <= slope.high
    assert slope.median == pytest.approx(6.0, rel=0.05)
    assert seen.growth() == pytest.approx(55 / 53, rel=0.01)


def test_frames_are_counted_without_decoding(tmp_path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(encode(Clip(frames=7, b_frames=2)))
    assert packet_count(path) == 7


def double(*events: str) -> list[str]:
    return [sys.executable, "-c", DOUBLE, *events]


def test_frames_out_of_turn_are_noticed() -> None:
    frames = [f'{{"event":"frame","frameNumber":{number},"results":[{{}}]}}' for number in (0, 1, 1, 3)]
    with PushHost({}, double(*frames, '{"event":"end","final":true,"frames":4}')) as host:
        host.open([1])
        host.finish()
        stream = host.streams[1]
    assert (stream.frames, stream.newest, stream.out_of_turn) == (4, 3, 2)


@pytest.mark.parametrize(
    "event",
    [
        '{"error":"broken","code":"decode_failed","final":true}',
        '{"event":"frame","frameNumber":0,"results":[{"error":"broken","code":"internal"}]}',
    ],
)
def test_an_error_is_no_figure(event) -> None:
    with PushHost({}, double(event)) as host:
        host.open([1])
        with pytest.raises(SideFailedError, match="broken"):
            host.finish()


def test_a_worker_without_streams_is_told() -> None:
    with pytest.raises(LackingError, match="PyAV"):
        PushHost({}, [sys.executable, "-c", DOUBLE.replace('"stream"', '"options"')])


DOUBLE = """
import os, struct, sys
def say(number, text):
    os.write(1, struct.pack("<II", 4 + len(text), number) + text.encode())
os.read(0, 65536)
say(0, '{"status":"ready","features":["stream"]}')
os.read(0, 65536)
for event in sys.argv[1:]:
    say(1, event)
os.read(0, 1)
"""
"""A double of a worker that answers the first command by the events that it is given."""
