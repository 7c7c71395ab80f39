"""The requests of policies, ready to be sent."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.inputs import Payloads
from bench.link import options_prefix
from bench.policies.host import Request
from protocol.framing import HEADER_BYTES
from protocol.messages import DataMessage, InferJpeg, InferRaw
from protocol.picture import Picture
from protocol.pixel_format import PixelFormat


def plain_requests(payloads: Payloads) -> list[Request]:
    """Return a request of each payload, without options."""
    return [Request(payloads.type, Path(file).read_bytes()) for file in payloads.files]


def with_options(requests: Sequence[Request], options: Sequence[Mapping[str, Any]]) -> list[list[Request]]:
    """Return for each of the options the requests with them."""
    prefixes = [options_prefix(each) if each else b"" for each in options]
    return [[Request(it.type, it.payload, prefix) for it in requests] for prefix in prefixes]


def request_of(message: DataMessage, options: Mapping[str, Any] | None = None) -> Request:
    """Return a message as a request."""
    payload = message.encode()[HEADER_BYTES:]
    return Request(int(message.TYPE), payload, options_prefix(options) if options else b"")


def picture_request(slot: int, side: int, *, encoded: bool = False) -> Request:
    """Return a request for one square picture, raw or as a JPEG."""
    if encoded:
        return request_of(InferJpeg(0, slot, memoryview(encoded_picture(side))))
    return request_of(InferRaw(0, slot, raw_picture(side)))


def raw_picture(side: int) -> Picture:
    """Return a square picture of noise."""
    return Picture(side, side, PixelFormat.RGB, memoryview(_pixels(side).tobytes()))


def encoded_picture(side: int) -> bytes:
    """Return a square picture of blurred noise as a JPEG."""
    _, data = cv2.imencode(".jpg", cv2.GaussianBlur(_pixels(side), (9, 9), 0))
    return bytes(data.tobytes())


def _pixels(side: int) -> Any:  # Any: OpenCV's types are loose
    return np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
