"""`StreamHandler`: frames of every kind of source for asyncio programs."""

import asyncio
import base64
import json
import struct
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from protocol.pixel_format import PixelFormat
from streaming.base import VideoFrame
from streaming.errors import BadStreamError, BrokenStreamError, SourceUnavailableError
from streaming.handler import StreamHandler
from streaming.header import FrameFormat, FrameHeader
from streaming.settings import DecodeSettings
from tests.streaming.clips import FASTSTART, encode, luma_of
from tests.streaming.packet_items import coded, packed, raw
from tests.streaming.virtual_screen import VirtualScreen

Frames = AsyncGenerator[VideoFrame, None]


class Source:
    """What brings items, as a data channel or a pipe does; knows whether it was closed."""

    def __init__(self, items: Iterable[bytes], error: Exception | None = None, endless: bool = False) -> None:
        self._items = list(items)
        self._error = error
        self._endless = endless
        self.taken = 0
        self.closed = False

    async def items(self) -> AsyncGenerator[bytes, None]:
        try:
            for item in self._items:
                self.taken += 1
                yield item
                await asyncio.sleep(0)
            if self._error is not None:
                raise self._error
            if self._endless:
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def collected(frames: Frames) -> list[VideoFrame]:
    return [frame async for frame in frames]


async def collect(frames: Frames, given: list[VideoFrame]) -> None:
    """As `collected`, where an error comes after some."""
    async for frame in frames:
        given.append(frame)  # noqa: PERF401 - they are wanted though it fails


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """`asyncio.run` with a time limit; afterwards no thread is left that was not there before."""
    before = set(threading.enumerate())

    def run_one(program: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(asyncio.wait_for(program, 20), debug=False)

    yield run_one
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), f"{thread.name} is left"


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def level_of(number: int) -> float:
    """How bright the RGB pixels of a coded frame are: full range."""
    return (luma_of(number) - 16) * 255 / 219


def assert_shows(frame: VideoFrame, number: int) -> None:
    assert frame.format is PixelFormat.RGB
    assert frame.frame_data.shape == (frame.height, frame.width, 3)
    assert np.mean(frame.frame_data) == pytest.approx(level_of(number), abs=2)


def prefixed(items: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


@pytest.mark.parametrize("format_", [FrameFormat.H264, FrameFormat.VP8])
def test_a_data_channel_of_coded_pictures(run: Any, format_: FrameFormat) -> None:
    source = Source(packed(coded(format_, range(12))))
    frames = run(collected(StreamHandler().handle_webrtc_stream("call-1", source.items())))
    assert [frame.timestamp_ms for frame in frames] == [n * 40 for n in range(12)]
    for number, frame in enumerate(frames):
        assert_shows(frame, number)
    assert source.closed


def test_a_data_channel_of_pixels(run: Any, pixels: NDArray[np.uint8]) -> None:
    continued = raw(40, pixels[..., ::-1], FrameFormat.BGR)
    source = Source([raw(0, pixels), continued[:20], continued[20:]])
    frames = run(collected(StreamHandler().handle_webrtc_stream(7, source.items())))
    assert [frame.frame_number for frame in frames] == [0, 1]
    assert all(np.array_equal(frame.frame_data, pixels) for frame in frames)


def test_jpeg_becomes_a_picture(run: Any, encode_picture: Callable[..., bytes]) -> None:
    rgb = np.zeros((16, 32, 3), np.uint8)
    rgb[..., 0] = 255
    item = FrameHeader(5, 0, 0, FrameFormat.JPEG).pack() + encode_picture(rgb)
    (frame,) = run(collected(StreamHandler().handle_webrtc_stream(1, Source([item]).items())))
    assert np.all(np.abs(frame.frame_data.astype(int) - rgb) <= 2)


@pytest.mark.parametrize("size", [1, 17, 4096])
def test_a_pipe_in_chunks_of_any_size(run: Any, size: int, pixels: NDArray[np.uint8]) -> None:
    stream = prefixed([raw(0, pixels), *packed(coded(FrameFormat.VP8, range(1, 4), width=32, height=32))])
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    frames = run(collected(StreamHandler().handle_native_stream("pipe", Source(chunks).items())))
    assert np.array_equal(frames[0].frame_data, pixels)
    for number, frame in enumerate(frames[1:], 1):
        assert_shows(frame, number)
    assert len(frames) == 4


def test_native_messages_of_a_browser(run: Any) -> None:
    bodies = [
        json.dumps(
            {
                "timestampMs": item.header.timestamp_ms,
                "width": 64,
                "height": 48,
                "format": "h264",
                "data": base64.b64encode(item.data).decode(),
            }
        ).encode()
        for item in coded(FrameFormat.H264, range(3))
    ]
    stream = b"".join(struct.pack("=I", len(body)) + body for body in bodies)
    frames = run(collected(StreamHandler().handle_native_stream("page", Source([stream]).items())))
    assert [frame.timestamp_ms for frame in frames] == [0, 40, 80]
    for number, frame in enumerate(frames):
        assert_shows(frame, number)


def test_a_broken_stream_gives_its_frames_then_the_error(run: Any, pixels: NDArray[np.uint8]) -> None:
    source = Source([raw(0, pixels), b"no header", raw(40, pixels)], endless=True)
    given: list[VideoFrame] = []

    frames = StreamHandler().handle_webrtc_stream(1, source.items())
    with pytest.raises(BadStreamError):
        run(collect(frames, given))
    assert len(given) == 1
    assert source.closed


def test_a_pipe_that_ends_within_a_frame_is_told(run: Any, pixels: NDArray[np.uint8]) -> None:
    source = Source([prefixed([raw(0, pixels)])[:-1]])
    with pytest.raises(BrokenStreamError, match="ends within a frame"):
        run(collected(StreamHandler().handle_native_stream(1, source.items())))


@pytest.mark.parametrize("also_cut", [False, True])
def test_what_the_channel_raises_comes_out(run: Any, also_cut: bool, pixels: NDArray[np.uint8]) -> None:
    """After the frames; also where the stream is broken because of it."""
    items = [raw(0, pixels), raw(1, pixels)[: 30 if also_cut else None]]
    source = Source(items, ConnectionResetError("the peer has gone"))
    given: list[VideoFrame] = []

    frames = StreamHandler().handle_webrtc_stream(1, source.items())
    with pytest.raises(ConnectionResetError, match="the peer has gone"):
        run(collect(frames, given))
    assert len(given) == (1 if also_cut else 2)
    assert source.closed


@pytest.mark.parametrize("backlog_bytes", [16 << 20, 100])
def test_leaving_the_loop_closes_everything(run: Any, backlog_bytes: int, pixels: NDArray[np.uint8]) -> None:
    source = Source([raw(number, pixels) for number in range(50)], endless=True)

    async def program() -> None:
        handler = StreamHandler(backlog_bytes=backlog_bytes)
        tasks = asyncio.all_tasks()
        async with aclosing(handler.handle_webrtc_stream(1, source.items())) as frames:
            async for frame in frames:
                if frame.frame_number == 2:
                    break
        assert source.closed
        assert asyncio.all_tasks() == tasks

    run(program())


def test_cancelling_who_waits_closes_everything(run: Any, pixels: NDArray[np.uint8]) -> None:
    source = Source([raw(0, pixels)], endless=True)

    async def program() -> None:
        first = asyncio.Event()

        async def wait_for_more() -> None:
            async with aclosing(StreamHandler().handle_webrtc_stream(1, source.items())) as frames:
                async for _ in frames:
                    first.set()

        waiting = asyncio.create_task(wait_for_more())
        await first.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert source.closed

    run(program())


def test_who_is_slow_makes_the_channel_wait_and_nobody_else(run: Any, pixels: NDArray[np.uint8]) -> None:
    source = Source([raw(number, pixels) for number in range(100)])

    async def program() -> int:
        handler = StreamHandler(backlog_bytes=500)
        async with aclosing(handler.handle_webrtc_stream(1, source.items())) as frames:
            await anext(frames)
            longest = 0.0
            for _ in range(20):  # the loop goes on while the channel waits
                began = time.perf_counter()
                await asyncio.sleep(0.001)
                longest = max(longest, time.perf_counter() - began)
            assert longest < 0.5
            taken = source.taken
            rest = [frame.timestamp_ms async for frame in frames]
            assert rest == list(range(1, 100))
            return taken

    assert run(program()) < 20


def test_several_streams_at_once(run: Any) -> None:
    items = packed(coded(FrameFormat.H264, range(20)))

    async def program() -> list[list[VideoFrame]]:
        handler = StreamHandler(backlog_bytes=1000)
        streams = [handler.handle_webrtc_stream(number, Source(items).items()) for number in range(8)]
        return await asyncio.gather(*(collected(frames) for frames in streams))

    for frames in run(program()):
        assert [frame.frame_number for frame in frames] == list(range(20))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("handler") / "clip.mp4"
    path.write_bytes(encode(FASTSTART))
    return path


def test_a_file_from_one_frame_to_another(run: Any, clip: Path) -> None:
    frames = run(collected(StreamHandler().read_video_file(clip, 12, 15)))
    assert [frame.frame_number for frame in frames] == [12, 13, 14]
    for frame in frames:
        assert_shows(frame, frame.frame_number)


def test_a_file_as_it_was_decoded(run: Any, clip: Path) -> None:
    frames = run(collected(StreamHandler(DecodeSettings(every_nth=10)).read_video_file(str(clip))))
    assert [(frame.format, frame.frame_number) for frame in frames] == [
        (PixelFormat.I420, n) for n in (0, 10, 20)
    ]


def test_a_file_that_is_not_there(run: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match=r"none\.mp4"):
        run(collected(StreamHandler().read_video_file(tmp_path / "none.mp4")))


def test_a_camera(run: Any, clip: Path) -> None:
    """A clip stands for it: as fast as it is read, so that old frames may be dropped."""
    given: list[VideoFrame] = []

    frames = StreamHandler().capture_camera(str(clip), 64, 48, 30)
    with pytest.raises(SourceUnavailableError, match="no more pictures after 30"):
        run(collect(frames, given))
    assert [frame.frame_number for frame in given[-2:]] == [28, 29]
    for frame in given:
        assert_shows(frame, frame.frame_number)


def test_a_screen(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = VirtualScreen(tmp_path, 64, 48)
    try:
        monkeypatch.setenv("DISPLAY", server.display)
        server.pixels[10:20, 30:40, :3] = [1, 2, 3]

        async def program() -> VideoFrame:
            async with aclosing(StreamHandler().capture_screen((30, 10, 10, 10), fps=100)) as frames:
                return await anext(frames)

        frame = run(program())
    finally:
        server.close()
    assert np.all(frame.frame_data == [3, 2, 1])
