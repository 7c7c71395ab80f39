"""How a source is watched: the worker reads it, and what comes on stdin is pushed to it."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Any, Protocol

import msgspec

from protocol.options import RequestOptions
from protocol.stream_open import StreamOptions
from worker.cli.failures import CommandFailed
from worker.cli.watch_source import Watched
from worker.client import ClientStream, StreamEvent, WorkerClient
from worker.stream_input import Appendable

_PIECE_BYTES = 1 << 16


class Run(Protocol):
    """A source that is being watched."""

    @property
    def dropped(self) -> int | None:
        """Frames that were given up because nobody took them in time; None while that is not known."""

    def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Give the stream's events to its end; whoever leaves earlier closes this.

        Raises:
            WorkerError: the worker ended the stream by an error.
            StreamError: reading the source did.
        """


class StreamedRun:
    """The worker reads the source; of stdin it is given what comes."""

    def __init__(
        self, worker: WorkerClient, watched: Watched, chosen: StreamOptions, wanted: RequestOptions
    ) -> None:
        source: Mapping[str, Any] = msgspec.to_builtins(watched.source)
        options = {**msgspec.to_builtins(chosen), **msgspec.to_builtins(wanted)}
        self._stream = worker.open_stream(source, options=options)
        self._is_stdin = watched.is_stdin
        self._gaps: Gaps | None = Gaps() if watched.live and chosen == StreamOptions() else None

    @property
    def dropped(self) -> int | None:
        if self._stream.end is not None:
            return self._stream.end["dropped"]
        return self._gaps.count if self._gaps else None

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        async with self._stream:
            if self._is_stdin:
                feed(_Pusher(self._stream, asyncio.get_running_loop()), _told_already)
            async for event in self._stream:
                if self._gaps and event["event"] == "frame":
                    self._gaps.see(event["frameNumber"])
                yield event
        end = self._stream.end
        if end is not None and end["reason"] != "eof":
            why = f"it says: {end['reason']}"
            raise CommandFailed(
                "the worker ended the stream", why, "run it again with --debug to see its log"
            )


class Gaps:
    """Counts the numbers that are missing: where no frame is left out on purpose, those were dropped."""

    def __init__(self) -> None:
        self.count = 0
        self._next: int | None = None

    def see(self, number: int) -> None:
        """Take the number of a frame."""
        if self._next is not None:
            self.count += max(0, number - self._next)
        self._next = number + 1


def feed(taker: Appendable, failed: Callable[[Exception], None]) -> None:
    """Give stdin to somebody, from a thread that may be left behind in a read that never returns.

    Args:
        taker: who takes it.
        failed: called on that thread with what the taker raised; nothing more is read then.
    """
    threading.Thread(target=_copy_stdin, args=(taker, failed), name="stdin", daemon=True).start()


def _copy_stdin(taker: Appendable, failed: Callable[[Exception], None]) -> None:
    try:
        while data := _read_stdin():
            taker.append(memoryview(data))
        taker.end()
    except Exception as error:  # noqa: BLE001 - the boundary of this thread
        failed(error)


def _read_stdin() -> bytes:
    """Return the next bytes; b"" at the end, and where it cannot be read."""
    try:
        return os.read(0, _PIECE_BYTES)
    except OSError:
        return b""


class _Pusher:
    """A stream of the event loop's, for another thread."""

    def __init__(self, stream: ClientStream, loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._loop = loop

    def append(self, data: memoryview) -> None:
        self._wait(self._stream.send(data))

    def end(self) -> None:
        self._wait(self._stream.finish())

    def _wait(self, sending: Coroutine[Any, Any, None]) -> None:
        try:
            asyncio.run_coroutine_threadsafe(sending, self._loop).result()
        except RuntimeError:  # the loop has been closed: nobody watches any more
            sending.close()
            raise


def _told_already(_error: Exception) -> None:
    """What ends a stream is told to whoever reads it."""
