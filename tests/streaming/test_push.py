"""PushSource: a container file that is decoded while it grows, whatever becomes of it."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np
import pytest

from streaming.base import StreamEvent, VideoFrame
from streaming.errors import BrokenStreamError, StreamError, StreamTooLargeError, UnsupportedStreamError
from streaming.file import FileSource
from streaming.push import PushSource
from streaming.settings import DecodeSettings
from streaming.temp_files import own_folder
from tests.streaming import clips

FRAMES = 300
SOON = 10.0
"""Seconds within which a thread that has all it needs has answered."""

WHILE_IT_GROWS = ("faststart", "fragmented", "matroska", "webm", "transport")


@cache
def clip_of(name: str) -> bytes:
    return clips.encode(replace(clips.BY_NAME[name], frames=FRAMES))


def noise(number: int, height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Give a picture that takes many bytes."""
    return np.random.default_rng(number).integers(16, 235, (height, width), np.uint8)


@cache
def large_clip(name: str) -> bytes:
    """Return some 2 MB of 60 frames."""
    return clips.encode(replace(clips.BY_NAME[name], width=320, height=240, frames=60, picture=noise))


class Reading:
    """The thread that takes the frames of a source, and what came of it."""

    def __init__(self, source: PushSource) -> None:
        self.source = source
        self.came: Queue[VideoFrame | StreamEvent | StreamError | None] = Queue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for frame in self.source.frames(self.came.put):
                self.came.put(frame)
        except StreamError as error:
            self.came.put(error)
        else:
            self.came.put(None)

    def next(self) -> VideoFrame | StreamEvent | StreamError | None:
        return self.came.get(timeout=SOON)

    def rest(self) -> list[VideoFrame | StreamEvent | StreamError | None]:
        """Wait for the end; return all that came until then."""
        self._thread.join(SOON)
        assert not self._thread.is_alive()
        return list(self.came.queue)

    def frames(self) -> list[int]:
        """Return the numbers of the frames that came until a quiet end."""
        things = self.rest()
        assert things.pop() is None
        return [thing.frame_number for thing in things if isinstance(thing, VideoFrame)]

    def error(self) -> StreamError:
        error = self.rest()[-1]
        assert isinstance(error, StreamError)
        return error


@pytest.fixture
def source(tmp_path) -> Iterator[PushSource]:
    opened = push_source(tmp_path)
    yield opened
    opened.close()


def push_source(temp_dir: Path, max_bytes: int = 1 << 30, backlog_bytes: int = 16 << 20) -> PushSource:
    return PushSource(DecodeSettings(), temp_dir=temp_dir, max_bytes=max_bytes, backlog_bytes=backlog_bytes)


def append_all(source: PushSource, data: bytes, chunk: int = 1000) -> None:
    for start in range(0, len(data), chunk):
        source.append(data[start : start + chunk])


def waits_for_data(source: PushSource) -> None:
    """Wait until the reader has taken all that was sent, and waits for more."""
    deadline = time.monotonic() + SOON
    while source._buffer is None or not source._buffer._changed._waiters:  # type: ignore[attr-defined]
        assert time.monotonic() < deadline
        time.sleep(0.001)


def temp_files(temp_dir: Path) -> list[Path]:
    return list(own_folder(temp_dir).iterdir())


@pytest.mark.parametrize("name", WHILE_IT_GROWS)
def test_first_frames_come_long_before_the_end(source, tmp_path, name):
    data = clip_of(name)
    reading = Reading(source)
    append_all(source, data[: len(data) * 3 // 10])
    started, first = reading.next(), reading.next()  # nothing more is sent before these are there
    assert isinstance(started, StreamEvent)
    assert started.name == "started"
    assert isinstance(first, VideoFrame)
    assert first.frame_number == 0
    append_all(source, data[len(data) * 3 // 10 :])
    source.end()
    assert reading.frames() == list(range(1, FRAMES))
    assert temp_files(tmp_path) == []


def test_an_index_at_the_end_is_told_at_once_and_waited_for(source, tmp_path):
    data = clip_of("index_at_end")
    reading = Reading(source)
    append_all(source, data[:100])
    assert reading.next() == StreamEvent("needsTail")
    append_all(source, data[100:])
    with pytest.raises(Empty):
        reading.came.get(timeout=0.05)
    assert len(temp_files(tmp_path)) == 1
    source.end()
    assert isinstance(reading.next(), StreamEvent)
    assert reading.frames() == list(range(FRAMES))
    assert temp_files(tmp_path) == []


def test_there_is_one_copy_of_a_file_that_has_to_be_whole(source, tmp_path):
    data = clip_of("index_at_end")
    append_all(source, data)
    source.end()
    frames = source.frames(lambda _: None)
    next(frames)
    (file,) = temp_files(tmp_path)
    assert file.stat().st_size == len(data)
    frames.close()
    assert temp_files(tmp_path) == []


def test_a_file_that_has_to_be_whole_does_not_wait_for_its_reader(tmp_path):
    data = clip_of("index_at_end")
    source = push_source(tmp_path, backlog_bytes=len(data) // 10)
    reading = Reading(source)
    append_all(source, data)
    source.end()
    assert reading.next() == StreamEvent("needsTail")
    reading.next()
    assert reading.frames() == list(range(FRAMES))


def test_an_index_that_may_come_only_after_the_backlog_is_waited_for(tmp_path):
    """Padding of more than may wait hides where the index is; the writer must not be stopped by it."""
    data = clip_of("faststart")
    type_bytes = int.from_bytes(data[:4], "big")
    padding = 40_000
    free = (padding + 8).to_bytes(4, "big") + b"free" + bytes(padding)
    source = push_source(tmp_path, backlog_bytes=padding // 2)
    reading = Reading(source)
    append_all(source, data[:type_bytes] + free)
    assert reading.next() == StreamEvent("needsTail")
    # The index has offsets into the file, which the padding has moved: what matters is that all arrives.
    append_all(source, data[type_bytes:])
    source.end()
    reading.rest()
    assert temp_files(tmp_path) == []


@pytest.mark.parametrize("name", clips.BY_NAME)
def test_all_at_once_before_anyone_reads(source, name):
    source.append(clip_of(name))
    source.end()
    assert Reading(source).frames() == list(range(FRAMES))


@pytest.mark.parametrize(
    "name", ["asl_person_h264.mkv", "hand_faststart_aac.mp4", "traffic_vp8.webm", "pose_squats.mp4"]
)
def test_gives_what_the_same_file_gives(source, shared_data, name):
    path = shared_data / "videos" / name
    if not path.exists():
        pytest.skip(f"{name} is not in ../shared/data/videos")
    reading = Reading(source)
    append_all(source, path.read_bytes(), 65536)
    source.end()
    pushed = [thing for thing in reading.rest() if isinstance(thing, VideoFrame)]
    of_file = list(FileSource(path, DecodeSettings()).frames(lambda _: None))
    assert [(f.frame_number, f.timestamp_ms) for f in pushed] == [
        (f.frame_number, f.timestamp_ms) for f in of_file
    ]
    assert all(np.array_equal(a.frame_data, b.frame_data) for a, b in zip(pushed, of_file, strict=True))


def test_append_waits_for_a_slow_reader_and_close_wakes_it(tmp_path):
    source = push_source(tmp_path, backlog_bytes=10_000)
    data = large_clip("transport")
    done = threading.Event()

    def write() -> None:
        append_all(source, data)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    frames = source.frames(lambda _: None)
    for _ in range(3):
        next(frames)
    assert not done.wait(0.05)
    source.close()
    writer.join(SOON)
    assert done.is_set()
    assert list(frames) == []
    assert temp_files(tmp_path) == []


def test_a_stream_that_was_left_takes_no_more(source, tmp_path):
    append_all(source, clip_of("transport"))
    frames = source.frames(lambda _: None)
    next(frames)
    frames.close()
    source.append(b"more")
    source.end()
    assert temp_files(tmp_path) == []


@pytest.mark.parametrize("sent", [b"", b"\0", clip_of("transport")[:20_000], clip_of("index_at_end")[:100]])
def test_close_ends_a_reader_that_waits_for_data(source, tmp_path, sent):
    reading = Reading(source)
    if sent:
        source.append(sent)
    waits_for_data(source)
    source.close()
    assert reading.rest()[-1] is None
    assert temp_files(tmp_path) == []


def test_nothing_comes_of_a_source_that_was_closed_before(tmp_path):
    source = push_source(tmp_path / "folder")
    source.close()
    source.append(b"abc")
    source.end()
    assert list(source.frames(lambda _: None)) == []
    assert not (tmp_path / "folder").exists()


def test_no_file_is_made_before_it_is_needed(tmp_path):
    source = push_source(tmp_path / "folder")
    source.end()
    assert not (tmp_path / "folder").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="holes are made on Linux alone")
@pytest.mark.parametrize("name", ["transport", "matroska", "faststart", "fragmented"])
def test_what_was_read_goes_from_the_disk(tmp_path, name):
    """A stream that is many times larger than what may be kept: it could go on for ever."""
    data = large_clip(name)
    source = push_source(tmp_path, max_bytes=len(data) // 5)
    reading = Reading(source)
    append_all(source, data, 10_000)
    source.end()
    assert len(reading.frames()) == 60


def test_the_cap_is_an_error_to_the_writer(tmp_path):
    source = push_source(tmp_path, max_bytes=20_000)
    reading = Reading(source)
    with pytest.raises(StreamTooLargeError, match="20,000 bytes may be kept"):
        append_all(source, clip_of("index_at_end"))
    source.close()
    assert reading.rest()[-1] is None
    assert temp_files(tmp_path) == []


@pytest.mark.parametrize("name", ["faststart", "fragmented"])
def test_a_truncated_mp4_gives_its_frames_and_says_where(source, tmp_path, name):
    data = clip_of(name)
    cut = len(data) * 6 // 10
    reading = Reading(source)
    append_all(source, data[:cut])
    source.end()
    things = reading.rest()
    assert isinstance(things[-1], BrokenStreamError)
    assert f"the data end at byte {cut:,}, inside the box" in str(things[-1])
    numbers = [thing.frame_number for thing in things if isinstance(thing, VideoFrame)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 50
    assert temp_files(tmp_path) == []


@pytest.mark.parametrize(("part", "where"), [(0.5, 'inside the box "mdat"'), (0.95, 'inside the box "moov"')])
def test_an_mp4_without_its_tail_is_broken(source, tmp_path, part, where):
    data = clip_of("index_at_end")
    append_all(source, data[: int(len(data) * part)])
    source.end()
    error = Reading(source).error()
    assert isinstance(error, BrokenStreamError)
    assert where in str(error)
    assert temp_files(tmp_path) == []


def test_the_index_was_cut_off(source):
    data = clip_of("index_at_end")
    append_all(source, data[: data.rindex(b"moov") - 4])
    source.end()
    error = Reading(source).error()
    assert isinstance(error, BrokenStreamError)
    assert "the index of the file" in str(error)


@pytest.mark.parametrize("name", ["transport", "matroska", "webm"])
def test_other_containers_give_what_there_was(source, tmp_path, name):
    data = clip_of(name)
    append_all(source, data[: len(data) // 2])
    source.end()
    things = Reading(source).rest()
    assert things[-1] is None or isinstance(things[-1], BrokenStreamError)
    numbers = [thing.frame_number for thing in things if isinstance(thing, VideoFrame)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 50
    assert temp_files(tmp_path) == []


@pytest.mark.parametrize("sent", [[], [b""], [b"", b""]])
def test_no_data_at_all(source, tmp_path, sent):
    for data in sent:
        source.append(data)
    source.end()
    error = Reading(source).error()
    assert isinstance(error, BrokenStreamError)
    assert "before any data came" in str(error)
    assert temp_files(tmp_path) == []


GARBAGE = {
    "a byte": b"x",
    "text": b"Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 100,
    "zeros": bytes(100_000),
    "noise": np.random.default_rng(1).bytes(100_000),
    "the type of an MP4, then noise": clip_of("faststart")[:32] + np.random.default_rng(1).bytes(10_000),
    "boxes without an end": (b"\0\0\0\x08free" * 10_000),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused(source, tmp_path, name):
    source.append(GARBAGE[name])
    source.end()
    error = Reading(source).error()
    assert isinstance(error, (UnsupportedStreamError, BrokenStreamError))
    assert temp_files(tmp_path) == []


def test_garbage_without_an_end_is_refused_early(source, tmp_path):
    reading = Reading(source)
    chunk = np.random.default_rng(1).bytes(1 << 20)
    for _ in range(16):
        source.append(chunk)
    assert isinstance(reading.error(), (UnsupportedStreamError, BrokenStreamError))
    source.append(chunk)
    assert temp_files(tmp_path) == []


def test_what_follows_the_last_frame_is_waited_for(source):
    data = clip_of("faststart") + b"\0\0\0\x10free"
    reading = Reading(source)
    append_all(source, data)
    source.end()
    things = reading.rest()
    assert sum(isinstance(thing, VideoFrame) for thing in things) == FRAMES
    assert 'inside the box "free"' in str(things[-1])


def test_a_sender_that_goes_on_after_the_last_frame_is_not_stopped(tmp_path):
    """The video may be shorter than the sound, and the frames are out by then."""
    source = push_source(tmp_path, backlog_bytes=50_000)
    reading = Reading(source)
    append_all(source, clip_of("faststart"))
    size = 1_000_000
    append_all(source, size.to_bytes(4, "big") + b"free" + bytes(size - 8), 10_000)
    source.end()
    reading.next()
    assert reading.frames() == list(range(FRAMES))


def test_a_folder_that_cannot_be_had(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StreamError, match="no temporary file can be made"):
        push_source(tmp_path / "file").append(b"abc")
    error = Reading(push_source(tmp_path / "file")).error()
    assert "no temporary file can be made" in str(error)


PUSHER = """
import sys, time
from pathlib import Path
from streaming.push import PushSource
from streaming.settings import DecodeSettings
source = PushSource(DecodeSettings(), temp_dir=Path(sys.argv[1]), max_bytes=1 << 20)
source.append(b"abc")
print("there", flush=True)
sys.stdin.read()
"""


def test_the_first_stream_of_a_process_sweeps_what_killed_ones_left(source, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", PUSHER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        killed.kill()
    (stale,) = temp_files(tmp_path)
    source.append(b"abc")
    (mine,) = temp_files(tmp_path)
    assert mine != stale


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are listed in /proc there")
def test_descriptors_are_given_back(tmp_path):
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for data in (clip_of("transport"), b"garbage", clip_of("index_at_end")[:1000]):
        source = push_source(tmp_path)
        source.append(data)
        source.end()
        Reading(source).rest()
    assert count() == before


def test_no_heavy_library_is_loaded_before_a_stream_is_decoded():
    program = "import sys, streaming.push; sys.exit(bool({'av', 'cv2', 'mss'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0
