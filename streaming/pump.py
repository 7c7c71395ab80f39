"""Runs a source on a thread of its own and keeps a few frames for whoever takes them."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from streaming.base import FrameSource, StreamEvent, VideoFrame

log = logging.getLogger(__name__)


class Drop(Enum):
    """What happens to a frame that nobody has taken when the next one comes."""

    NONE = "none"
    """The source waits."""
    OLDEST = "oldest"
    """The oldest goes: who is late sees what is new."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing that a pump gives."""

    error: Exception | None
    """What a source raised; a `StreamError` unless something unforeseen happened."""


class FramePump:
    """Thread-safe: one thread fills, one takes, any may stop it.

    Memory is bounded by `capacity` frames beside the one in the source's hands.
    """

    def __init__(self, source: FrameSource, capacity: int, drop: Drop, wake: Callable[[], None]) -> None:
        """Create a pump; nothing runs before `start`.

        Args:
            source: where frames come from.
            capacity: how many frames may wait.
            drop: what happens beyond that.
            wake: called from the pump's thread, without a lock held, when there is something to take
                after there was nothing.
        """
        self._source = source
        self._capacity = capacity
        self._drop = drop
        self._wake = wake
        self._waiting: deque[VideoFrame | StreamEvent | Ended] = deque()
        self._frames = 0
        self._changed = threading.Condition()
        self._stopped = False
        self.dropped = 0
        """Frames that went because nobody took them in time."""

    def start(self, name: str) -> None:
        """Begin to read, on a daemon thread of this name."""
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def take(self) -> VideoFrame | StreamEvent | Ended | None:
        """Take what is next; None where nothing is there yet. Never blocks."""
        with self._changed:
            if not self._waiting:
                return None
            taken = self._waiting.popleft()
            if isinstance(taken, VideoFrame):
                self._frames -= 1
                self._changed.notify()
        return taken

    def stop(self) -> None:
        """End the source and forget what waits; may block for a moment. What still comes is an `Ended`."""
        with self._changed:
            self._stopped = True
            self._waiting = deque(thing for thing in self._waiting if isinstance(thing, Ended))
            self._frames = 0
            self._changed.notify_all()
        self._source.close()

    def _run(self) -> None:
        error: Exception | None = None
        frames = self._source.frames(self._put)
        try:
            for frame in frames:
                self._put_frame(frame)
                if self._stopped:
                    break
        except Exception as raised:  # noqa: BLE001 - the boundary of this stream
            error = raised
        finally:
            with suppress(Exception):
                frames.close()  # what it has open is closed here
        self._put(Ended(error))

    def _put_frame(self, frame: VideoFrame) -> None:
        with self._changed:
            while self._frames >= self._capacity and not self._stopped:
                if self._drop is Drop.OLDEST:
                    self._drop_oldest()
                else:
                    self._changed.wait()
        self._put(frame)

    def _drop_oldest(self) -> None:
        for index, waiting in enumerate(self._waiting):
            if isinstance(waiting, VideoFrame):
                del self._waiting[index]
                self._frames -= 1
                self.dropped += 1
                return

    def _put(self, thing: VideoFrame | StreamEvent | Ended) -> None:
        with self._changed:
            if self._stopped and not isinstance(thing, Ended):
                return
            was_empty = not self._waiting
            self._waiting.append(thing)
            self._frames += isinstance(thing, VideoFrame)
        if was_empty:
            self._wake()


async def pumped(
    source: FrameSource, *, capacity: int = 2, drop: Drop = Drop.NONE, name: str = "source"
) -> AsyncGenerator[VideoFrame, None]:
    """Give a source's frames to an asyncio program; leaving the loop, or closing this, ends the source.

    Raises:
        StreamError: after the frames that there were.
    """
    loop = asyncio.get_running_loop()
    awake = asyncio.Event()
    pump = FramePump(source, capacity, drop, lambda: _call_in(loop, awake.set))
    pump.start(name)
    try:
        while True:
            taken = pump.take()
            if taken is None:
                await awake.wait()
                awake.clear()
            elif isinstance(taken, VideoFrame):
                yield taken
            elif isinstance(taken, Ended):
                if taken.error is not None:
                    raise taken.error
                return
    finally:
        pump.stop()


def _call_in(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
        loop.call_soon_threadsafe(callback)
