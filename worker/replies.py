"""Turns the outcomes of items into the one answer of their request, off the event loop."""

import threading
from typing import Any, Protocol

from msgspec import Raw, json

from postprocessors.results import Result, fields_of
from protocol.errors import ErrorCode
from worker.errors import Failure
from worker.requests import Item, Request
from worker.responses import ErrorShapes

_encode = json.Encoder().encode


class Completions(Protocol):
    """Where finished answers go; thread-safe."""

    def put(self, request: Request, body: bytes, code: ErrorCode | None = None) -> None: ...


def figures_of(item: Item) -> dict[str, Any]:
    """Return what an inference answer says of its making: v2's figures and the timings."""
    timings = item.timings
    assert item.prepared is not None
    transform = item.prepared.transform
    prepare_ms, predict_ms = timings.prepare_ms, timings.predict_ms
    if timings.prepare_began:
        queue, decode = (
            round((timings.prepare_began - timings.arrived) * 1000, 3),
            round(timings.decode_ms, 3),
        )
        prepare, wait = round(prepare_ms, 3), timings.predict_began - timings.prepared
    else:  # the tensor was there: the stages before it took no time
        queue = decode = prepare = 0.0
        wait = timings.predict_began - timings.arrived
    return {
        "inferenceMs": round(prepare_ms + predict_ms, 2),
        "preprocessMs": round(prepare_ms, 2),
        "predictMs": round(predict_ms, 2),
        "batchSize": item.batch_size,
        "frameSize": f"{transform.source_width}x{transform.source_height}",
        "timings": {
            "queue": queue,
            "decode": decode,
            "prepare": prepare,
            "wait": round(wait * 1000, 3),
            "predict": round(predict_ms, 3),
            "postprocess": round(timings.postprocess_ms, 3),
        },
    }


class SingleReply:
    """The reply of a request for one picture."""

    def __init__(self, request: Request, shapes: ErrorShapes, completions: Completions) -> None:
        self._request = request
        self._shapes = shapes
        self._completions = completions

    def succeed(self, item: Item, result: Result) -> None:
        self._completions.put(self._request, _encode(fields_of(result) | figures_of(item)))

    def fail(self, item: Item, failure: Failure) -> None:
        self._completions.put(self._request, self._shapes.body(self._request.type, failure), failure.code)


class BatchReply:
    """The reply of an INFER_BATCH: answers when its last item is done, in the batch's order."""

    def __init__(self, request: Request, count: int, shapes: ErrorShapes, completions: Completions) -> None:
        self._request = request
        self._shapes = shapes
        self._completions = completions
        self._lock = threading.Lock()
        self._missing = count
        self._results = [Raw()] * count
        """Encoded as they come: what cannot be encoded fails its item, and not the whole batch."""
        self._failures: list[Failure] = []

    def succeed(self, item: Item, result: Result) -> None:
        self._put(item.index, fields_of(result) | figures_of(item))

    def fail(self, item: Item, failure: Failure) -> None:
        self._failures.append(failure)
        self._put(item.index, self._shapes.item(failure))

    def _put(self, index: int, fields: dict[str, Any]) -> None:
        encoded = Raw(_encode(fields))
        with self._lock:
            self._results[index] = encoded
            self._missing -= 1
            if self._missing:
                return
        self._answer()

    def _answer(self) -> None:
        codes = {failure.code for failure in self._failures}
        if len(self._failures) < len(self._results) or len(codes) > 1:
            self._completions.put(self._request, _encode({"results": self._results}))
        elif codes == {ErrorCode.INFERENCE_FAILED}:  # the predict call itself failed
            body = self._shapes.body(self._request.type, self._failures[0])
            self._completions.put(self._request, body, ErrorCode.INFERENCE_FAILED)
        else:
            self._completions.put(self._request, _encode({"results": self._results}), *codes)
