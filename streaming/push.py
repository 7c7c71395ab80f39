"""A container file that somebody sends piece by piece, decoded while it grows."""

import threading
from collections.abc import Generator
from pathlib import Path

from streaming.base import Notify, StreamEvent, VideoFrame
from streaming.buffer import Data, StreamingBuffer
from streaming.errors import BrokenStreamError, StreamError, UnsupportedStreamError
from streaming.mp4_layout import BoxWalk, Layout
from streaming.settings import Access, DecodeSettings
from streaming.temp_files import own_folder, sweep_once

_DISCARD_BYTES = 1 << 18
"""What has been read is given back to the disk in portions of this size: one system call each."""

_DRAIN_BYTES = 1 << 20


class PushSource:
    """Frames of a container file (MP4, MKV, WebM, MPEG-TS, …) that grows by `append`.

    The bytes go through a temporary file. One that can be read as it comes is, from the beginning to
    the end and never back, and what was read goes from the disk: such a stream may go on for ever.
    An MP4 whose index is at its end has to be whole first; the same file is decoded then.
    """

    def __init__(
        self,
        settings: DecodeSettings,
        *,
        temp_dir: Path | None,
        max_bytes: int,
        backlog_bytes: int = 16 << 20,
    ) -> None:
        """Create a source; nothing is opened before `append` or `frames`.

        Args:
            settings: how it is decoded.
            temp_dir: where the temporary file is; None: the system's folder for them.
            max_bytes: what the temporary file may take.
            backlog_bytes: how many bytes may wait for the decoder before `append` does.
        """
        self._settings = settings
        self._temp_dir = temp_dir
        self._max_bytes = max_bytes
        # What waits and what is not yet given back stay below the cap, however slow the decoder is.
        self._backlog_bytes = min(backlog_bytes, max_bytes // 2)
        self._discard_bytes = min(_DISCARD_BYTES, max_bytes // 8)
        self._lock = threading.Lock()
        self._buffer: StreamingBuffer | None = None
        self._ended = False
        self._closed = False

    def append(self, data: Data) -> None:
        """Add the next bytes; from one thread.

        Waits while more than `backlog_bytes` are unread, except for a file that has to be whole first.
        Does nothing once this is closed, or its frames have ended.

        Raises:
            StreamTooLargeError: more than `max_bytes` would be kept, or the disk is full.
            StreamError: the temporary file cannot be made or written.
            ValueError: after `end`.
        """
        buffer = self._opened()
        if buffer is None:
            return
        try:
            buffer.append(data)
        except OSError as error:
            raise StreamError(
                f"the stream cannot be kept in {buffer.path.parent}: {error.strerror}"
            ) from error

    def end(self) -> None:
        """There is no more data."""
        with self._lock:
            self._ended = True
            if self._buffer is not None:
                self._buffer.close_writer()

    def frames(self, notify: Notify) -> Generator[VideoFrame, None, None]:
        """See `FrameSource`; notifies "needsTail" where the file has to be whole first."""
        try:
            buffer = self._opened()
            if buffer is not None:
                yield from self._decoded(buffer, notify)
        except StreamError:
            if not self._closed:  # what was closed under the decoder's hands is no error
                raise
        finally:
            self.close()

    def close(self) -> None:
        """See `FrameSource`; whoever waits in `append` goes on, and the temporary file is removed."""
        with self._lock:
            self._closed = True
            if self._buffer is not None:
                self._buffer.close()

    def _opened(self) -> StreamingBuffer | None:
        """Return the temporary file, made when it is first asked for; None once this is closed."""
        with self._lock:
            if self._closed:
                return None
            if self._buffer is None:
                self._buffer = self._make_buffer()
                if self._ended:
                    self._buffer.close_writer()
            return self._buffer

    def _make_buffer(self) -> StreamingBuffer:
        try:
            sweep_once(own_folder(self._temp_dir))
            return StreamingBuffer(self._temp_dir, max_bytes=self._max_bytes, max_unread=self._backlog_bytes)
        except OSError as error:
            raise StreamError(f"no temporary file can be made for the stream: {error}") from error

    def _decoded(self, buffer: StreamingBuffer, notify: Notify) -> Generator[VideoFrame, None, None]:
        if not buffer.wait(1) and not self._closed:
            raise BrokenStreamError("the stream ended before any data came")
        walk = BoxWalk()
        self._wait_for_layout(buffer, walk)
        file: StreamingBuffer | _ForwardReader = _ForwardReader(buffer, walk, self._discard_bytes)
        if walk.layout is Layout.INDEX_LAST or (walk.is_mp4 and walk.layout is Layout.NOT_KNOWN):
            notify(StreamEvent("needsTail"))
            self._wait_for_whole(buffer, walk)
            file = buffer
        try:
            yield from self._decode(file, notify)
        except (BrokenStreamError, UnsupportedStreamError) as error:
            if buffer.ended:
                self._raise_if_truncated(buffer, walk, error)
            raise
        while file.read(_DRAIN_BYTES):  # the sender is still there, and only the end tells whether all came
            pass
        self._raise_if_truncated(buffer, walk)

    def _decode(
        self, file: "StreamingBuffer | _ForwardReader", notify: Notify
    ) -> Generator[VideoFrame, None, None]:
        if self._closed:
            return
        from streaming.video import decode_video  # noqa: PLC0415 - PyAV is loaded when it is needed

        yield from decode_video(file, self._settings, Access(()), notify, lambda: self._closed)

    def _wait_for_layout(self, buffer: StreamingBuffer, walk: BoxWalk) -> None:
        """Wait until the boxes tell, the data end, or as many wait as may: then the file has to be whole."""
        more = True
        while more:
            walk.advance(buffer.read_at)
            needed = max(buffer.written + 1, walk.offset + 8)
            more = walk.layout is Layout.NOT_KNOWN and needed <= self._backlog_bytes and buffer.wait(needed)

    def _wait_for_whole(self, buffer: StreamingBuffer, walk: BoxWalk) -> None:
        buffer.lift_max_unread()
        buffer.wait_for_end()
        walk.advance(buffer.read_at)
        if not walk.has_index:  # nothing can be decoded, and the decoder could not say why
            self._raise_if_truncated(buffer, walk)

    def _raise_if_truncated(
        self, buffer: StreamingBuffer, walk: BoxWalk, cause: StreamError | None = None
    ) -> None:
        walk.advance(buffer.read_at)
        where = walk.truncation(buffer.written)
        if where is not None and not self._closed:
            raise BrokenStreamError(f"the stream is cut short: {where}") from cause


class _ForwardReader:
    """What a decoder gets of a file that still grows.

    It cannot seek: libavformat would look at the end of the file first, and wait there for the whole of it.
    """

    def __init__(self, buffer: StreamingBuffer, walk: BoxWalk, discard_bytes: int) -> None:
        self._buffer = buffer
        self._walk = walk
        self._discard_bytes = discard_bytes

    def read(self, size: int) -> bytes:
        """Read what is there, and wait only where nothing is; b"" at the end."""
        buffer, walk = self._buffer, self._walk
        data = buffer.read(size)
        walk.advance(buffer.read_at)
        done = buffer.tell() if walk.over else min(buffer.tell(), walk.offset)
        if done - buffer.discarded >= self._discard_bytes:
            buffer.discard(done)
        return data
