"""The one queue by which finished answers come back to the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable

from protocol.errors import ErrorCode
from worker.requests import Request

Answer = Callable[[Request, bytes, ErrorCode | None], None]


class CompletionQueue:
    """Thread-safe; wakes the loop once for all that is finished before it looks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Answer) -> None:
        self._loop = loop
        self._answer = answer
        self._finished: deque[tuple[Request, bytes, ErrorCode | None]] = deque()
        self._woken = False

    def put(self, request: Request, body: bytes, code: ErrorCode | None = None) -> None:
        """Hand an encoded answer to the loop, from any thread; `code` is that of a failure."""
        self._finished.append((request, body, code))
        # Set before the loop looks and cleared before it empties the queue: none is left behind.
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._woken = False
        while self._finished:
            self._answer(*self._finished.popleft())
