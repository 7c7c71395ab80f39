"""Streams: opened and closed by command, fed by packets that have no answers of their own."""

import logging
from typing import Any

from protocol.admission import RejectedPacket
from protocol.commands import StreamClose, StreamOpen
from protocol.errors import ErrorCode, WireError
from protocol.messages import StreamData, StreamEnd
from protocol.stream_open import parse_source, parse_stream_options
from streaming.errors import StreamError
from worker.errors import STREAM_DRAINED, Failure, failure_of, model_not_loaded
from worker.requests import Request
from worker.service import Service
from worker.stream import OpenStream
from worker.stream_sources import StreamPlan
from worker.streams import EndReason

log = logging.getLogger(__name__)


def open_stream(service: Service, request: Request, command: StreamOpen) -> None:
    """Open a stream; its events come under the command's id until the final one."""
    try:
        source = parse_source(command.source)
        options, request_options = parse_stream_options(command.options or {})
        _check(service, command)
        plan = StreamPlan(source, command.models, options, request_options, service.config)
        stream = OpenStream(service, request, command.stream_id, plan)
    except (WireError, StreamError) as error:
        _refuse(service, request, command, failure_of(error))
        return
    service.streams.add(command.stream_id, stream)
    stream.open()


def close_stream(service: Service, request: Request, command: StreamClose) -> None:
    """End a stream at once; its opener gets `end`."""
    head: dict[str, Any] = {"cmd": "stream_close", "streamId": command.stream_id}
    stream = service.streams.get(command.stream_id)
    if stream is None:
        text = f"stream {command.stream_id} is not open"
        error = {"status": "error", "error": text, "code": ErrorCode.BAD_REQUEST}
        service.answer_fields(request, head | error)
        return
    service.answer_fields(request, head | {"status": "ok"})
    stream.end(EndReason.CLOSED)


def handle_stream_data(service: Service, message: StreamData) -> None:
    """Hand data on; a stream that has ended takes none, which is no error: the host may not know yet."""
    stream = service.streams.get(message.stream_id)
    if stream is not None:
        stream.feed(message.data)


def handle_stream_end(service: Service, message: StreamEnd) -> None:
    """Take note that a host sends no more into a stream."""
    stream = service.streams.get(message.stream_id)
    if stream is not None:
        stream.end_input()


def reject_stream_packet(service: Service, packet: RejectedPacket) -> None:
    """End the stream of a packet that cannot be taken: a part of its data is missing."""
    stream = None if packet.named_id is None else service.streams.get(packet.named_id)
    if stream is None:
        log.warning("a packet of a stream that is not open: %s", packet.error)
    else:
        stream.fail(Failure(packet.code, packet.error))


def _check(service: Service, command: StreamOpen) -> None:
    """Raise WireError where the stream cannot be opened now."""
    if service.draining:
        raise WireError(STREAM_DRAINED.code, STREAM_DRAINED.text)
    if command.stream_id in service.streams:
        raise WireError(ErrorCode.BAD_REQUEST, f"stream {command.stream_id} is open already")
    if service.streams.is_full:
        limit = service.config.limits.max_streams
        raise WireError(ErrorCode.OVERLOADED, f"{limit} streams are open already (maxStreams)")
    for index in command.models:
        if service.slots.serving(index) is None and service.slots.awaited_load(index) is None:
            failure = model_not_loaded(index)
            raise WireError(failure.code, failure.text)


def _refuse(service: Service, request: Request, command: StreamOpen, failure: Failure) -> None:
    fields = {"cmd": "stream_open", "streamId": command.stream_id, "status": "error"}
    service.answer_fields(request, fields | {"error": failure.text, "code": failure.code, "final": True})
