"""INFER_JPEG, INFER_RAW, INFER_BATCH and INFER_CACHED: the pictures that are asked about."""

from collections.abc import Sequence
from functools import partial

from preprocess.frame import Frame
from protocol.errors import JPEG_DECODE_PREFIX, RAW_WRAP_PREFIX
from protocol.messages import InferBatch, InferCached, InferJpeg, InferRaw, Picture
from protocol.options import RequestOptions
from protocol.pixel_format import PixelFormat
from worker.asking import ask, bind, queue
from worker.errors import cached_model_not_loaded, frame_not_cached
from worker.requests import Request
from worker.responses import encode_fields
from worker.service import Service
from worker.sources import CachedSource, PacketSource, Source


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
    request.pictures = len(sources)
    _infer(service, request, message.model, sources, message.options)


def handle_cached(service: Service, request: Request, message: InferCached) -> None:
    """Queue a picture that the frame cache holds."""
    entry = service.cache.get(message.frame_id)
    if entry is not None:
        _infer(service, request, message.model, [CachedSource(entry)], message.options)
        return
    ask(service, request, message.model, message.options)
    if service.slots.binds(message.model):
        service.fail(request, frame_not_cached(message.frame_id))
    else:
        service.fail(request, cached_model_not_loaded(message.model))


def frame_of(picture: Picture) -> Frame:
    """Return a wire picture as a frame over the same bytes."""
    return Frame(picture.data, picture.width, picture.height, picture.format)


def _infer(
    service: Service, request: Request, model: int, sources: Sequence[Source], options: RequestOptions
) -> None:
    asked = ask(service, request, model, options)
    serving = service.slots.serving(model)
    if serving is not None:
        queue(service, asked, sources, serving)
    else:
        bind(service, model, partial(queue, service, asked, sources))
