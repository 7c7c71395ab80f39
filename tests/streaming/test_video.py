"""From containers to frames: all of them, at their times, with bounded memory."""

import dataclasses
import gc
import hashlib
import io
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from protocol.pixel_format import PixelFormat
from streaming.errors import StreamTooLargeError
from streaming.settings import Access, DecodeSettings
from streaming.video import decode_video
from tests.streaming.clips import (
    BY_NAME,
    INDEX_AT_END,
    MATROSKA,
    TRANSPORT,
    WEBM,
    Clip,
    encode,
)
from tests.streaming.decoding import REORDERED, ForwardOnly, decode, never, noise, numbers

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "videos.json").read_text())


@pytest.mark.parametrize("name", VECTORS)
def test_frames_and_times_are_those_of_ffprobe(name: str, shared_data: Path) -> None:
    expected = VECTORS[name]
    base = Fraction(expected["time_base"])
    shown = []
    with (shared_data / "videos" / name).open("rb") as file:
        for frame in decode_video(file, DecodeSettings(), Access(()), lambda _: None, never):
            assert frame.frame_number == len(shown)
            pts = round(frame.timestamp_ms / 1000 / base)
            assert frame.timestamp_ms == pytest.approx(float(pts * base * 1000), abs=1e-6)
            shown.append(pts)
    assert (len(shown), shown[0], shown[-1]) == (expected["frames"], expected["first"], expected["last"])
    assert hashlib.sha256(" ".join(map(str, shown)).encode()).hexdigest() == expected["sha256"]


@pytest.mark.parametrize("name", BY_NAME)
def test_each_container_gives_all_its_frames(name: str) -> None:
    frames, events, error = decode(encode(BY_NAME[name]))
    assert error is None
    assert numbers(frames) == list(range(30))
    times = [frame.timestamp_ms - frames[0].timestamp_ms for frame in frames]
    assert times == pytest.approx([number * 1000 / 30 for number in range(30)], abs=0.51)
    assert [event.name for event in events] == ["started"]


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "index_at_end"])
def test_a_stream_that_only_goes_forward_is_decoded_as_it_comes(name: str) -> None:
    clip = dataclasses.replace(BY_NAME[name], frames=60, width=160, height=120, picture=noise)
    file = ForwardOnly(encode(clip))
    frames = decode_video(file, DecodeSettings(), Access(()), lambda _: None, never)
    next(frames)
    first = file.given
    assert sum(1 for _ in frames) == 59
    assert first < file.given / 2


def test_frames_come_in_the_order_in_which_they_are_shown() -> None:
    clip = dataclasses.replace(MATROSKA, b_frames=3, encoder=REORDERED)
    frames, _, error = decode(encode(clip))
    assert error is None
    assert numbers(frames) == list(range(30))
    assert [frame.frame_number for frame in frames if frame.metadata["keyframe"]] == [0, 10, 20]


def test_started_tells_what_a_stream_is() -> None:
    _, events, _ = decode(encode(BY_NAME["faststart"]))
    assert events[0].fields == {
        "codec": "h264",
        "container": "mov,mp4,m4a,3gp,3g2,mj2",
        "width": 64,
        "height": 48,
        "fps": 30.0,
        "durationMs": 1000.0,
        "frames": 30,
        "rotation": 0,
        "pixelAspect": "1:1",
        "hardware": None,
    }


def test_what_is_not_known_of_a_stream_is_null() -> None:
    _, events, _ = decode(encode(WEBM), file=ForwardOnly)
    assert events[0].fields["codec"] == "vp8"
    assert events[0].fields["frames"] is None


@pytest.mark.parametrize(
    ("degrees", "rotation", "red"), [(-90, 90, "top"), (180, 180, "right"), (90, 270, "bottom")]
)
def test_a_turned_video_stands_upright(degrees: int, rotation: int, red: str) -> None:
    def left_half(number: int, height: int, width: int) -> NDArray[np.uint8]:
        picture = np.full((height, width), 20, np.uint8)
        picture[:, : width // 2] = 200
        return picture

    clip = dataclasses.replace(
        INDEX_AT_END, frames=3, picture=left_half, prepare=lambda stream: stream.set_display_rotation(degrees)
    )
    data = encode(clip)
    frames, events, _ = decode(data)
    size = (48, 64) if rotation % 180 else (64, 48)
    assert (frames[0].width, frames[0].height) == size
    assert (events[0].fields["width"], events[0].fields["height"]) == size
    assert events[0].fields["rotation"] == rotation
    width, height = size
    luma = frames[0].frame_data[:height]
    bright = {
        "top": luma[: height // 4],
        "bottom": luma[-height // 4 :],
        "left": luma[:, : width // 4],
        "right": luma[:, -width // 4 :],
    }
    assert [side for side, pixels in bright.items() if pixels.min() > 150] == [red]

    as_stored, events, _ = decode(data, rotate=False)
    assert (as_stored[0].width, as_stored[0].height) == (64, 48)
    assert events[0].fields["rotation"] == 0


def test_pixels_are_made_square() -> None:
    def wide(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)

    frames, events, _ = decode(encode(dataclasses.replace(MATROSKA, frames=3, prepare=wide)))
    assert (frames[0].width, frames[0].height) == (96, 48)
    assert events[0].fields["pixelAspect"] == "3:2"
    assert (events[0].fields["width"], events[0].fields["height"]) == (96, 48)


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    frames, events, error = decode(encode(MATROSKA), max_pixels=64 * 48 - 1)
    assert not frames
    assert not events
    assert isinstance(error, StreamTooLargeError)


def two_sizes() -> bytes:
    larger = dataclasses.replace(TRANSPORT, width=128, height=96)
    return encode(TRANSPORT) + encode(larger)


def test_frames_may_change_their_size() -> None:
    frames, _, _ = decode(two_sizes())
    sizes = [(frame.width, frame.height, frame.frame_data.shape) for frame in frames]
    assert sizes == [(64, 48, (72, 64))] * 30 + [(128, 96, (144, 128))] * 30


def test_frames_that_grow_too_large_end_the_stream() -> None:
    frames, _, error = decode(two_sizes(), max_pixels=64 * 48)
    assert len(frames) == 30
    assert isinstance(error, StreamTooLargeError)


def test_a_stream_that_is_stopped_ends_quietly() -> None:
    given: list[int] = []
    data = encode(dataclasses.replace(MATROSKA, frames=300))
    frames = decode_video(
        io.BytesIO(data), DecodeSettings(), Access(()), lambda _: None, lambda: len(given) >= 5
    )
    for frame in frames:
        given.append(frame.frame_number)  # noqa: PERF401 - it is asked about between them
    assert 5 <= len(given) < 40


def test_an_error_of_the_file_object_is_raised_as_it_is() -> None:
    class Failing(ForwardOnly):
        def read(self, size: int) -> bytes:
            if self.given > 3000:
                raise StreamTooLargeError("no more")
            return super().read(min(size, 1000))

    data = encode(dataclasses.replace(MATROSKA, picture=noise))
    _, _, error = decode(data, file=Failing)
    assert isinstance(error, StreamTooLargeError)


def test_hardware_that_is_not_there_is_told_and_software_decodes() -> None:
    frames, events, error = decode(encode(MATROSKA), hwaccel="no-such-device")
    assert error is None
    assert len(frames) == 30
    assert events[0].fields["hardware"] is None
    assert "no-such-device" in events[0].fields["hardwareFallback"]


def test_any_hardware_decodes_or_tells_why_not() -> None:
    frames, events, error = decode(
        encode(dataclasses.replace(MATROSKA, width=320, height=240)), hwaccel="auto"
    )
    assert error is None
    assert len(frames) == 30
    fields = events[0].fields
    assert (fields["hardware"] is None) == bool(fields.get("hardwareFallback"))


@pytest.mark.parametrize("settings", [{"threads": 1}, {"threads": 3}, {"live": True}])
def test_threads_change_no_frame(settings: dict[str, Any]) -> None:
    frames, _, error = decode(encode(MATROSKA), **settings)
    assert error is None
    assert numbers(frames) == list(range(30))


def test_asked_pixels_are_given() -> None:
    frames, _, _ = decode(encode(MATROSKA), pixel_format=PixelFormat.RGB)
    assert {(frame.format, frame.frame_data.shape) for frame in frames} == {(PixelFormat.RGB, (48, 64, 3))}


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("settings", [{}, {"every_nth": 3}, {"pixel_format": PixelFormat.BGR}])
def test_memory_stays_flat_without_the_garbage_collector(settings: dict[str, Any]) -> None:
    data = encode(Clip(container="mpegts", frames=200, width=640, height=480, b_frames=2, gop=50))
    all_bytes = 200 * 640 * 480 * 3 // 2

    def run() -> int:
        for _ in decode_video(
            io.BytesIO(data), DecodeSettings(**settings), Access(()), lambda _: None, never
        ):
            pass
        return resident_bytes()

    gc.disable()
    try:
        before = max(run() for _ in range(2))
        assert run() - before < all_bytes / 8
    finally:
        gc.enable()
