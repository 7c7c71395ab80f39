"""Cameras, by OpenCV: a clip or a FIFO stands for what one brings, through the same class."""

import os
import sys
import threading
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from protocol.pixel_format import PixelFormat
from streaming.base import StreamEvent, VideoFrame
from streaming.camera import CameraSource
from streaming.errors import SourceUnavailableError, StreamTooLargeError, UnsupportedStreamError
from streaming.settings import DecodeSettings
from tests.streaming.clips import TRANSPORT, encode, luma_of


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "clip.ts"
    path.write_bytes(encode(TRANSPORT))
    return path


def play(source: CameraSource, events: list[StreamEvent]) -> tuple[list[VideoFrame], SourceUnavailableError]:
    frames: list[VideoFrame] = []
    with pytest.raises(SourceUnavailableError) as raised:
        frames.extend(source.frames(events.append))
    return frames, raised.value


def level_of(number: int) -> float:
    """How bright the BGR pixels of a clip's frame are: full range."""
    return (luma_of(number) - 16) * 255 / 219


def test_frames_come_as_bgr_until_it_is_unplugged(clip: Path) -> None:
    events: list[StreamEvent] = []
    frames, error = play(CameraSource(str(clip), 1920, 1080, 5), events)
    assert [frame.frame_number for frame in frames] == list(range(30))
    assert {(frame.format, frame.frame_data.shape) for frame in frames} == {(PixelFormat.BGR, (48, 64, 3))}
    for number, frame in enumerate(frames):
        assert np.mean(frame.frame_data) == pytest.approx(level_of(number), abs=2)
    times = [frame.timestamp_ms for frame in frames]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] < 60_000
    assert error.reason == "interrupted"
    assert "after 30" in str(error)


def test_started_tells_what_the_camera_made_of_what_was_asked(clip: Path) -> None:
    """A clip keeps its size and pace, as a camera does that cannot do otherwise."""
    events: list[StreamEvent] = []
    play(CameraSource(str(clip), 1920, 1080, 5), events)
    (event,) = events
    assert event.name == "started"
    assert {key: event.fields[key] for key in ("codec", "container", "width", "height", "fps")} == {
        "codec": "h264",
        "container": "camera",
        "width": 64,
        "height": 48,
        "fps": pytest.approx(30),
    }


def test_a_fifo_is_a_camera_that_waits(clip: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "camera.ts"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(clip.read_bytes(),))
    writer.start()
    frames, error = play(CameraSource(str(fifo)), [])
    writer.join(10)
    assert len(frames) == 30
    assert error.reason == "interrupted"


@pytest.mark.skipif(sys.platform != "linux", reason="cameras are named differently elsewhere")
def test_a_camera_that_is_not_there_is_told_with_the_next_step(capfd: pytest.CaptureFixture[str]) -> None:
    _, error = play(CameraSource(97), [])
    assert error.reason == "not_found"
    assert "there is no /dev/video97" in str(error)
    assert capfd.readouterr() == ("", "")


def test_a_device_that_is_none_is_told_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As one that another program has."""
    (tmp_path / "none.mp4").write_bytes(b"no video" * 100)
    _, error = play(CameraSource(str(tmp_path / "none.mp4")), [])
    assert error.reason == "not_found"
    assert "no other program uses it" in str(error)
    assert capfd.readouterr() == ("", "")


def test_frames_are_chosen_and_converted(clip: Path) -> None:
    settings = DecodeSettings(every_nth=10, pixel_format=PixelFormat.GRAY)
    frames, _ = play(CameraSource(str(clip), settings=settings), [])
    assert [frame.frame_number for frame in frames] == [0, 10, 20]
    assert [frame.frame_data.shape for frame in frames] == [(48, 64)] * 3
    assert np.mean(frames[1].frame_data) == pytest.approx(level_of(10), abs=2)


def test_too_large_a_picture_is_refused(clip: Path) -> None:
    source = CameraSource(str(clip), settings=DecodeSettings(max_pixels=64 * 48 - 1))
    with pytest.raises(StreamTooLargeError, match="64x48"):
        list(source.frames(lambda event: None))


def test_closing_ends_it_quietly_and_lets_go_of_the_camera(clip: Path) -> None:
    source = CameraSource(str(clip))
    with closing(source.frames(lambda event: None)) as frames:
        assert next(frames).frame_number == 0
        assert any(path.samefile(clip) for path in _open_files())
        source.close()
        assert list(frames) == []
    assert not any(path.samefile(clip) for path in _open_files())


def _open_files() -> list[Path]:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("open files cannot be listed here")
    return [link for link in folder.iterdir() if link.exists()]


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UnsupportedStreamError, match=r"pip install 'inferpipe\[opencv\]'"):
        next(CameraSource().frames(lambda event: None))


@pytest.mark.skipif(not Path("/dev/video0").exists(), reason="no camera and no v4l2 loopback is here")
def test_a_real_camera() -> None:
    events: list[StreamEvent] = []
    with closing(CameraSource(0).frames(events.append)) as frames:
        first, second = next(frames), next(frames)
    assert first.frame_data.shape == (first.height, first.width, 3)
    assert second.timestamp_ms > first.timestamp_ms
    assert cv2.mean(first.frame_data) is not None
