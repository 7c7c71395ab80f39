"""CACHE_FRAME: keep a picture under an id."""

from dataclasses import dataclass

from frame_cache.errors import FrameTooLargeError
from frame_cache.memory import CachedFrame
from preprocess.options import ColorSpace, DecodeOptions
from protocol.errors import CACHE_WRAP_PREFIX, ErrorCode
from protocol.messages import CacheFrame
from protocol.pixel_format import PixelFormat
from worker.errors import Failure, failure_of
from worker.handlers.infer import frame_of
from worker.requests import Request
from worker.responses import encode_fields
from worker.service import Service


@dataclass(frozen=True, slots=True, eq=False)
class _Check:
    """An encoded frame that is decoded before it is answered."""

    service: Service
    request: Request
    entry: CachedFrame
    options: DecodeOptions


def handle_cache_frame(service: Service, request: Request, message: CacheFrame) -> None:
    """Keep a frame; requests behind it see it at once, also while an encoded one is being decoded."""
    picture = message.picture
    max_pixels = service.config.limits.max_pixels
    if picture.width * picture.height > max_pixels and picture.format is not PixelFormat.ENCODED:
        service.cache.remove(message.frame_id)
        text = f"{picture.width}x{picture.height} pixels are more than maxPixels ({max_pixels})"
        service.fail(request, Failure(ErrorCode.TOO_LARGE, text))
        return
    try:
        entry = service.cache.put(message.frame_id, frame_of(picture))
    except FrameTooLargeError as error:
        service.fail(request, failure_of(error))
        return
    if picture.format is PixelFormat.ENCODED:
        options = DecodeOptions(message.options.exif, ColorSpace(message.options.color_space), max_pixels)
        service.prepare_pool.begin(_decode, _Check(service, request, entry, options))
    else:
        service.answer(request, _cached(message.frame_id, picture.width, picture.height))


def _decode(check: _Check) -> None:
    """Decode an encoded frame, on a thread of the prepare pool: a broken one leaves its id empty."""
    try:
        pixels = check.entry.pixels(check.options)
    except Exception as error:  # noqa: BLE001 - the boundary of this request
        body = check.service.shapes.body(check.request.type, failure_of(error, CACHE_WRAP_PREFIX))
    else:
        body = _cached(check.entry.frame_id, pixels.width, pixels.height)
    check.service.completions.put(check.request, body)


def _cached(frame_id: int, width: int, height: int) -> bytes:
    return encode_fields({"status": "cached", "frameId": frame_id, "width": width, "height": height})
