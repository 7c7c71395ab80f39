"""Error objects in the shape that the host knows: v2's with their empty results, v3's bare."""

from typing import Any

from msgspec import json

from protocol.messages import MessageType
from worker.errors import Failure

_encode = json.Encoder().encode

_EMPTY_DETECTIONS: dict[str, Any] = {"kind": "detections", "detections": [], "inferenceMs": 0}
_EMPTY_BATCH: dict[str, Any] = {"results": []}

_LEGACY_EXTRAS: dict[int, dict[str, Any]] = {
    MessageType.INFER_JPEG: _EMPTY_DETECTIONS,
    MessageType.INFER_RAW: _EMPTY_DETECTIONS,
    MessageType.INFER_CACHED: _EMPTY_DETECTIONS,
    MessageType.INFER_SHARED: _EMPTY_DETECTIONS,
    MessageType.INFER_BATCH: _EMPTY_BATCH,
}
"""What v2 hosts expect beside `error`; they read it without looking whether there is an error."""


class ErrorShapes:
    """Builds error objects for hosts of one protocol version."""

    def __init__(self, protocol: int) -> None:
        self._extras = {} if protocol >= 3 else _LEGACY_EXTRAS

    def body(self, request_type: int, failure: Failure) -> bytes:
        """Return the encoded error object that answers a request of some type."""
        return _encode(self._fields(request_type, failure))

    def given_up(self, request_type: int, pictures: int, failure: Failure) -> bytes:
        """Return the answer to a request of which nothing was run: a batch has an error for each picture."""
        if request_type == MessageType.INFER_BATCH:
            return _encode({"results": [self.item(failure)] * pictures})
        return self.body(request_type, failure)

    def item(self, failure: Failure) -> dict[str, Any]:
        """Return the error object that stands in a batch's results for an item that failed."""
        return self._fields(MessageType.INFER_JPEG, failure)

    def _fields(self, request_type: int, failure: Failure) -> dict[str, Any]:
        fields = {"error": failure.text, "code": failure.code}
        if failure.bare:
            return fields
        return fields | self._extras.get(request_type, {})


def encode_fields(fields: dict[str, Any]) -> bytes:
    """Return an answer as JSON; msgspec writes NaN as null, so floats are checked where they arise."""
    return _encode(fields)
