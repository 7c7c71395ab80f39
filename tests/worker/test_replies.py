"""Outcomes into answers, where the pipe is too coarse: what a postprocessor from outside may return."""

import json
from typing import Any

from frame_cache.base import PreparedKey
from postprocessors.base import ResultOptions
from postprocessors.results import Detections, Result
from preprocess.frame import Prepared, Transform
from preprocess.options import DecodeOptions, PrepareOptions
from protocol.errors import ErrorCode
from protocol.messages import MessageType
from worker.errors import Failure
from worker.replies import BatchReply
from worker.requests import Item, ItemOptions, Request, Timings
from worker.responses import ErrorShapes
from worker.sources import SPENT


class Unencodable(Result, frozen=True, kw_only=True):
    """A result that holds what JSON has no words for."""

    kind: str = "odd"
    thing: Any


class Answers:
    """Keeps what is finished."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []

    def put(self, request: Request, body: bytes) -> None:
        self.bodies.append(json.loads(body))


def item(reply: BatchReply, index: int) -> Item:
    options = ItemOptions(ResultOptions(), DecodeOptions())
    key = PreparedKey(1, PrepareOptions(8, 8), options.decode)
    made = Item(SPENT, key, options, reply, Timings(0.0), index)
    geometry = Transform(8, 8, (0, 0, 8, 8), 1.0, 1.0, 0.0, 0.0, 8, 8)
    made.prepared = Prepared(None, geometry)  # type: ignore[arg-type]
    return made


def test_a_result_that_cannot_be_encoded_fails_its_item_and_the_batch_is_answered():
    answers = Answers()
    reply = BatchReply(Request(1, MessageType.INFER_BATCH, 0), 2, ErrorShapes(3), answers)
    reply.succeed(item(reply, 1), Detections(detections=[]))
    odd = item(reply, 0)
    try:
        reply.succeed(odd, Unencodable(thing=object()))
    except TypeError:  # as the pipeline does
        reply.fail(odd, Failure(ErrorCode.INTERNAL, "internal error: TypeError"))

    [answer] = answers.bodies
    assert answer["results"][0] == {"error": "internal error: TypeError", "code": "internal"}
    assert answer["results"][1]["kind"] == "detections"
