"""Frames that come with headers: what they are, when they are shown, and what memory they take."""

import gc
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from protocol.pixel_format import PixelFormat
from streaming.base import StreamEvent, VideoFrame
from streaming.errors import BadStreamError, BrokenStreamError, StreamError, StreamTooLargeError
from streaming.header import FrameFormat, FrameHeader
from streaming.packets import PacketsSource
from streaming.settings import DecodeSettings
from tests.streaming.clips import number_of
from tests.streaming.packet_items import Item, coded, packed, raw

PLAIN = DecodeSettings()
Picture = Callable[..., bytes]


@dataclass
class Played:
    """What a source gave."""

    frames: list[VideoFrame] = field(default_factory=list)
    events: list[StreamEvent] = field(default_factory=list)
    error: StreamError | None = None

    @property
    def times(self) -> list[float]:
        return [frame.timestamp_ms for frame in self.frames]

    @property
    def numbers(self) -> list[int]:
        """Which pictures these are, by their brightness."""
        return [number_of(frame.frame_data, frame.height) for frame in self.frames]

    @property
    def damaged(self) -> list[float]:
        return [frame.timestamp_ms for frame in self.frames if frame.metadata.get("damaged")]


def play(items: Iterable[bytes], settings: DecodeSettings = PLAIN) -> Played:
    source = PacketsSource(settings, backlog_bytes=1 << 30)
    for item in items:
        source.append(item)
    source.end()
    played = Played()
    try:
        played.frames.extend(source.frames(played.events.append))
    except StreamError as error:
        played.error = error
    return played


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.mark.parametrize("format_", [FrameFormat.RGB, FrameFormat.BGR])
def test_pixels_are_wrapped_where_they_came(format_: FrameFormat, pixels: NDArray[np.uint8]) -> None:
    item = raw(40, pixels, format_)
    played = play([item, raw(80, pixels[:2], format_)])
    first, second = played.frames
    assert (first.format.name, first.timestamp_ms, first.frame_number) == (format_.name, 40, 0)
    assert np.array_equal(first.frame_data, pixels)
    assert np.shares_memory(first.frame_data, np.frombuffer(item, np.uint8))
    assert (second.width, second.height, second.frame_number) == (6, 2, 1)
    assert played.error is None


def test_started_tells_what_it_is(pixels: NDArray[np.uint8]) -> None:
    (event,) = play([raw(0, pixels)] * 2, DecodeSettings(hwaccel="cuda")).events
    assert event.name == "started"
    known = {
        "codec": "rgb24",
        "container": "packets",
        "width": 6,
        "height": 4,
        "rotation": 0,
        "pixelAspect": "1:1",
    }
    unknown = dict.fromkeys(("fps", "durationMs", "frames", "hardware"))
    assert {key: event.fields[key] for key in event.fields if key != "hardwareFallback"} == {
        **known,
        **unknown,
    }
    assert "software" in event.fields["hardwareFallback"]


def test_a_continued_frame_is_one_frame(pixels: NDArray[np.uint8]) -> None:
    item = raw(40, pixels)
    (frame,) = play([item[:30], item[30:31], item[31:]]).frames
    assert np.array_equal(frame.frame_data, pixels)


@pytest.mark.parametrize("asked", [PixelFormat.RGB, PixelFormat.BGR, PixelFormat.GRAY])
def test_pixels_are_converted_where_a_format_is_asked_for(asked: PixelFormat) -> None:
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    shown = {PixelFormat.RGB: [255, 0, 0], PixelFormat.BGR: [0, 0, 255], PixelFormat.GRAY: 76}[asked]
    settings = DecodeSettings(pixel_format=asked)
    for item in (raw(0, red), raw(0, red[..., ::-1], FrameFormat.BGR)):
        (frame,) = play([item], settings).frames
        assert frame.format is asked
        assert np.all(frame.frame_data == shown)


@pytest.mark.parametrize("format_", [FrameFormat.H264, FrameFormat.VP8])
def test_coded_pictures_are_decoded_with_their_state(format_: FrameFormat) -> None:
    played = play(packed(coded(format_, range(25))))
    assert played.error is None
    assert played.numbers == list(range(25))
    assert played.times == [number * 40 for number in range(25)]
    assert [frame.frame_number for frame in played.frames] == list(range(25))
    assert [frame.metadata["keyframe"] for frame in played.frames] == [n % 10 == 0 for n in range(25)]
    assert {frame.format for frame in played.frames} == {PixelFormat.I420}
    assert played.events[0].fields["codec"] == format_.name.lower()


def test_each_picture_is_shown_at_its_own_time_though_they_come_in_another_order() -> None:
    items = coded(FrameFormat.H264, range(25), b_frames=3)
    assert [item.header.timestamp_ms for item in items] != [number * 40 for number in range(25)]
    played = play(packed(items))
    assert played.numbers == list(range(25))
    assert played.times == [number * 40 for number in range(25)]


def test_pictures_come_at_once_where_none_is_shown_late() -> None:
    """Low delay: each picture is there before the next packet is."""
    source = PacketsSource(PLAIN, backlog_bytes=1 << 20)
    frames = source.frames(lambda event: None)
    for number, item in enumerate(coded(FrameFormat.H264, range(5))):
        source.append(item.packed)
        assert next(frames).frame_number == number
    frames.close()


@pytest.mark.parametrize("format_", [FrameFormat.H264, FrameFormat.VP8])
def test_size_and_codec_may_change_in_mid_stream(format_: FrameFormat) -> None:
    other = {FrameFormat.H264: FrameFormat.VP8, FrameFormat.VP8: FrameFormat.H264}[format_]
    large = coded(format_, range(5, 10), width=96, height=64)
    played = play(packed([*coded(format_, range(5), b_frames=2), *large, *coded(other, range(10, 15))]))
    assert played.numbers == list(range(15))
    assert [(frame.width, frame.height) for frame in played.frames[4:11]] == [
        (64, 48),
        *[(96, 64)] * 5,
        (64, 48),
    ]
    assert len(played.events) == 1


def test_parameter_sets_may_come_by_themselves() -> None:
    first, *rest = coded(FrameFormat.H264, range(3))
    cut = first.data.index(b"\x00\x00\x01\x65")
    sets = replace(first, data=first.data[:cut])
    played = play(packed([sets, replace(first, data=first.data[cut:]), *rest]))
    assert played.numbers == [0, 1, 2]
    assert played.error is None


@pytest.mark.parametrize("format_", [FrameFormat.H264, FrameFormat.VP8])
def test_nothing_is_shown_before_the_first_key_frame(format_: FrameFormat) -> None:
    played = play(packed(coded(format_, range(15))[4:]))
    assert played.numbers == [10, 11, 12, 13, 14]
    assert played.frames[0].frame_number == 0
    assert played.error is None


@pytest.mark.parametrize(("cut", "shown"), [(0, False), (1, False), (9, True)])
def test_after_damage_the_stream_goes_on_and_its_end_says_where(cut: int, shown: bool) -> None:
    """Of a picture that is cut short the decoder may make up the rest."""
    items = coded(FrameFormat.H264, range(15))
    items[3] = replace(items[3], data=items[3].data[:cut])
    played = play(packed(items))
    assert isinstance(played.error, BrokenStreamError)
    assert "not wholly: 1; the first is that of 120 ms" in str(played.error)
    assert played.times == [number * 40 for number in range(15) if shown or number != 3]
    assert played.damaged == [number * 40 for number in range(3 if shown else 4, 10)]


@pytest.mark.parametrize("format_", FrameFormat)
def test_garbage_after_a_header_ends_in_an_error_of_a_stream(format_: FrameFormat) -> None:
    noise = np.random.default_rng(1).bytes(48 * 64 * 3)
    items = [FrameHeader(at, 64, 48, format_).pack() + start + noise for at, start in enumerate(_STARTS)]
    played = play(items)
    assert played.error is not None
    assert len(played.frames) < len(items)


_STARTS = (b"", b"\x00\x00\x00\x01\x67", b"\x00\x00\x01\x65", b"\x10\x02\x00\x9d\x01\x2a", b"\xff\xd8\xff")


def test_frames_come_before_the_error_of_what_follows_them() -> None:
    """Also those that are held back for their order."""
    items = packed(coded(FrameFormat.H264, range(9), b_frames=2))
    played = play([*items, b"no header"])
    assert isinstance(played.error, BadStreamError)
    assert played.numbers == list(range(9))


@pytest.mark.parametrize("format_", [FrameFormat.H264, FrameFormat.VP8])
def test_a_picture_larger_than_its_header_says_is_refused(format_: FrameFormat) -> None:
    items = coded(format_, range(2), width=320, height=240)
    lying = [replace(item, header=FrameHeader(0, 0, 0, format_)) for item in items]
    for max_pixels in (320 * 240 - 1, 1000):
        played = play(packed(lying), DecodeSettings(max_pixels=max_pixels))
        assert isinstance(played.error, StreamTooLargeError)
        assert "320x240" in str(played.error)
        assert not played.frames


def test_pixels_are_made_square() -> None:
    played = play(packed(coded(FrameFormat.H264, range(2), aspect=Fraction(2))))
    assert (played.frames[0].width, played.frames[0].height) == (128, 48)
    assert played.events[0].fields["pixelAspect"] == "2:1"


def jpeg(encode_picture: Picture, at: int, width: int = 32) -> Item:
    rgb = np.zeros((16, width, 3), np.uint8)
    rgb[..., 0] = 255
    return Item(FrameHeader(at, 0, 0, FrameFormat.JPEG), encode_picture(rgb), keyframe=True)


def test_jpeg_is_passed_on_as_it_came(encode_picture: Picture) -> None:
    item = jpeg(encode_picture, 40)
    played = play([item.packed])
    (frame,) = played.frames
    assert (frame.format, frame.width, frame.height) == (PixelFormat.ENCODED, 32, 16)
    assert bytes(frame.frame_data) == item.data
    assert played.events[0].fields["codec"] == "mjpeg"


def test_jpeg_is_decoded_where_a_format_is_asked_for(encode_picture: Picture) -> None:
    (frame,) = play([jpeg(encode_picture, 40).packed], DecodeSettings(pixel_format=PixelFormat.RGB)).frames
    assert frame.frame_data.shape == (16, 32, 3)
    assert np.all(np.abs(frame.frame_data.astype(int) - [255, 0, 0]) <= 2)


@pytest.mark.parametrize("asked", [None, PixelFormat.RGB])
def test_jpeg_that_is_none_is_left_out_and_told(encode_picture: Picture, asked: PixelFormat | None) -> None:
    items = [jpeg(encode_picture, at) for at in (0, 40, 80)]
    items[1] = replace(items[1], data=b"GIF89a")
    played = play(packed(items), DecodeSettings(pixel_format=asked))
    assert played.times == [0, 80]
    assert isinstance(played.error, BrokenStreamError)
    assert "40 ms" in str(played.error)


def test_a_jpeg_bomb_is_not_decoded(encode_picture: Picture) -> None:
    played = play([jpeg(encode_picture, 0, width=640).packed], DecodeSettings(max_pixels=10_000))
    assert isinstance(played.error, StreamTooLargeError)


@pytest.mark.parametrize("format_", [FrameFormat.H264, FrameFormat.VP8, FrameFormat.JPEG, FrameFormat.RGB])
def test_frames_are_chosen_and_still_counted(
    format_: FrameFormat, encode_picture: Picture, pixels: NDArray[np.uint8]
) -> None:
    items = {
        FrameFormat.JPEG: lambda: [jpeg(encode_picture, n * 40).packed for n in range(25)],
        FrameFormat.RGB: lambda: [raw(n * 40, pixels) for n in range(25)],
    }.get(format_, lambda: packed(coded(format_, range(25))))()
    assert [frame.frame_number for frame in play(items, DecodeSettings(every_nth=10)).frames] == [0, 10, 20]
    assert play(items, DecodeSettings(max_fps=5)).times == [0, 200, 400, 600, 800]


@pytest.mark.parametrize("format_", [FrameFormat.H264, FrameFormat.VP8])
def test_key_frames_alone_come_at_once(format_: FrameFormat) -> None:
    """The first is there before the second has come, though pictures are shown late in this stream."""
    items = coded(format_, range(25), b_frames=3 if format_ is FrameFormat.H264 else 0)
    source = PacketsSource(DecodeSettings(keyframes_only=True), backlog_bytes=1 << 30)
    frames = source.frames(lambda event: None)
    source.append(items[0].packed)
    given = [next(frames)]
    for item in items[1:]:
        source.append(item.packed)
    source.end()
    given += frames
    assert [number_of(frame.frame_data, frame.height) for frame in given] == [0, 10, 20]
    assert [frame.frame_number for frame in given] == [0, 10, 20]
    assert [frame.timestamp_ms for frame in given] == [0, 400, 800]


def _append_all(source: PacketsSource, items: list[bytes], appended: list[int]) -> None:
    for item in items:
        source.append(item)
        appended.append(1)
    source.end()


def test_a_writer_waits_while_too_much_does(pixels: NDArray[np.uint8]) -> None:
    items = [raw(number, pixels) for number in range(50)]
    source = PacketsSource(PLAIN, backlog_bytes=3 * len(items[0]))
    appended: list[int] = []
    writer = threading.Thread(target=_append_all, args=(source, items, appended))
    writer.start()
    writer.join(0.05)
    assert writer.is_alive()
    assert 1 <= len(appended) <= 4
    assert source.offer(b"") is False
    assert [frame.timestamp_ms for frame in source.frames(lambda event: None)] == list(range(50))
    writer.join(5)
    assert not writer.is_alive()


def test_empty_items_take_room_too() -> None:
    source = PacketsSource(PLAIN, backlog_bytes=10_000)
    taken = sum(source.offer(b"") for _ in range(1000))
    assert taken < 100


@pytest.mark.parametrize("reading", [False, True])
def test_closing_wakes_writer_and_reader(reading: bool, pixels: NDArray[np.uint8]) -> None:
    source = PacketsSource(PLAIN, backlog_bytes=10)
    given: list[VideoFrame] = []
    if reading:  # the reader waits for what does not come
        thread = threading.Thread(target=lambda: given.extend(source.frames(lambda event: None)))
    else:  # the writer waits for a reader
        thread = threading.Thread(target=_append_all, args=(source, [raw(0, pixels)] * 3, []))
    thread.start()
    thread.join(0.02)
    assert thread.is_alive()
    source.close()
    source.close()
    thread.join(5)
    assert not thread.is_alive()
    assert not given


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory in use cannot be read here")
def test_memory_does_not_grow_with_the_stream() -> None:
    """Frames go when nobody has them any more, and not when the garbage collector comes by."""
    items = packed(coded(FrameFormat.H264, range(10), width=640, height=480))
    source = PacketsSource(PLAIN, backlog_bytes=1 << 30)
    for _ in range(20):
        for item in items:
            source.append(item)
    source.end()
    frames = source.frames(lambda event: None)
    gc.disable()
    try:
        for _ in islice(frames, 20):
            pass
        before = _resident_bytes()
        assert sum(1 for _ in frames) == 180
        assert _resident_bytes() - before < 40 * 640 * 480
    finally:
        gc.enable()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_broken_stream_lets_its_writer_go(pixels: NDArray[np.uint8]) -> None:
    source = PacketsSource(PLAIN, backlog_bytes=10)
    items = [b"no header", *[raw(0, pixels)] * 5]
    writer = threading.Thread(target=_append_all, args=(source, items, []))
    writer.start()
    with pytest.raises(BadStreamError):
        list(source.frames(lambda event: None))
    writer.join(5)
    assert not writer.is_alive()


def test_pixels_need_no_video_library() -> None:
    program = (
        "import sys\n"
        "from streaming.packets import PacketsSource\n"
        "from streaming.settings import DecodeSettings\n"
        "from streaming.header import FrameHeader, FrameFormat\n"
        "source = PacketsSource(DecodeSettings(), backlog_bytes=1000)\n"
        "source.append(FrameHeader(0, 2, 2, FrameFormat.RGB).pack() + bytes(12))\n"
        "source.end()\n"
        "assert len(list(source.frames(print))) == 1\n"
        "assert not {'av', 'cv2', 'mss'} & set(sys.modules)\n"
        "sys.modules['av'] = None\n"
        "source = PacketsSource(DecodeSettings(), backlog_bytes=1000)\n"
        "source.append(FrameHeader(0, 2, 2, FrameFormat.H264).pack() + bytes(12))\n"
        "try: list(source.frames(print))\n"
        "except Exception as error: sys.exit(f'{type(error).__name__}: {error}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr.startswith("UnsupportedStreamError: av")
    assert "pip install 'inferpipe[video]'" in done.stderr
