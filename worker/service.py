"""What a configured worker is made of, as the handlers use it. Belongs to the event loop."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from frame_cache.memory import FrameCache
from postprocessors.base import ResultOptions
from preprocess.buffers import BufferPool
from preprocess.options import ColorSpace, DecodeOptions
from protocol.errors import ErrorCode
from protocol.options import NO_OPTIONS, RequestOptions
from runtimes.cores import available_cores
from worker.batching import make_accumulator
from worker.completions import CompletionQueue
from worker.config import ModelConfig, WorkerConfig
from worker.errors import DEADLINE_EXCEEDED, SHUTTING_DOWN, Failure
from worker.in_flight import InFlight
from worker.loading import LoadedModel, ModelLoader, auto_concurrency
from worker.metrics import Metrics
from worker.pictures import Pictures
from worker.pipeline import Stages
from worker.pools import PreparePool
from worker.regions import RegionTable
from worker.requests import ItemOptions, Request
from worker.responses import ErrorShapes, encode_fields
from worker.shares import PredictShares
from worker.slot import ServingModel
from worker.slots import STUCK_AFTER_S, SlotTable
from worker.streams import StreamTable
from worker.writer import ResponseWriter

PREPARE_THREADS_AT_MOST = 8
"""Beyond it the interpreter's lock eats what more threads would bring."""

_STUCK_CHECK_S = 1.0


class Service:
    """Slots, cache and pools of one worker, and the one place where requests are answered."""

    def __init__(
        self,
        config: WorkerConfig,
        buffers: BufferPool,
        in_flight: InFlight,
        writer: ResponseWriter,
        loop: asyncio.AbstractEventLoop,
        started: float,
    ) -> None:
        """Put a worker together.

        Args:
            config: the handshake.
            buffers: the memory that packets and tensors use in turn.
            in_flight: books requests on and off.
            writer: takes the answers.
            loop: the worker's.
            started: when the process began to run (performance counter).
        """
        self.config = config
        self.in_flight = in_flight
        self.loop = loop
        self.started = started
        self.draining = False
        self.workers = config.concurrency or auto_concurrency()
        self.shapes = ErrorShapes(config.protocol)
        self.metrics = Metrics()
        self.regions = RegionTable(loop, buffers)
        self.completions = CompletionQueue(loop, self.answer)
        self.prepare_pool = PreparePool(min(available_cores(), PREPARE_THREADS_AT_MOST))
        self.pictures = Pictures(buffers)
        self.streams = StreamTable(config.limits.max_streams)
        self.cache = FrameCache(config.limits.frame_cache_bytes, self.pictures.decode)
        self._early: list[Callable[[], None]] | None = []
        """Sends what was to be said before the worker was ready: the ready answer comes first."""
        self._writer = writer
        self._shares = PredictShares(self.workers)
        stages = Stages(self.prepare_pool, self._shares, self.pictures)
        self.slots = SlotTable(ModelLoader(config, self.workers, stages), self._serve, loop)
        loop.call_later(_STUCK_CHECK_S, self._watch_stuck)

    def answer(self, request: Request, body: bytes, code: ErrorCode | None = None) -> None:
        """Give a request its one answer; what comes later (it was answered at a deadline) is dropped.

        Args:
            request: not a command that has been answered.
            body: JSON.
            code: of the failure that it says.
        """
        if request.answered:
            return
        request.answered = True
        if self._early is None or request.sink is not None:
            self._send(request, body, code)
        else:
            self._early.append(partial(self._send, request, body, code))

    def announce(self, handshake: Request, body: bytes) -> None:
        """Answer the handshake, and then what was finished before it."""
        early, self._early = self._early or [], None
        self.answer(handshake, body)
        for send in early:
            send()

    def answer_fields(self, request: Request, fields: dict[str, Any]) -> None:
        """Answer with an object."""
        self.answer(request, encode_fields(fields))

    def fail(self, request: Request, failure: Failure) -> None:
        """Answer with an error object."""
        self.answer(request, self.shapes.body(request.type, failure), failure.code)

    def expire(self, request: Request) -> None:
        """Act on a deadline: what has not reached predict is answered `deadline_exceeded`."""
        self.give_up(request, DEADLINE_EXCEEDED)

    def give_up(self, request: Request, failure: Failure) -> bool:
        """Fail what of a request has not reached predict; returns whether there was any of it."""
        if request.answered:
            return False
        if request.work is None:
            self.answer(request, self.shapes.given_up(request.type, request.pictures, failure), failure.code)
            return True
        queue, items = request.work
        withdrawn = [item for item in items if queue.withdraw(item)]
        for item in withdrawn:
            item.reply.fail(item, failure)
        return bool(withdrawn)

    def shut_down(self, requests: Sequence[Request]) -> None:
        """Answer what the end of the worker leaves undone."""
        self.streams.fail(SHUTTING_DOWN)
        for request in requests:
            self.fail(request, SHUTTING_DOWN)

    @property
    def congested(self) -> bool:
        """Whether the host has much to read: nothing should be begun that only says more."""
        return self._writer.congested

    def uptime_ms(self) -> float:
        """Return the milliseconds since the process began."""
        return round((time.perf_counter() - self.started) * 1000, 2)

    def item_options(self, options: RequestOptions, config: ModelConfig) -> ItemOptions:
        """Sort a request's options by the room that reads them; the slot's defaults fill in."""
        return ItemOptions(
            ResultOptions(
                confidence=config.confidence if options.confidence is None else options.confidence,
                iou=options.iou,
                classes=options.classes,
                max_detections=options.max_detections,
                agnostic=options.agnostic,
            ),
            DecodeOptions(options.exif, ColorSpace(options.color_space), self.config.limits.max_pixels),
            options.roi,
        )

    def tell(self, request: Request, body: bytes) -> None:
        """Send an event that is not the last: the request stays open."""
        if self._early is None:
            self._writer.send(request.id, body)
        else:
            self._early.append(partial(self._writer.send, request.id, body))

    def _send(self, request: Request, body: bytes, code: ErrorCode | None) -> None:
        if request.type:  # not a command
            self.metrics.answered(request.slot, request.work[1] if request.work else (), code)
        if request.sink is None:
            self._writer.send(request.id, body)
            self.in_flight.close(request)
        else:
            request.work = None
            if request.timer is not None:
                request.timer.cancel()
            request.sink(body, code)

    def _serve(self, loaded: LoadedModel) -> ServingModel:
        plan, queue = loaded.pipeline.plan, loaded.pipeline.queue
        accumulator = make_accumulator(self.config, queue, plan.batch_limit, self.loop)
        options = self.item_options(NO_OPTIONS, loaded.config)
        return ServingModel(loaded, accumulator, options, loaded.pipeline.key(options))

    def _watch_stuck(self) -> None:
        self._shares.take_back(older_than_s=STUCK_AFTER_S)
        self.loop.call_later(_STUCK_CHECK_S, self._watch_stuck)
