"""The worker's life: handshake, serving, end."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
from functools import partial
from typing import NoReturn

from preprocess.buffers import BufferPool
from protocol.errors import ErrorCode
from protocol.messages import STREAM_TYPES, CacheFrame, Command, Message, MessageType
from protocol.packet import PacketDecoder, RejectedPacket
from protocol.session import Handshake, HandshakeError, read_handshake
from worker import logs
from worker.config import parse_worker
from worker.config_readers import ConfigError
from worker.descriptors import Descriptors, allow_more
from worker.errors import SHUTTING_DOWN, Failure, failure_of
from worker.handlers import HANDLERS, UNANSWERED
from worker.handlers.metrics import serve_metrics
from worker.handlers.streams import reject_stream_packet
from worker.handshake import check_runtime, ready_fields
from worker.in_flight import InFlight
from worker.reader import PacketReader
from worker.requests import Request
from worker.responses import encode_fields
from worker.service import Service
from worker.watchdog import Watchdog
from worker.writer import ResponseWriter

log = logging.getLogger(__name__)

IDLE_BUFFER_BYTES = 64 << 20
"""What the pool of packet and tensor memory keeps for the next request: ten 1080p frames."""

_DESCRIPTORS = 4096
"""Room for every region that may be attached, and for what libraries open."""

_COLLECT_AFTER_S = 10.0
"""When garbage is collected at the latest: the start runs without (`worker.__main__`)."""

_FLUSH_S = 1.0
"""How long the end waits for a host that does not read its last answers."""

STATUS_OK, STATUS_NO_HANDSHAKE, STATUS_BROKEN_STREAM = 0, 1, 2


class Worker:
    """One connection to one host, from the first byte to the last."""

    def __init__(self, descriptors: Descriptors, loop: asyncio.AbstractEventLoop, started: float) -> None:
        self._loop = loop
        self._started = started
        self._buffers = BufferPool(IDLE_BUFFER_BYTES)
        self._in_flight = InFlight()
        self._decoder = PacketDecoder(self._in_flight.admit, self._buffers.lease)
        self._writer = ResponseWriter(descriptors.writer, loop, self._go_on, self._on_closed)
        self._reader = PacketReader(
            descriptors.reader,
            self._decoder,
            loop,
            self._take,
            self._on_end,
            self._on_lost_framing,
            self._is_held,
        )
        self._in_flight.on_room = self._go_on
        self._watchdog = Watchdog(descriptors.writer, partial(leave, STATUS_OK))
        self._service: Service | None = None
        self._handshake: Request | None = None
        self._end: asyncio.Future[int] = loop.create_future()

    async def run(self) -> int:
        """Serve the host until the connection ends; returns the process's exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows: the loop takes no signals
                self._loop.add_signal_handler(number, self._on_signal, number)
        self._reader.pump()
        status = await self._end
        self._reader.stop()
        if self._service is not None:
            await self._drain(self._service)
        await self._flush()
        return status

    def _is_held(self) -> bool:
        """Whether no further message is wanted for now."""
        return self._in_flight.waiting or self._writer.congested

    def _go_on(self) -> None:
        self._reader.pump()
        if self._service is not None:
            self._service.streams.go_on()

    def _take(self, message: Message | RejectedPacket) -> None:
        """Take up one message, on the event loop."""
        if self._service is None:
            self._shake_hands(message)
        elif isinstance(message, RejectedPacket):
            self._answer_rejected(self._service, message)
        else:
            self._dispatch(self._service, message)

    def _dispatch(self, service: Service, message: Message) -> None:
        unanswered = UNANSWERED.get(type(message))
        if unanswered is not None:
            unanswered(service, message)
            return
        request = self._in_flight.open(message.request_id, message.TYPE, message.payload_bytes)
        if service.draining and not isinstance(message, Command):
            if isinstance(message, CacheFrame):
                service.cache.remove(message.frame_id)
            service.fail(request, SHUTTING_DOWN)
            return
        try:
            HANDLERS[type(message)](service, request, message)
        except Exception as error:  # noqa: BLE001 - the boundary of this request
            service.fail(request, failure_of(error))

    def _answer_rejected(self, service: Service, packet: RejectedPacket) -> None:
        if packet.type in STREAM_TYPES:
            reject_stream_packet(service, packet)
            return
        if packet.named_id is not None:
            service.cache.remove(packet.named_id)  # a CACHE_FRAME that failed leaves its id empty
        request = self._in_flight.open(
            packet.request_id, packet.type, packet.payload_bytes, admitted=packet.admitted
        )
        service.fail(request, Failure(packet.code, packet.error, bare=packet.payload_fault))

    def _shake_hands(self, message: Message | RejectedPacket) -> None:
        try:
            handshake = read_handshake(message)
        except HandshakeError as error:
            self._refuse(str(error))
            return
        try:
            self._configure(handshake)
        except ConfigError as error:
            failure = {"status": "error", "error": str(error), "code": ErrorCode.BAD_REQUEST}
            self._writer.send(handshake.request_id, encode_fields(failure))
            self._refuse(f"handshake: {error}")

    def _configure(self, handshake: Handshake) -> None:
        config, warnings = parse_worker(handshake.config, handshake.protocol)
        check_runtime(config)
        for warning in warnings:
            log.warning("%s", warning)
        self._decoder.strict = config.protocol >= 3
        self._decoder.max_packet_bytes = config.limits.max_packet_bytes
        self._in_flight.limits = config.limits
        if config.parent_pid is not None:
            self._watchdog.also_watch(config.parent_pid)
        service = Service(config, self._buffers, self._in_flight, self._writer, self._loop, self._started)
        self._service = service
        warnings += serve_metrics(service)
        request = self._handshake = self._in_flight.open(handshake.request_id, MessageType.COMMAND, 0)
        self._loop.call_later(_COLLECT_AFTER_S, gc.enable)  # however long the models take
        for index, model in enumerate(config.models):
            service.slots.load(index, model, f"models[{index}]", lambda _: None)
        service.slots.when_loaded(partial(self._announce, service, request, warnings))

    def _announce(self, service: Service, request: Request, warnings: list[str]) -> None:
        # A full collection stops every thread for 6 ms to look through what the start made; now it need not.
        gc.freeze()
        gc.enable()
        if not request.answered:
            service.announce(request, encode_fields(ready_fields(service, warnings)))

    def _refuse(self, reason: str) -> None:
        log.error("%s", reason)
        self._finish(STATUS_NO_HANDSHAKE)

    def _on_end(self, fault: str | None) -> None:
        """The stream has ended; `fault` says how it is broken."""
        if self._service is None:
            self._refuse(f"handshake: {fault or 'the stream ended before it'}")
        elif fault is None:
            self._finish(STATUS_OK)
        else:
            log.error("%s", fault)
            self._finish(STATUS_BROKEN_STREAM)

    def _on_lost_framing(self, fault: str) -> None:
        if self._service is not None:
            failure = Failure(ErrorCode.BAD_REQUEST, fault)
            self._writer.send(0, self._service.shapes.body(MessageType.COMMAND, failure))
        self._on_end(fault)

    def _on_signal(self, number: int) -> None:
        if self._end.done():
            leave(128 + number, "a second signal")
        log.info("%s: draining", signal.Signals(number).name)
        self._finish(STATUS_OK)

    def _on_closed(self) -> None:
        leave(STATUS_OK, "the host closed the answers' end")

    def _finish(self, status: int) -> None:
        if not self._end.done():
            self._reader.stop()
            self._end.set_result(status)

    async def _drain(self, service: Service) -> None:
        """Give what is in flight its time, and answer what is left."""
        service.draining = True
        service.slots.flush()
        service.streams.drain()
        self._leave_the_network(service)
        empty = asyncio.Event()
        self._in_flight.when_empty(empty.set)
        try:
            async with asyncio.timeout(service.config.limits.drain_timeout_ms / 1000):
                await empty.wait()
        except TimeoutError:
            self._refuse_late(service)
            service.shut_down(list(self._in_flight.requests))
        await self._see_streams_off(service)

    async def _see_streams_off(self, service: Service) -> None:
        """Wait until the files of streams are removed, but not for ever."""
        gone = asyncio.Event()
        service.streams.when_gone(gone.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await gone.wait()

    def _leave_the_network(self, service: Service) -> None:
        """Answer what waits for files to come from elsewhere: that may take longer than the end has."""
        slots = service.slots
        fetching = [index for index in range(len(slots)) if slots.waits_for_network(index)]
        if not fetching:
            return
        self._refuse_late(service)
        for request in list(self._in_flight.requests):
            if request.slot in fetching and request.work is None:
                service.fail(request, SHUTTING_DOWN)
        slots.abandon_downloads()

    def _refuse_late(self, service: Service) -> None:
        """Answer a handshake whose models are still loading."""
        if self._handshake is not None and not self._handshake.answered:
            service.announce(self._handshake, service.shapes.body(MessageType.COMMAND, SHUTTING_DOWN))

    async def _flush(self) -> None:
        """Wait until the host has read its answers, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await self._writer.drained()


def serve(descriptors: Descriptors, started: float) -> NoReturn:
    """Serve a host on these descriptors; ends the process.

    Args:
        descriptors: where packets go, moved to safety.
        started: when the process began to run (performance counter), for `startupMs` and `uptimeMs`.
    """
    logs.start()
    allow_more(_DESCRIPTORS)
    loop = asyncio.new_event_loop()
    status = loop.run_until_complete(Worker(descriptors, loop, started).run())
    leave(status)


def leave(status: int, reason: str = "") -> NoReturn:
    """End the process now: no destructor, no thread and no library that hangs is waited for."""
    if reason:
        log.info("leaving: %s", reason)
    logs.flush_within(0.2)
    os._exit(status)
