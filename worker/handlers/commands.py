"""COMMAND: parsed here, and taken up here or by the neighbour that the table names."""

from collections.abc import Callable
from functools import partial
from typing import Any

from protocol.commands import (
    Cancel,
    CommandRequest,
    Drain,
    Load,
    Metrics,
    Ping,
    RegionAttach,
    RegionDetach,
    Replace,
    Status,
    StreamClose,
    StreamOpen,
    UncacheFrame,
    UnknownCommand,
    Unload,
    Warmup,
    parse_command,
)
from protocol.errors import UNKNOWN_COMMAND, ErrorCode, WireError
from protocol.messages import Command
from worker.errors import CANCELLED
from worker.handlers.metrics import answer_metrics
from worker.handlers.shared import attach_region, detach_region
from worker.handlers.streams import close_stream, open_stream
from worker.handlers.warmup import warm_up
from worker.requests import Request
from worker.service import Service
from worker.slot import Load as SlotLoad
from worker.streams import EndReason

MAX_COMMAND_BYTES = 4 << 20
"""Longer JSON would hold up the event loop while it is parsed: 20 ms for this much."""

MAX_COMMANDS = 256
"""Commands that may wait for loads to end, or for a drain; `limits` count data requests alone."""


def handle_command(service: Service, request: Request, message: Command) -> None:
    """Parse a command and take it up."""
    try:
        if len(message.body) > MAX_COMMAND_BYTES:
            raise WireError(ErrorCode.TOO_LARGE, f"a command of {len(message.body)} bytes")
        if service.in_flight.commands > MAX_COMMANDS:
            raise WireError(ErrorCode.OVERLOADED, f"{MAX_COMMANDS} commands wait already")
        command = parse_command(message.body)
    except WireError as error:
        service.answer_fields(request, _error("unknown", error.text, error.code))
        return
    _COMMANDS[type(command)](service, request, command)


def _load(service: Service, request: Request, command: Load | Replace) -> None:
    name = "load" if isinstance(command, Load) else "replace"
    answer = partial(_answer_load, service, request, name)
    service.slots.load(command.index, command.config, "config", answer)


def _answer_load(service: Service, request: Request, name: str, load: SlotLoad) -> None:
    head: dict[str, Any] = {"cmd": name, "index": load.index}
    if load.failure is not None:
        tail: dict[str, Any] = {"status": "error", "error": load.failure.text, "code": load.failure.code}
    else:
        tail = {"status": "ok", "loadMs": round(load.load_ms, 2)}
    more = {"slot": service.slots.fields(load.index), "warnings": load.warnings}
    service.answer_fields(request, head | tail | more)


def _unload(service: Service, request: Request, command: Unload) -> None:
    service.slots.unload(command.index)
    service.answer_fields(request, {"cmd": "unload", "index": command.index, "status": "ok"})


def _status(service: Service, request: Request, command: Status) -> None:
    if service.config.protocol >= 3:
        _answer_status(service, request)
        return
    # A v2 host sends `load` and `status` in one go and expects to see what the load did.
    service.slots.when_loaded(partial(_answer_status, service, request))


def _answer_status(service: Service, request: Request) -> None:
    fields = [service.slots.fields(index) for index in range(len(service.slots))]
    models = [_v2_model(slot) for slot in fields]
    service.answer_fields(request, {"cmd": "status", "status": "ok", "models": models, "slots": fields})


def _v2_model(slot: dict[str, Any]) -> dict[str, Any]:
    loaded = slot["loaded"]
    return {
        "index": slot["index"],
        "path": slot["path"] if loaded else None,
        "loaded": loaded,
        "postprocessor": slot["postprocessor"] if loaded else None,
    }


def _uncache(service: Service, request: Request, command: UncacheFrame) -> None:
    service.cache.remove(command.frame_id)
    fields = {"cmd": "uncache_frame", "status": "ok", "frameId": command.frame_id}
    service.answer_fields(request, fields)


def _ping(service: Service, request: Request, command: Ping) -> None:
    service.answer_fields(request, {"cmd": "ping", "status": "ok", "uptimeMs": service.uptime_ms()})


def _drain(service: Service, request: Request, command: Drain) -> None:
    service.draining = True
    service.slots.flush()
    service.streams.drain()
    answer = partial(service.answer_fields, request, {"cmd": "drain", "status": "ok"})
    service.streams.when_none(partial(service.in_flight.when_idle, answer))


def _cancel(service: Service, request: Request, command: Cancel) -> None:
    """Let go of what runs under an id, at any stage before predict; end the streams that it has opened."""
    inferences = [older for older in service.in_flight.with_id(command.request_id) if older.slot is not None]
    streams = service.streams.opened_by(command.request_id)
    for stream in streams:
        stream.end(EndReason.CANCELLED)
    cancelled = len(streams) + sum(service.give_up(older, CANCELLED) for older in inferences)
    head = {"cmd": "cancel", "status": "ok", "requestId": command.request_id}
    service.answer_fields(request, head | {"cancelled": cancelled})


def _unknown(service: Service, request: Request, command: UnknownCommand) -> None:
    text = UNKNOWN_COMMAND.format(command.name)
    service.answer_fields(request, _error(command.name, text, ErrorCode.UNSUPPORTED))


def _error(name: str, text: str, code: ErrorCode) -> dict[str, Any]:
    return {"cmd": name, "status": "error", "error": text, "code": code}


# Any: each function takes the one command that the table gives it.
_COMMANDS: dict[type[CommandRequest], Callable[[Service, Request, Any], None]] = {
    Load: _load,
    Replace: _load,
    Unload: _unload,
    Status: _status,
    UncacheFrame: _uncache,
    Ping: _ping,
    Drain: _drain,
    Cancel: _cancel,
    Warmup: warm_up,
    Metrics: answer_metrics,
    RegionAttach: attach_region,
    RegionDetach: detach_region,
    StreamOpen: open_stream,
    StreamClose: close_stream,
    UnknownCommand: _unknown,
}
