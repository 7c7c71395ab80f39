"""An open stream of a worker: events one way, data the other, as far as the worker has granted credit."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, cast

from msgspec import json

from protocol.messages import Command, StreamData, StreamEnd
from worker.client_errors import Answer, WorkerError, WorkerGone, raised
from worker.client_events import EndEvent, OpenedEvent, StreamEvent

Source: TypeAlias = Mapping[str, Any]
"""Where frames come from: `type` ("push", "packets", "file", "url", "camera", "screen"), and its fields."""

MOST_UNTAKEN = 256
"""Events that may wait for a reader before credit is held back from the writer."""

MOST_UNTAKEN_BYTES = 64 << 20
"""Of the answers that wait for a reader: beyond that the stream is given up."""

_DIVISIBLE = {"push": True, "packets": False}
"""Where data go piece by piece, as the credit allows; elsewhere a piece is a frame and goes whole."""


class StreamLink(Protocol):
    """The connection of a stream."""

    def next_id(self) -> int:
        """Return a request id that is not in flight."""

    async def command(self, cmd: str, **fields: Any) -> Answer:
        """Send a command and wait for its answer."""

    async def post(self, message: Command | StreamData | StreamEnd) -> None:
        """Send a message that nobody waits for; where the worker is gone, nothing happens."""

    def listen(self, request_id: int, stream: "ClientStream") -> None:
        """Give all answers to this id to a stream, until the final one."""


class ClientStream:
    """A stream that is open within `async with`, and gives its events to one `async for`.

    Whoever sends much and takes events in one task waits for itself: more than `MOST_UNTAKEN` events
    that nobody takes hold the credit back. Send in a task of its own then.
    """

    def __init__(
        self,
        link: StreamLink,
        stream_id: int,
        source: Source,
        models: Sequence[int],
        options: Mapping[str, Any],
    ) -> None:
        self.stream_id = stream_id
        self.opened: OpenedEvent | None = None
        self.end: EndEvent | None = None
        """The final event, once it has come."""
        self._link = link
        self._request = {
            "cmd": "stream_open",
            "streamId": stream_id,
            "source": dict(source),
            "models": list(models),
            "options": dict(options),
        }
        self._divisible = _DIVISIBLE.get(source.get("type", ""))
        self._events: deque[tuple[StreamEvent, int]] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._granted = asyncio.Event()
        self._over = asyncio.Event()
        self._sending = asyncio.Lock()
        self._credit = 0
        self._held_credit = 0
        self._window = 0
        self._left = False
        self._failure: WorkerError | WorkerGone | None = None
        """Why nothing more is taken."""
        self._raises: WorkerError | WorkerGone | None = None
        """What the reader has yet to be told, once."""

    async def __aenter__(self) -> Self:
        request_id = self._link.next_id()
        self._link.listen(request_id, self)
        try:
            await self._link.post(Command(request_id, json.encode(self._request)))
            while self.opened is None and not self._over.is_set():
                self._arrived.clear()
                await self._arrived.wait()
        except BaseException:
            await self.close()
            raise
        if self.opened is None and self._raises is not None:
            raise self._raises
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        """Return the next event; the final one ends the iteration.

        Raises:
            WorkerError: the stream ended by an error; the events before it have been given.
            WorkerGone: the worker ended.
        """
        while not self._events:
            if self._over.is_set() or self._left:
                self._tell_failure()
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        event, size = self._events.popleft()
        self._bytes -= size
        self._grant()
        return event

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes of a "push" stream, or one frame of a "packets" stream, as soon as there is credit.

        Raises:
            WorkerError: the stream has ended, with why; or the frame is larger than all the credit.
            WorkerGone: the worker ended.
        """
        if self._divisible is None:
            raise WorkerError("bad_request", "the worker reads this stream by itself", {})
        view = memoryview(data).cast("B")
        async with self._sending:
            if not self._divisible and len(view) > max(self._window, 1):
                raise _too_large(len(view), self._window)
            await self._send(view, min(1, len(view)) if self._divisible else len(view))

    async def finish(self) -> None:
        """Say that nothing more will be sent. The events go on until the final one.

        Raises:
            WorkerError: the stream has ended, with why.
            WorkerGone: the worker ended.
        """
        async with self._sending:
            if self._failure is not None:
                raise self._failure
            await self._link.post(StreamEnd(0, self.stream_id))

    async def close(self) -> None:
        """End the stream, and wait until the worker has let go of it; events that are left are dropped."""
        self._left = True
        self._forget()
        self._arrived.set()
        if self._over.is_set():
            return
        self._stop(WorkerError("closed", "the stream has been left", {}))
        with suppress(WorkerError, WorkerGone):
            await self._link.command("stream_close", streamId=self.stream_id)
            await self._over.wait()

    def part(self, answer: Answer, size: int) -> None:
        """Take an answer that is not the last, and its size in bytes."""
        name = answer["event"]
        if name == "credit":
            self._held_credit += answer["bytes"]
            self._grant()
        elif name == "opened":
            self.opened = cast("OpenedEvent", answer)
            self._window = self._held_credit = self.opened["credit"]
            self._grant()
            self._arrived.set()
        elif not self._left:
            self._keep(cast("StreamEvent", answer), size)

    def done(self, answer: Answer) -> None:
        """Take the final answer."""
        if "error" in answer:
            self.fail(raised(answer))
            return
        self.end = cast("EndEvent", answer)
        why = f"the stream has ended: {answer.get('reason', 'no more frames')}"
        self._finish(WorkerError("closed", why, answer))

    def fail(self, error: WorkerError | WorkerGone) -> None:
        """There will be no other answer. What has come is still given before this is raised."""
        if not self._left:
            self._raises = error
        self._finish(error)

    def _finish(self, why: WorkerError | WorkerGone) -> None:
        self._over.set()
        self._arrived.set()
        self._stop(why)

    def _stop(self, why: WorkerError | WorkerGone) -> None:
        self._failure = self._failure or why
        self._granted.set()

    def _tell_failure(self) -> None:
        error, self._raises = self._raises, None
        if error is not None:
            raise error

    def _keep(self, event: StreamEvent, size: int) -> None:
        self._events.append((event, size))
        self._bytes += size
        self._arrived.set()
        if self._bytes <= MOST_UNTAKEN_BYTES:
            return
        error = WorkerError("overloaded", f"nobody took {self._bytes} bytes of this stream's events", {})
        self._left = True  # what has come is still given; the rest is not kept
        self._raises = error
        self._stop(error)
        self._closing = asyncio.create_task(self._close_unread())

    async def _close_unread(self) -> None:
        with suppress(WorkerError, WorkerGone):
            await self._link.command("stream_close", streamId=self.stream_id)

    def _forget(self) -> None:
        self._events.clear()
        self._bytes = 0
        self._raises = None

    def _grant(self) -> None:
        """Give what is held back to the writer, where the reader keeps up."""
        if self._held_credit and len(self._events) <= MOST_UNTAKEN:
            self._credit += self._held_credit
            self._held_credit = 0
            self._granted.set()

    async def _send(self, view: memoryview, least: int) -> None:
        sent = 0
        while True:
            await self._until(least)
            size = min(self._credit, len(view) - sent)
            self._credit -= size
            await self._link.post(StreamData(0, self.stream_id, view[sent : sent + size]))
            sent += size
            if sent >= len(view):
                return

    async def _until(self, credit: int) -> None:
        while self._failure is None and self._credit < credit:
            self._granted.clear()
            await self._granted.wait()
        if self._failure is not None:
            raise self._failure


def _too_large(size: int, most: int) -> WorkerError:
    text = (
        f"a frame of {size} bytes, and at most {most} may be on their way; "
        "send RGB and BGR in pieces, each after the first without a header"
    )
    return WorkerError("too_large", text, {})
