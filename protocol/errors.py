"""Error codes, the exact v2 error texts, and what the decoders raise.

FramingLost    the byte stream cannot be followed any further; ends the connection
WireError      one request is wrong; its sender gets the code and the text
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """The `code` of every error object."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_TYPE = "unknown_type"
    DECODE_FAILED = "decode_failed"
    MODEL_NOT_LOADED = "model_not_loaded"
    FRAME_NOT_CACHED = "frame_not_cached"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    PROVIDER_FAILED = "provider_failed"
    INFERENCE_FAILED = "inference_failed"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


# Hosts in the field match on how these begin: they are wire format, not prose. Names in _PREFIX are
# followed by the cause; those with {} take `.format`.

EMPTY_JPEG = "empty infer_jpeg payload"
JPEG_DECODE_PREFIX = "jpeg decode failed: "
RAW_WRAP_PREFIX = "raw wrap failed: "
CACHE_WRAP_PREFIX = "cache_frame wrap failed: "
TRUNCATED_HEADER = "truncated {} header"
"""Takes the request's lower-case name: infer_raw, infer_batch, cache_frame, infer_cached, infer_shared."""

TRUNCATED_BATCH_ITEM_HEADER = "truncated batch item header"
TRUNCATED_BATCH_ITEM_PAYLOAD = "truncated batch item payload"

UNKNOWN_TYPE = "unknown msg_type: {}"
"""Takes the type byte as it came, in decimal."""
UNKNOWN_COMMAND = "Unknown command: {}"

MODEL_NOT_LOADED = "Model {} not loaded"
CACHED_MODEL_NOT_LOADED = "model {} not loaded"
"""What INFER_CACHED says; the others write it with a capital."""
FRAME_NOT_CACHED = "frame {} not in cache"
REGION_NOT_ATTACHED = "region {} is not attached"


class FramingLost(Exception):  # noqa: N818  a state of the stream, named as the protocol names it
    """A length that no packet can have: where the next packet begins is unknown."""


class WireError(Exception):
    """One request that cannot be served as it came."""

    def __init__(self, code: ErrorCode, text: str, payload_fault: bool = False) -> None:
        """Describe the fault.

        Args:
            code: for `code` of the error object.
            text: for `error`, one line.
            payload_fault: it is a "bad payload" row of the v2 table, which is answered by a bare
                error object even where the request is an inference. Faults inside batch items
                are not: they carry the empty `results` as any other failure of a batch does.
        """
        super().__init__(text)
        self.code = code
        self.text = text
        self.payload_fault = payload_fault


def bad_request(text: str, payload_fault: bool = False) -> WireError:
    """The commonest WireError."""
    return WireError(ErrorCode.BAD_REQUEST, text, payload_fault)
