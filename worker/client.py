"""An asyncio host: spawns the worker, shakes hands, multiplexes requests, raises typed errors.

async with await WorkerClient.spawn({"protocol": 3, "models": [{"path": "m.onnx"}]}) as worker:
    answer = await worker.infer_jpeg(Path("a.jpg").read_bytes())
"""

import asyncio
import itertools
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self

from msgspec import json

from protocol.errors import FramingLost
from protocol.framing import ResponseDecoder
from protocol.messages import (
    CacheFrame,
    Command,
    DataMessage,
    InferBatch,
    InferCached,
    InferJpeg,
    InferRaw,
    InferShared,
    Parts,
    Picture,
    SharedPicture,
    StreamData,
    StreamEnd,
)
from protocol.options import NO_OPTIONS, RequestOptions
from protocol.pixel_format import PixelFormat
from worker.client_errors import Answer, HandshakeRefused, WorkerError, WorkerGone, raised
from worker.client_events import StreamEvent
from worker.client_stream import ClientStream, Source

__all__ = [
    "Answer",
    "ClientStream",
    "HandshakeRefused",
    "StreamEvent",
    "WorkerClient",
    "WorkerError",
    "WorkerGone",
    "encoded",
]

_READ_BYTES = 1 << 18


class _Waiter(Protocol):
    """Who waits for the answers to one id."""

    def part(self, answer: Answer, size: int) -> None:
        """Take an answer that is not the last."""

    def done(self, answer: Answer) -> None:
        """Take the last."""

    def fail(self, error: WorkerGone) -> None:
        """There will be none."""


class _Single:
    """Waits for a single answer; of several, for the last."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def part(self, answer: Answer, size: int) -> None:
        pass

    def done(self, answer: Answer) -> None:
        if not self.answered.done():
            self.answered.set_result(answer)

    def fail(self, error: WorkerGone) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


class WorkerClient:
    """One worker process. Every call may be in flight at once; answers come in any order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.ready: Answer = {}
        """The ready answer."""
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._ids = itertools.count(1)
        self._stream_ids = itertools.count(1)
        self._open: dict[int, _Waiter] = {}
        self._gone: WorkerGone | None = None
        self._receiving = asyncio.create_task(self._receive())

    @classmethod
    async def spawn(
        cls, config: Mapping[str, Any], *, command: Sequence[str] = (), stderr: int | None = None
    ) -> Self:
        """Start a worker and shake hands.

        Args:
            config: the handshake's configuration.
            command: how to start the worker; this Python's `-m worker` by default.
            stderr: as for `subprocess`; the worker's logs go to ours by default.

        Raises:
            HandshakeRefused: it ended, or answered with an error.
        """
        process = await asyncio.create_subprocess_exec(
            *(command or (sys.executable, "-m", "worker")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
        client = cls(process)
        try:
            client.ready = await client.send(Command(0, json.encode(config)))
        except (WorkerError, WorkerGone) as error:
            await client.close()
            raise HandshakeRefused(str(error)) from error
        except BaseException:  # given up on, while a model was loading: nobody would end the process
            process.kill()
            await client.close()
            raise
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def infer_jpeg(self, data: bytes, model: int = 0, options: RequestOptions = NO_OPTIONS) -> Answer:
        """Run a model on an encoded picture (JPEG, PNG, WebP)."""
        return await self.send(InferJpeg(self.next_id(), model, memoryview(data), options))

    async def infer_raw(
        self, picture: Picture, model: int = 0, options: RequestOptions = NO_OPTIONS
    ) -> Answer:
        """Run a model on raw pixels."""
        return await self.send(InferRaw(self.next_id(), model, picture, options))

    async def infer_batch(
        self, pictures: Sequence[Picture], model: int = 0, options: RequestOptions = NO_OPTIONS
    ) -> list[Answer]:
        """Run a model on several pictures; an item that failed has `error` and `code` in its place."""
        answer = await self.send(InferBatch(self.next_id(), model, tuple(pictures), options))
        results: list[Answer] = answer["results"]
        return results

    async def cache_frame(
        self, frame_id: int, picture: Picture, options: RequestOptions = NO_OPTIONS
    ) -> Answer:
        """Keep a picture in the worker under an id."""
        return await self.send(CacheFrame(self.next_id(), frame_id, picture, options))

    async def infer_cached(
        self, frame_id: int, model: int = 0, options: RequestOptions = NO_OPTIONS
    ) -> Answer:
        """Run a model on a picture that the worker keeps."""
        return await self.send(InferCached(self.next_id(), model, frame_id, options))

    async def infer_shared(
        self,
        region_id: int,
        picture: SharedPicture,
        model: int = 0,
        *,
        offset: int = 0,
        options: RequestOptions = NO_OPTIONS,
    ) -> Answer:
        """Run a model on a picture in a region that `command("region_attach", …)` has made known."""
        return await self.send(InferShared(self.next_id(), model, region_id, offset, picture, options))

    async def command(self, cmd: str, **fields: Any) -> Answer:
        """Send a command, its fields by their names on the wire: `command("load", index=1, config={…})`."""
        return await self.send(Command(self.next_id(), json.encode({"cmd": cmd, **fields})))

    def open_stream(
        self, source: Source, *, models: Sequence[int] = (0,), options: Mapping[str, Any] | None = None
    ) -> ClientStream:
        """Return a stream, to be opened by `async with`.

        async with worker.open_stream({"type": "file", "path": "a.mp4"}, options={"everyNth": 2}) as stream:
            async for event in stream:
                if event["event"] == "frame":
                    print(event["timestampMs"], event["results"][0])

        Entering raises `WorkerError` where the worker refuses the stream. The bytes of a "push" stream go by
        `send` and `finish`, from a task of their own. Leaving ends the stream, wherever it is.

        Args:
            source: `type`, and the fields of that type by their names on the wire.
            models: indices of the slots that see each frame.
            options: of the stream and of its requests, by their names on the wire.
        """
        return ClientStream(self, next(self._stream_ids) & 0xFFFF_FFFF, source, models, options or {})

    def next_id(self) -> int:
        """Return an id that is not in flight."""
        return next(number for number in self._ids if number & 0xFFFF_FFFF not in self._open) & 0xFFFF_FFFF

    async def send(self, message: Command | DataMessage) -> Answer:
        """Send a message and wait for its answer.

        Raises:
            WorkerError: it was answered with an error.
            WorkerGone: the worker ended before it answered.
        """
        if self._gone is not None:
            raise self._gone
        packet = message.encode_parts()
        waiting = _Single()
        self._open[message.request_id] = waiting
        await self._write(packet)
        answer = await waiting.answered
        if "error" in answer:
            raise raised(answer)
        return answer

    def listen(self, request_id: int, stream: ClientStream) -> None:
        """Give all answers to this id to a stream, until the final one.

        Raises:
            WorkerGone: the worker has ended.
        """
        if self._gone is not None:
            raise self._gone
        self._open[request_id] = stream

    async def post(self, message: Command | StreamData | StreamEnd) -> None:
        """Send a message without an answer of its own; where the worker is gone, nothing happens."""
        await self._write(message.encode_parts())

    async def close(self) -> int:
        """Close the worker's stdin, wait for what is in flight, and return its exit status."""
        self._stdin.close()
        await self._receiving
        return await self.process.wait()

    async def _write(self, packet: Parts) -> None:
        with suppress(ConnectionError):  # the receiving task learns why, and fails what is open
            self._stdin.writelines(packet)
            await self._stdin.drain()

    async def _receive(self) -> None:
        decoder = ResponseDecoder()
        try:
            while data := await self._stdout.read(_READ_BYTES):
                decoder.feed(data)
                for request_id, body in decoder:
                    self._take(request_id, body)
            reason = "the worker closed its answers"
        except (FramingLost, ConnectionError, ValueError) as error:
            reason = f"the worker's answers cannot be read: {error}"
        self._gone = WorkerGone(reason)
        for waiting in self._open.values():
            waiting.fail(self._gone)
        self._open.clear()

    def _take(self, request_id: int, body: bytes) -> None:
        waiting = self._open.get(request_id)
        if waiting is None:
            return
        answer: Answer = json.decode(body)
        if "event" in answer and answer.get("final") is not True:
            waiting.part(answer, len(body))
            return
        del self._open[request_id]
        waiting.done(answer)


def encoded(data: bytes) -> Picture:
    """Return a JPEG, PNG or WebP as a picture for a batch or the cache."""
    return Picture(0, 0, PixelFormat.ENCODED, memoryview(data))
