"""`StreamHandler`: every kind of source as an async stream of frames, for asyncio programs."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from os import PathLike

from protocol.pixel_format import PixelFormat
from streaming.base import VideoFrame
from streaming.camera import CameraSource
from streaming.channel import ByteStreamFraming, DataChannelFraming, Framing
from streaming.errors import StreamError
from streaming.file import FileSource
from streaming.packets import PacketsSource
from streaming.pump import Drop, pumped
from streaming.screen import Region, ScreenSource
from streaming.settings import DecodeSettings

_RGB = DecodeSettings(pixel_format=PixelFormat.RGB)


class StreamHandler:
    """Gives frames of channels, pipes, cameras, screens and files.

        handler = StreamHandler()
        async with aclosing(handler.capture_camera(fps=15)) as frames:
            async for frame in frames:
                look_at(frame.frame_data)  # uint8 (height, width, 3), RGB

    Each method is an async generator and reads on a thread of its own, so that the event loop is
    never blocked. Closing it, or cancelling who waits for it, ends the source. Any number of
    streams may run at once. Frames that nobody takes make a source wait; a camera or a screen
    drops the oldest instead.
    """

    def __init__(self, settings: DecodeSettings = _RGB, backlog_bytes: int = 16 << 20) -> None:
        """Create a handler; it keeps nothing between streams.

        Args:
            settings: how all its streams are decoded and chosen. Without a pixel format, frames come
                as they were decoded, and JPEG still encoded.
            backlog_bytes: how much of a channel or a pipe may wait to be decoded.
        """
        self._settings = settings
        self._backlog_bytes = backlog_bytes

    def handle_webrtc_stream(
        self, stream_id: object, data_channel: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[VideoFrame, None]:
        """Give the frames of a data channel.

        Args:
            stream_id: names the stream's thread.
            data_channel: items: a header of 17 bytes (`streaming.header`) and the frame's data, or what
                continues an RGB or BGR frame. It is closed at the end; what it raises comes out.

        Raises:
            StreamError: after the frames that there were.
        """
        return self._received(stream_id, data_channel, DataChannelFraming(self._settings.max_pixels))

    def handle_native_stream(
        self, stream_id: object, pipe_reader: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[VideoFrame, None]:
        """Give the frames of a pipe.

        Args:
            stream_id: names the stream's thread.
            pipe_reader: chunks of any size, of `u32` lengths, each with a header and data, or with a
                message as browsers send it to native hosts (`streaming.native_messages`). It is closed
                at the end; what it raises comes out.

        Raises:
            StreamError: after the frames that there were.
        """
        return self._received(stream_id, pipe_reader, ByteStreamFraming(self._settings.max_pixels))

    def capture_camera(
        self, camera_id: int | str = 0, width: int = 640, height: int = 480, fps: float = 30
    ) -> AsyncGenerator[VideoFrame, None]:
        """Give the frames of a camera, as near to this size and pace as it can.

        Raises:
            StreamError: there is no such camera, or it has gone.
        """
        source = CameraSource(camera_id, width, height, fps, self._settings)
        return pumped(source, drop=Drop.OLDEST, name=f"camera {camera_id}")

    def capture_screen(
        self, region: Region | None = None, fps: float = 30
    ) -> AsyncGenerator[VideoFrame, None]:
        """Give pictures of the screen, or of a region (x, y, width, height) of it.

        Raises:
            StreamError: no screen can be read.
        """
        return pumped(ScreenSource(region, fps, self._settings), drop=Drop.OLDEST, name="screen")

    def read_video_file(
        self, file_path: str | PathLike[str], start_frame: int = 0, end_frame: int | None = None
    ) -> AsyncGenerator[VideoFrame, None]:
        """Give the frames of a file, from `start_frame` to before `end_frame`.

        Raises:
            StreamError: after the frames that there were.
        """
        source = FileSource(file_path, self._settings, start_frame, end_frame)
        return pumped(source, name=f"file {file_path}")

    async def _received(
        self, stream_id: object, items: AsyncGenerator[bytes, None], framing: Framing
    ) -> AsyncGenerator[VideoFrame, None]:
        room = asyncio.Event()
        source = PacketsSource(
            self._settings,
            backlog_bytes=self._backlog_bytes,
            framing=framing,
            room=_setter(asyncio.get_running_loop(), room),
        )
        feeding = asyncio.create_task(_feed(source, items, room))
        try:
            async with aclosing(pumped(source, name=f"stream {stream_id}")) as frames:
                async for frame in frames:
                    yield frame
        except StreamError as exc:
            _raise_failure(feeding, exc)
            raise
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        _raise_failure(feeding, None)


async def _feed(source: PacketsSource, items: AsyncGenerator[bytes, None], room: asyncio.Event) -> None:
    """Hand items over as fast as they are decoded; without a thread that would wait for that."""
    try:
        async with aclosing(items):
            async for item in items:
                while not source.offer(item):
                    await room.wait()
                    room.clear()
    finally:
        source.end()


def _setter(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> Callable[[], None]:
    def set_soon() -> None:
        with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(event.set)

    return set_soon


def _raise_failure(feeding: asyncio.Task[None], cause: StreamError | None) -> None:
    """Raise what ended the items, if that was an error of theirs: it comes before what followed from it."""
    if feeding.done() and not feeding.cancelled() and (error := feeding.exception()) is not None:
        raise error from cause
