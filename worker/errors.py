"""Every exception that a request can meet, and its code on the wire."""

import logging
from dataclasses import dataclass

from frame_cache.errors import FrameTooLargeError, RegionError, RegionUnreachableError
from model_files.errors import ModelFileError, TransferCancelledError, UnsupportedSchemeError
from postprocessors.base import PostprocessorError, UnknownClassError
from preprocess.errors import DecodeError, PictureTooLargeError, PreprocessError
from protocol import errors as wire
from protocol.errors import ErrorCode, WireError
from runtimes.errors import RuntimeAdapterError, RuntimeUnavailableError, UnknownRuntimeError
from streaming.errors import (
    BadStreamError,
    BrokenStreamError,
    SourceUnavailableError,
    StreamError,
    StreamTooLargeError,
    UnsupportedStreamError,
)
from worker.config_readers import ConfigError
from worker.model_memory import ModelTooLargeError
from worker.sources import FrameGoneError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request, or one item of a batch, has no result."""

    code: ErrorCode
    text: str
    bare: bool = False
    """Whether even a v2 host gets the bare object: the faults of a payload and of the cache."""


def model_not_loaded(index: int) -> Failure:
    """Return the failure of a request for an empty slot."""
    return Failure(ErrorCode.MODEL_NOT_LOADED, wire.MODEL_NOT_LOADED.format(index))


def cached_model_not_loaded(index: int) -> Failure:
    """Return the failure of a cached request for an empty slot, in v2's words."""
    return Failure(ErrorCode.MODEL_NOT_LOADED, wire.CACHED_MODEL_NOT_LOADED.format(index), bare=True)


def frame_not_cached(frame_id: int) -> Failure:
    """Return the failure of a request for a frame that the cache does not hold."""
    return Failure(ErrorCode.FRAME_NOT_CACHED, wire.FRAME_NOT_CACHED.format(frame_id), bare=True)


def region_not_attached(region_id: int) -> Failure:
    """Return the failure of a request for a region that nothing is attached under."""
    return Failure(ErrorCode.BAD_REQUEST, wire.REGION_NOT_ATTACHED.format(region_id))


SHUTTING_DOWN = Failure(ErrorCode.SHUTTING_DOWN, "the worker is shutting down")
DEADLINE_EXCEEDED = Failure(ErrorCode.DEADLINE_EXCEEDED, "the deadline passed before predict started")

CANCELLED = Failure(ErrorCode.CANCELLED, "cancelled by the host")
STREAM_OVERRUN = Failure(ErrorCode.OVERLOADED, "the host has sent more than the stream's credit")
STREAM_DRAINED = Failure(ErrorCode.SHUTTING_DOWN, "the worker is shutting down: no more streams are opened")
SUPERSEDED = Failure(ErrorCode.SUPERSEDED, "a newer request of the same source has come")


def queue_full(cap: int) -> Failure:
    """Return the failure of a request for a slot that has as much waiting as it may."""
    return Failure(ErrorCode.OVERLOADED, f"{cap} items wait for this slot already (maxQueued)")


_CODES: tuple[tuple[type[Exception], ErrorCode], ...] = (
    (PictureTooLargeError, ErrorCode.TOO_LARGE),
    (FrameTooLargeError, ErrorCode.TOO_LARGE),
    (RegionUnreachableError, ErrorCode.UNSUPPORTED),
    (RegionError, ErrorCode.BAD_REQUEST),
    (PreprocessError, ErrorCode.BAD_REQUEST),
    (BadStreamError, ErrorCode.BAD_REQUEST),
    (UnsupportedStreamError, ErrorCode.UNSUPPORTED),
    (BrokenStreamError, ErrorCode.DECODE_FAILED),
    (StreamTooLargeError, ErrorCode.TOO_LARGE),
    (SourceUnavailableError, ErrorCode.PROVIDER_FAILED),
    (StreamError, ErrorCode.INTERNAL),
    (UnknownClassError, ErrorCode.BAD_REQUEST),
    (PostprocessorError, ErrorCode.INFERENCE_FAILED),
    (RuntimeAdapterError, ErrorCode.INFERENCE_FAILED),
)
"""First match wins, so subclasses stand before their roots."""


_LOAD_CODES: tuple[tuple[type[Exception], ErrorCode], ...] = (
    (ConfigError, ErrorCode.BAD_REQUEST),
    (UnsupportedSchemeError, ErrorCode.UNSUPPORTED),
    (TransferCancelledError, ErrorCode.CANCELLED),
    (ModelFileError, ErrorCode.PROVIDER_FAILED),
    (UnknownRuntimeError, ErrorCode.UNSUPPORTED),
    (RuntimeUnavailableError, ErrorCode.UNSUPPORTED),
    (ModelTooLargeError, ErrorCode.TOO_LARGE),
    (RuntimeAdapterError, ErrorCode.MODEL_NOT_LOADED),
    (PostprocessorError, ErrorCode.MODEL_NOT_LOADED),
)


def load_failure_of(error: Exception) -> Failure:
    """Return what a host is told of a load that failed."""
    for kind, code in _LOAD_CODES:
        if isinstance(error, kind):
            return Failure(code, str(error))
    log.error("unforeseen failure of a load", exc_info=error)
    return Failure(ErrorCode.INTERNAL, f"internal error: {type(error).__name__}: {error}")


def failure_of(error: Exception, decode_prefix: str = "jpeg decode failed: ") -> Failure:
    """Return what a host is told of an exception.

    Args:
        error: what was caught at the boundary of a request.
        decode_prefix: how the kind of request names a picture that cannot be decoded.
    """
    if isinstance(error, WireError):
        return Failure(error.code, error.text, error.payload_fault)
    if isinstance(error, FrameGoneError):
        return frame_not_cached(error.frame_id)
    if isinstance(error, DecodeError):
        return Failure(ErrorCode.DECODE_FAILED, f"{decode_prefix}{error}", bare=True)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return Failure(code, str(error))
    # The text of an unforeseen exception may hold what the host must not see; the log has it.
    log.error("unforeseen failure", exc_info=error)
    return Failure(ErrorCode.INTERNAL, f"internal error: {type(error).__name__}")
