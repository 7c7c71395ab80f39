"""The command `metrics`, the port of the same name, and what a snapshot asks the worker for."""

import threading
from functools import partial
from typing import Any

from protocol.commands import Metrics
from protocol.errors import ErrorCode
from worker import logs
from worker.errors import failure_of
from worker.metrics import (
    CacheGauges,
    Gauges,
    InFlightGauges,
    MetricsSnapshot,
    MetricsUnavailableError,
    QueueDepth,
)
from worker.requests import Request
from worker.responses import encode_fields
from worker.service import Service


def answer_metrics(service: Service, request: Request, command: Metrics) -> None:
    """Answer with everything as of now; text is made on a thread of its own."""
    taken = snapshot(service)
    if command.format == "json":
        service.answer_fields(request, _HEAD | {"metrics": taken.as_fields()})
        return
    render_it = partial(_render, service, request, taken)
    threading.Thread(target=render_it, name="metrics", daemon=True).start()


def snapshot(service: Service) -> MetricsSnapshot:
    """Return all metrics of this moment; on the event loop."""
    return service.metrics.snapshot(_gauges(service))


def serve_metrics(service: Service) -> list[str]:
    """Serve metrics on the configured port, if any; returns a warning where that cannot be."""
    port = service.config.metrics.port
    if port is None:
        return []
    from worker.metrics_server import MetricsServer  # noqa: PLC0415 - an HTTP server takes 20 ms to import

    try:
        MetricsServer(port, partial(snapshot, service), service.loop)
    except (MetricsUnavailableError, OSError) as error:
        return [f"metrics.port: {error}"]
    return []


_HEAD: dict[str, Any] = {"cmd": "metrics", "status": "ok"}


def _render(service: Service, request: Request, taken: MetricsSnapshot) -> None:
    from worker.prometheus import render  # noqa: PLC0415 - only who scrapes needs it

    fields: dict[str, Any]
    try:
        fields = _HEAD | {"text": render(taken)}
    except MetricsUnavailableError as error:
        fields = {"cmd": "metrics", "status": "error", "error": str(error), "code": ErrorCode.UNSUPPORTED}
    except Exception as error:  # noqa: BLE001 - the boundary of this request
        failure = failure_of(error)
        fields = {"cmd": "metrics", "status": "error", "error": failure.text, "code": failure.code}
    service.completions.put(request, encode_fields(fields))


def _gauges(service: Service) -> Gauges:
    cache, in_flight = service.cache, service.in_flight
    return Gauges(
        service.uptime_ms(),
        {index: depth for index in range(len(service.slots)) if (depth := _depth(service, index))},
        CacheGauges(
            bytes=cache.used_bytes,
            budget_bytes=service.config.limits.frame_cache_bytes,
            frames=len(cache),
            hits=cache.hits,
            misses=cache.misses,
            evicted=cache.evicted,
            tensor_hits=cache.tensor_hits,
            tensor_misses=cache.tensor_misses,
        ),
        InFlightGauges(
            in_flight.data_requests, in_flight.payload_bytes, in_flight.commands, len(service.streams)
        ),
        logs.dropped_lines(),
    )


def _depth(service: Service, index: int) -> QueueDepth | None:
    serving = service.slots.serving(index)
    if serving is None:
        return None
    pipeline = serving.loaded.pipeline
    waiting, preparing, ready = pipeline.queue.depth
    return QueueDepth(waiting, preparing, ready, pipeline.lanes.predicting)
