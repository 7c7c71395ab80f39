"""INFER_JPEG, INFER_RAW, INFER_BATCH and INFER_CACHED: bind to a model, queue, reply."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from preprocess.frame import Frame
from protocol.errors import JPEG_DECODE_PREFIX, RAW_WRAP_PREFIX
from protocol.messages import InferBatch, InferCached, InferJpeg, InferRaw, MessageType, Picture
from protocol.options import NO_OPTIONS, RequestOptions
from protocol.pixel_format import PixelFormat
from worker.errors import cached_model_not_loaded, frame_not_cached, model_not_loaded
from worker.replies import BatchReply, SingleReply
from worker.requests import Item, Reply, Request, Timings
from worker.responses import encode_fields
from worker.service import Service
from worker.slots import ServingModel
from worker.sources import CachedSource, PacketSource, Source


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """An inference request until a model has it."""

    request: Request
    model: int
    sources: Sequence[Source]
    options: RequestOptions
    arrived: float
    """Seconds of the performance counter."""


def handle_jpeg(service: Service, request: Request, message: InferJpeg) -> None:
    """Queue one encoded picture."""
    frame = Frame(message.data, 0, 0, PixelFormat.ENCODED)
    _infer(service, request, message.model, [PacketSource(frame, JPEG_DECODE_PREFIX)], message.options)


def handle_raw(service: Service, request: Request, message: InferRaw) -> None:
    """Queue one picture as it came."""
    source = PacketSource(frame_of(message.picture), RAW_WRAP_PREFIX)
    _infer(service, request, message.model, [source], message.options)


def handle_batch(service: Service, request: Request, message: InferBatch) -> None:
    """Queue several pictures that are answered together."""
    if not message.pictures:
        service.answer(request, encode_fields({"results": []}))
        return
    sources = [PacketSource(frame_of(picture), RAW_WRAP_PREFIX) for picture in message.pictures]
    _infer(service, request, message.model, sources, message.options)


def handle_cached(service: Service, request: Request, message: InferCached) -> None:
    """Queue a picture that the frame cache holds."""
    entry = service.cache.get(message.frame_id)
    if entry is not None:
        _infer(service, request, message.model, [CachedSource(entry)], message.options)
    elif service.slots.binds(message.model):
        service.fail(request, frame_not_cached(message.frame_id))
    else:
        service.fail(request, cached_model_not_loaded(message.model))


def frame_of(picture: Picture) -> Frame:
    """Return a wire picture as a frame over the same bytes."""
    return Frame(picture.data, picture.width, picture.height, picture.format)


def _infer(
    service: Service, request: Request, model: int, sources: Sequence[Source], options: RequestOptions
) -> None:
    """Bind a request to its model, on arrival."""
    asked = _Asked(request, model, sources, options, time.perf_counter())
    if options.deadline_ms is not None:
        request.timer = service.loop.call_later(options.deadline_ms / 1000, service.expire, request)
    serving = service.slots.serving(model)
    load = service.slots.newest_load(model)
    if serving is None and load is not None:
        load.waiting.append(partial(_submit, service, asked))
    else:
        _submit(service, asked, serving)


def _submit(service: Service, asked: _Asked, serving: ServingModel | None) -> None:
    """Queue a request for the model that it is bound to."""
    request = asked.request
    if request.answered:  # its deadline passed while the model was loading
        return
    if serving is None:
        is_cached = request.type == MessageType.INFER_CACHED
        failure = cached_model_not_loaded if is_cached else model_not_loaded
        service.fail(request, failure(asked.model))
        return
    items = _items(service, asked, serving)
    pipeline = serving.loaded.pipeline
    pipeline.adopt(items)
    request.work = (pipeline.queue, items)
    if request.type == MessageType.INFER_BATCH:
        serving.accumulator.add_batch(items)
    else:
        serving.accumulator.add(items[0])


def _items(service: Service, asked: _Asked, serving: ServingModel) -> list[Item]:
    options, key = serving.default_options, serving.default_key
    if asked.options is not NO_OPTIONS:
        options = service.item_options(asked.options, serving.loaded.config)
        key = serving.loaded.pipeline.key(options)
    reply: Reply
    if asked.request.type == MessageType.INFER_BATCH:
        reply = BatchReply(asked.request, len(asked.sources), service.shapes, service.completions)
    else:
        reply = SingleReply(asked.request, service.shapes, service.completions)
    return [
        Item(source, key, options, reply, Timings(asked.arrived), index)
        for index, source in enumerate(asked.sources)
    ]
