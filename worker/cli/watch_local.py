"""Watches a source whose frames are wanted here too: read once, sent to the worker, drawn, written, shown."""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from postprocessors.results import Detection
from postprocessors.window import Window
from protocol.messages import Picture
from protocol.options import RequestOptions
from protocol.stream_open import StreamOptions
from streaming.base import StreamEvent as SourceEvent
from streaming.base import VideoFrame
from streaming.pump import Ended, FramePump
from worker.cli.watch_source import Watched
from worker.cli.watch_stream import feed
from worker.cli.watch_video import AnnotatedVideo, Artist, is_encodable
from worker.client import Answer, StreamEvent, WorkerClient, WorkerError
from worker.config import WorkerConfig
from worker.stream_sources import StreamPlan, input_of, make_source

_IN_FLIGHT = 4
"""Frames that are with the worker at once: one is decoded there while another is predicted."""
_AHEAD = 2
"""Frames that are decoded before their turn has come."""
_END_S = 1.0
"""For a source to let go of what it has open; one that waits for its server may take longer."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where frames with boxes go."""

    video: AnnotatedVideo | None
    window: Window | None

    def finish(self) -> bool:
        """Let go of them; returns whether a video was written.

        Raises:
            CommandFailed: it cannot be.
        """
        if self.window is not None:
            self.window.close()
        return self.video is not None and self.video.finish()


@dataclass(frozen=True, slots=True)
class _Sent:
    frame: VideoFrame
    answer: asyncio.Task[Answer]


class LocalRun:
    """A source that this process reads."""

    def __init__(
        self,
        worker: WorkerClient,
        watched: Watched,
        chosen: StreamOptions,
        wanted: RequestOptions,
        outputs: Outputs,
    ) -> None:
        plan = StreamPlan(watched.source, (0,), chosen, wanted, WorkerConfig())
        self._worker = worker
        self._wanted = wanted
        self._outputs = outputs
        self._artist = Artist()
        self._awake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._source = make_source(plan)
        self._is_fed = plan.is_fed
        self._input_error: Exception | None = None
        self._source_is_over = False
        self._pump = FramePump(self._source, _AHEAD, plan.drop, self._wake)
        self._sent: asyncio.Queue[_Sent | SourceEvent | Ended] = asyncio.Queue(_IN_FLIGHT - 1)
        self._answers: set[asyncio.Task[Answer]] = set()

    @property
    def dropped(self) -> int:
        return self._pump.dropped

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        # One thread: frames are drawn and written in their order, while the next ones are with the worker.
        drawing = ThreadPoolExecutor(1, "draw")
        sending = asyncio.create_task(self._send())
        self._pump.start("source")
        if self._is_fed:
            feed(input_of(self._source), self._input_failed)
        try:
            while not isinstance(thing := await self._sent.get(), Ended):
                if isinstance(thing, SourceEvent):
                    yield self._told(thing)
                    continue
                event, going_on = await self._answered(thing, drawing)
                yield event
                if not going_on:
                    return
            if (error := self._input_error or thing.error) is not None:
                raise error
        finally:
            sending.cancel()
            self._pump.stop()
            for answer in self._answers:
                answer.cancel()
            drawing.shutdown(wait=True)
            await self._source_ended()

    async def _send(self) -> None:
        while True:
            taken = self._pump.take()
            if taken is None:
                await self._awake.wait()
                self._awake.clear()
                continue
            if isinstance(taken, VideoFrame):
                answer = asyncio.create_task(self._infer(taken))
                self._answers.add(answer)
                answer.add_done_callback(self._answers.discard)
                await self._sent.put(_Sent(taken, answer))
                continue
            self._source_is_over = isinstance(taken, Ended)
            await self._sent.put(taken)
            if self._source_is_over:
                return

    async def _source_ended(self) -> None:
        """Wait for the source: what it has on disk goes with it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                while not self._source_is_over:
                    self._source_is_over = isinstance(self._pump.take(), Ended)
                    if not self._source_is_over:
                        self._awake.clear()
                        await self._awake.wait()

    async def _infer(self, frame: VideoFrame) -> Answer:
        data = frame.frame_data.data.cast("B")
        space = frame.color_space
        options = msgspec.structs.replace(self._wanted, color_space=space.value) if space else self._wanted
        try:
            return await self._worker.infer_raw(
                Picture(frame.width, frame.height, frame.format, data), options=options
            )
        except WorkerError as error:
            return error.answer

    async def _answered(self, sent: _Sent, drawing: ThreadPoolExecutor) -> tuple[StreamEvent, bool]:
        """Wait for a frame's answer and draw it; returns the event, and whether anybody looks on."""
        answer = await sent.answer
        found = msgspec.convert(answer.get("detections", []), list[Detection])
        draw = partial(self._draw, sent.frame, found)
        drawn = await self._loop.run_in_executor(drawing, draw)
        window = self._outputs.window
        going_on = window is None or drawn is None or window.show(drawn)
        frame = sent.frame
        event = {
            "event": "frame",
            "frameNumber": frame.frame_number,
            "timestampMs": frame.timestamp_ms,
            "width": frame.width,
            "height": frame.height,
            "results": [answer],
        }
        return cast("StreamEvent", event), going_on

    def _draw(self, frame: VideoFrame, found: list[Detection]) -> NDArray[np.uint8] | None:
        needed = bool(found) or self._outputs.window is not None or not is_encodable(frame)
        drawn = self._artist.draw(frame, found) if needed else None
        if self._outputs.video is not None:
            self._outputs.video.write(frame, drawn)
        return drawn

    def _told(self, event: SourceEvent) -> StreamEvent:
        fields: dict[str, Any] = {"event": event.name, **event.fields}
        if event.name == "started" and self._outputs.video is not None:
            self._outputs.video.rate = fields.get("fps")
        return cast("StreamEvent", fields)

    def _input_failed(self, error: Exception) -> None:
        self._input_error = error
        self._source.close()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._awake.set)
