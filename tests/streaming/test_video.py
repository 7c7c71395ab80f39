"""From containers to frames: all of them, at their times, over what is damaged, no more than is asked for."""

import dataclasses
import gc
import hashlib
import io
import json
import os
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from protocol.pixel_format import PixelFormat
from streaming.base import StreamEvent, VideoFrame
from streaming.container import open_container, video_stream
from streaming.decoder import Decoder
from streaming.errors import BrokenStreamError, StreamError, StreamTooLargeError, UnsupportedStreamError
from streaming.selection import Selection
from streaming.settings import Access, DecodeSettings
from streaming.video import decode_video

from tests.streaming.clips import (
    BY_NAME,
    INDEX_AT_END,
    LEVELS,
    MATROSKA,
    TRANSPORT,
    WEBM,
    Clip,
    encode,
    number_of,
)

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "videos.json").read_text())
REORDERED = {"preset": "medium", "x264-params": "scenecut=0:b-adapt=0"}


class ForwardOnly:
    """A file object as a growing one is: it can be read, and that is all."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.given = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.given += len(data)
        return data


def never() -> bool:
    return False


def decode(
    data: bytes,
    *,
    file: Callable[[bytes], Any] = io.BytesIO,
    first: int = 0,
    end: int | None = None,
    **settings: Any,
) -> tuple[list[VideoFrame], list[StreamEvent], StreamError | None]:
    """Return frames, events, and the error at the end."""
    frames: list[VideoFrame] = []
    events: list[StreamEvent] = []
    try:
        for frame in decode_video(
            file(data), DecodeSettings(**settings), Access(()), events.append, never, first, end
        ):
            frames.append(frame)  # noqa: PERF402 - those before an error are kept
    except StreamError as error:
        return frames, events, error
    return frames, events, None


def numbers(frames: list[VideoFrame]) -> list[int]:
    """Return the numbers of the frames, which have to be those of their pictures."""
    assert [number_of(frame.frame_data, frame.height) for frame in frames] == [
        frame.frame_number % LEVELS for frame in frames
    ]
    return [frame.frame_number for frame in frames]


def noise(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture that takes many bytes."""
    random = np.random.default_rng(number)
    return random.integers(16, 235, (height, width), dtype=np.uint8)


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


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"every_nth": 3}, range(0, 30, 3)),
        ({"every_nth": 7}, range(0, 30, 7)),
        ({"keyframes_only": True}, range(0, 30, 10)),
        ({"keyframes_only": True, "every_nth": 2}, range(0, 30, 20)),
        ({"max_fps": 10}, range(0, 30, 3)),
        ({"first": 13}, range(13, 30)),
        ({"first": 13, "end": 22}, range(13, 22)),
        ({"first": 10, "end": 11}, range(10, 11)),
        ({"first": 30}, range(0)),
        ({"end": 5}, range(5)),
        ({"first": 4, "every_nth": 5}, range(4, 30, 5)),
    ],
)
def test_frames_keep_their_numbers_and_times_whatever_is_left_out(
    name: str, b_frames: int, settings: dict[str, Any], expected: range
) -> None:
    clip = BY_NAME[name]
    if b_frames and clip.codec == "libx264":
        clip = dataclasses.replace(clip, b_frames=b_frames, encoder=REORDERED)
    data = encode(clip)
    times = [frame.timestamp_ms for frame in decode(data)[0]]
    frames, _, error = decode(data, **settings)
    assert error is None
    assert numbers(frames) == list(expected)
    assert [frame.timestamp_ms for frame in frames] == [times[number] for number in expected]


def decoded_count(data: bytes, settings: DecodeSettings, start_frame: int = 0) -> int:
    """Return how many pictures the decoder has made."""
    with open_container(io.BytesIO(data), settings, Access(()), None) as container:
        selection = Selection(settings, start_frame)
        decoder = Decoder(container, video_stream(container), settings, selection, start_frame)
        return sum(1 for _ in decoder.frames(never))


def test_what_nobody_wants_and_nobody_refers_to_is_not_decoded() -> None:
    clip = dataclasses.replace(
        INDEX_AT_END,
        frames=61,
        gop=300,
        b_frames=3,
        encoder={**REORDERED, "x264-params": "b-pyramid=none:b-adapt=0:scenecut=0"},
    )
    data = encode(clip)
    assert decoded_count(data, DecodeSettings()) == 61
    assert decoded_count(data, DecodeSettings(every_nth=4)) == 16  # all others are B frames
    assert decoded_count(data, DecodeSettings(max_fps=30 / 4)) == 16


def test_key_frames_alone_are_decoded_where_only_those_are_asked_for() -> None:
    for clip in (MATROSKA, TRANSPORT, INDEX_AT_END, WEBM):
        assert decoded_count(encode(clip), DecodeSettings(keyframes_only=True)) == 3


def test_decoding_begins_at_the_key_frame_before_the_start() -> None:
    assert decoded_count(encode(MATROSKA), DecodeSettings(), start_frame=25) == 10


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
@pytest.mark.parametrize("settings", [{"every_nth": 4}, {"keyframes_only": True}, {"first": 17}])
def test_frames_that_are_never_shown_are_not_counted(codec: str, settings: dict[str, Any]) -> None:
    hiding = {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "5", "b": "1M"}
    data = encode(dataclasses.replace(WEBM, codec=codec, gop=20, frames=40, encoder=hiding))
    frames, _, error = decode(data, **settings)
    assert error is None
    everything, _, _ = decode(data)
    times = {frame.frame_number: frame.timestamp_ms for frame in everything}
    assert len(times) == 40
    assert numbers(frames)
    assert [times[frame.frame_number] for frame in frames] == [frame.timestamp_ms for frame in frames]


def test_nothing_after_the_end_is_read() -> None:
    data = encode(dataclasses.replace(TRANSPORT, frames=300, width=320, height=240, picture=noise))
    file = ForwardOnly(data)
    frames = decode_video(file, DecodeSettings(), Access(()), lambda _: None, never, 0, 5)
    assert len(list(frames)) == 5
    assert file.given < len(data) / 2


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("share", [0.35, 0.6, 0.93])
def test_a_truncated_file_gives_what_it_has_and_says_where_it_ends(name: str, share: float) -> None:
    data = encode(dataclasses.replace(BY_NAME[name], picture=noise))
    cut = int(len(data) * share) | 1
    frames, _, error = decode(data[:cut])
    assert isinstance(error, BrokenStreamError)
    assert f"{cut:,}" in str(error)
    assert [frame.frame_number for frame in frames] == list(range(len(frames)))
    if name != "index_at_end":
        assert len(frames) >= int(30 * share) - 4
        assert f"after frame {frames[-1].frame_number} (" in str(error)


@pytest.mark.parametrize("name", ["faststart", "fragmented", "matroska", "webm"])
def test_a_truncated_forward_stream_is_told_too(name: str) -> None:
    data = encode(dataclasses.replace(BY_NAME[name], picture=noise))
    frames, _, error = decode(data[: len(data) // 2], file=ForwardOnly)
    assert 10 <= len(frames) <= 15
    assert isinstance(error, BrokenStreamError)


@pytest.mark.parametrize("name", ["faststart", "matroska", "transport"])
def test_decoding_goes_on_after_damage_and_tells_of_it_at_the_end(name: str) -> None:
    clip = dataclasses.replace(BY_NAME[name], frames=60, picture=noise)
    data = bytearray(encode(clip))
    middle = len(data) * 4 // 10
    data[middle : middle + 6000] = os.urandom(6000)
    frames, _, error = decode(bytes(data))
    assert isinstance(error, BrokenStreamError)
    assert "damaged" in str(error)
    assert any(frame.metadata.get("damaged") for frame in frames) or len(frames) < 60
    assert len(frames) >= 50
    intact = [frame for frame in frames if frame.timestamp_ms >= frames[0].timestamp_ms + 1700]
    assert intact
    assert not any("damaged" in frame.metadata for frame in intact)


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_ends_with_an_error_of_streams_or_none(seed: int) -> None:
    random = np.random.default_rng(seed)
    for clip in BY_NAME.values():
        data = bytearray(encode(dataclasses.replace(clip, picture=noise, frames=12)))
        for place in random.integers(0, len(data), 12):
            data[place] = random.integers(0, 256)
        began = time.monotonic()
        frames, _, _ = decode(bytes(data), file=(io.BytesIO, ForwardOnly)[seed % 2], every_nth=1 + seed % 3)
        given = [frame.frame_number for frame in frames]
        assert given == sorted(set(given))
        assert time.monotonic() - began < 5


def sound_alone() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (b"", BrokenStreamError, "empty"),
        (os.urandom(5000), StreamError, "opened"),
        (b"This is a letter to you.\n" * 100, StreamError, "opened"),
        (sound_alone(), UnsupportedStreamError, "only audio"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", StreamError, "opened"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", UnsupportedStreamError, "opened"),
    ],
    ids=["nothing", "noise", "text", "sound", "playlist", "script"],
)
@pytest.mark.parametrize("file", [io.BytesIO, ForwardOnly])
def test_what_is_no_video_is_refused(
    data: bytes, kind: type[StreamError], text: str, file: Callable[[bytes], Any]
) -> None:
    frames, events, error = decode(data, file=file)
    assert not frames
    assert not events
    assert isinstance(error, kind)
    assert text in str(error)


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
