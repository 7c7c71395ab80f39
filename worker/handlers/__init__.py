"""One handler a message type. `HANDLERS` and `UNANSWERED` are the tables; a test proves them complete."""

from collections.abc import Callable
from typing import Any

from protocol.messages import (
    CacheFrame,
    Command,
    InferBatch,
    InferCached,
    InferJpeg,
    InferRaw,
    InferShared,
    StreamData,
    StreamEnd,
)
from worker.handlers.cache import handle_cache_frame
from worker.handlers.commands import handle_command
from worker.handlers.infer import handle_batch, handle_cached, handle_jpeg, handle_raw
from worker.handlers.shared import handle_shared
from worker.handlers.streams import handle_stream_data, handle_stream_end
from worker.requests import Request
from worker.service import Service

# Any: each handler takes the one message type that the table gives it.
HANDLERS: dict[type[Any], Callable[[Service, Request, Any], None]] = {
    Command: handle_command,
    InferJpeg: handle_jpeg,
    InferRaw: handle_raw,
    InferBatch: handle_batch,
    CacheFrame: handle_cache_frame,
    InferCached: handle_cached,
    InferShared: handle_shared,
}
"""Message type → what takes it up, on the event loop, without waiting."""

UNANSWERED: dict[type[Any], Callable[[Service, Any], None]] = {
    StreamData: handle_stream_data,
    StreamEnd: handle_stream_end,
}
"""The same for messages that are no requests: they belong to a stream, whose opener is told."""
