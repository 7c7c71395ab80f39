"""An inference from its arrival to the queue of its model; requests and frames of streams alike."""

import math
import time
from collections.abc import Callable, Sequence

import msgspec

from protocol.messages import MessageType
from protocol.options import NO_OPTIONS, RequestOptions
from worker.batching import PLAIN, Arrival
from worker.errors import SUPERSEDED, cached_model_not_loaded, model_not_loaded, queue_full
from worker.replies import BatchReply, SingleReply
from worker.requests import Item, Priority, Reply, Request, Timings
from worker.service import Service
from worker.slot import ServingModel
from worker.sources import Source

_PRIORITIES = {priority.name.lower(): priority for priority in Priority}


class Asked(msgspec.Struct, frozen=True, eq=False):
    """An inference request until a model has it."""

    request: Request
    model: int
    options: RequestOptions
    arrived: float
    """Seconds of the performance counter."""


def ask(service: Service, request: Request, model: int, options: RequestOptions) -> Asked:
    """Take note of an inference on its arrival: its source, its deadline, and what it supersedes."""
    if options.supersede:
        for older in service.in_flight.of_source(model, options.source):
            service.give_up(older, SUPERSEDED)
    service.in_flight.bind(request, model, options.source)
    if options.deadline_ms is not None:
        request.timer = service.loop.call_later(options.deadline_ms / 1000, service.expire, request)
    return Asked(request, model, options, time.perf_counter())


def bind(service: Service, index: int, proceed: Callable[[ServingModel | None], None]) -> None:
    """Call back with the model that serves an index, else with what the newest load for it gives."""
    serving = service.slots.serving(index)
    load = service.slots.awaited_load(index) if serving is None else None
    if load is not None:
        load.waiting.append(proceed)
    else:
        proceed(serving)


def queue(service: Service, asked: Asked, sources: Sequence[Source], serving: ServingModel | None) -> None:
    """Queue a request's pictures for the model that it is bound to; None where there is no model."""
    request = asked.request
    if request.answered:  # its deadline passed while the model was loading
        return
    if serving is None:
        is_cached = request.type == MessageType.INFER_CACHED
        failure = cached_model_not_loaded if is_cached else model_not_loaded
        service.fail(request, failure(asked.model))
        return
    serving.use(asked.arrived)
    pipeline = serving.loaded.pipeline
    waiting, cap = pipeline.queue.waiting, serving.loaded.config.max_queued
    if cap is not None and waiting and waiting + len(sources) > cap:
        service.fail(request, queue_full(cap))
        return
    items = _items(service, asked, sources, serving)
    pipeline.adopt(items)
    request.work = (pipeline.queue, items)
    arrival = PLAIN if asked.options is NO_OPTIONS else _arrival(asked.options)
    if request.type == MessageType.INFER_BATCH:
        serving.accumulator.add_batch(items, arrival)
    else:
        serving.accumulator.add(items[0], arrival)


def _items(service: Service, asked: Asked, sources: Sequence[Source], serving: ServingModel) -> list[Item]:
    options, key = serving.default_options, serving.default_key
    if asked.options is not NO_OPTIONS:
        options = service.item_options(asked.options, serving.loaded.config)
        key = serving.loaded.pipeline.key(options)
    reply: Reply
    if asked.request.type == MessageType.INFER_BATCH:
        reply = BatchReply(asked.request, len(sources), service.shapes, service.completions)
    else:
        reply = SingleReply(asked.request, service.shapes, service.completions)
    deadline = math.inf
    if asked.options.deadline_ms is not None:
        deadline = asked.arrived + asked.options.deadline_ms / 1000
    return [
        Item(source, key, options, reply, Timings(asked.arrived), index, deadline=deadline)
        for index, source in enumerate(sources)
    ]


def _arrival(options: RequestOptions) -> Arrival:
    return Arrival(
        priority=_PRIORITIES[options.priority],
        source=options.source,
        hint=options.batch_hint,
        hint_s=options.batch_hint_ms / 1000,
        deadline_s=None if options.deadline_ms is None else options.deadline_ms / 1000,
    )
