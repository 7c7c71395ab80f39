"""Requests of every kind, right and wrong, in a fixed order."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.policies.host import Request
from bench.policies.requests import encoded_picture, raw_picture, request_of
from protocol.messages import (
    CacheFrame,
    InferBatch,
    InferCached,
    InferJpeg,
    InferRaw,
    MessageType,
)
from protocol.picture import Picture

FRAMES = 64
"""Ids of cached frames."""

SPARE_SLOT = 1
"""Models come and go in it."""

EMPTY_SLOT = 9

_SIDES = (48, 64, 96, 640)
_UNKNOWN_TYPE = 0x55


def mixed_requests() -> list[Request]:
    """Return a round of requests; sent over and over, every kind comes again and again."""
    small, middle, large, huge = (raw_picture(side) for side in _SIDES)
    jpeg = encoded_picture(96)
    round_: list[Request] = []
    for frame in range(FRAMES):
        round_ += [
            request_of(CacheFrame(0, frame, large)),
            *[request_of(InferCached(0, 0, (frame * 7 + step) % FRAMES)) for step in range(5)],
            *[request_of(InferRaw(0, 0, picture)) for picture in (small, middle, large, middle)],
            request_of(InferJpeg(0, 0, memoryview(jpeg))),
            request_of(InferBatch(0, 0, (small, middle, large))),
            request_of(InferRaw(0, 0, middle), {"confidence": 0.5, "roi": [8, 8, 32, 32]}),
            request_of(InferRaw(0, 0, small), {"source": f"camera {frame % 8}", "priority": "high"}),
            request_of(InferRaw(0, SPARE_SLOT, small)),
            _wrong(frame, jpeg, small),
        ]
    return [*round_, request_of(InferRaw(0, 0, huge))]


def _wrong(number: int, jpeg: bytes, picture: Picture) -> Request:
    """Return a request that is answered by an error."""
    kinds = (
        request_of(InferRaw(0, EMPTY_SLOT, picture)),
        request_of(InferCached(0, 0, FRAMES + number)),
        request_of(InferJpeg(0, 0, memoryview(jpeg[: len(jpeg) // 2]))),
        request_of(InferJpeg(0, 0, memoryview(b"no picture"))),
        Request(MessageType.INFER_RAW, b"\0\1"),
        Request(_UNKNOWN_TYPE, b""),
        request_of(InferRaw(0, 0, picture), {"colour": "red"}),
    )
    return kinds[number % len(kinds)]


def loads(number: int) -> Mapping[str, Any]:
    """Return a command that changes what the spare slot serves."""
    config = {"path": "fake:noop?size=64", "runtime": "fake"}
    kinds: Sequence[Mapping[str, Any]] = (
        {"cmd": "load", "index": SPARE_SLOT, "config": config},
        {"cmd": "replace", "index": SPARE_SLOT, "config": config},
        {"cmd": "unload", "index": SPARE_SLOT},
    )
    return kinds[number % len(kinds)]
