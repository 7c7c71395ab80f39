"""Which streams are open, by the ids that their hosts have chosen. Belongs to the event loop."""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from worker.errors import Failure


class EndReason(StrEnum):
    """Why a stream ended that did not fail."""

    EOF = "eof"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    DRAINED = "drained"


class Stream(Protocol):
    """An open stream, as the table knows it."""

    request_id: int
    """Of the command that opened it."""

    def go_on(self) -> None:
        """Take further frames, where there is room for them."""
        ...

    def feed(self, data: memoryview) -> None:
        """Take what the host sends."""
        ...

    def end_input(self) -> None:
        """Take note that the host sends no more."""
        ...

    def fail(self, failure: Failure) -> None:
        """End it at once, as failed."""
        ...

    def end(self, reason: EndReason) -> None:
        """End it at once: `end` is its last event, and what has not reached predict is let go of."""
        ...

    def drain(self) -> None:
        """End it when the frames are answered that it has taken up."""
        ...


ENDING_SOURCES = 16
"""So many sources may still be ending beside the streams that may be open; then no more are opened."""


class StreamTable:
    """Open streams, and those that have ended while their last word, or the end of their source, is to come.

    A source may take its time: a URL that says nothing, a large file to remove.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[int, Stream] = {}
        self._silent: set[Stream] = set()
        """They have ended, and not said so yet."""
        self._ending: set[Stream] = set()
        """They have ended, and their source has not."""
        self._when_none: list[Callable[[], None]] = []
        self._when_gone: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._open

    @property
    def is_full(self) -> bool:
        """Whether no further stream may be opened."""
        all_sources = len(self._open) + len(self._ending)
        return len(self._open) >= self._limit or all_sources >= self._limit + ENDING_SOURCES

    def add(self, stream_id: int, stream: Stream) -> None:
        """Take a stream up; its id must be free."""
        self._open[stream_id] = stream

    def get(self, stream_id: int) -> Stream | None:
        """Return the open stream of an id."""
        return self._open.get(stream_id)

    def opened_by(self, request_id: int) -> list[Stream]:
        """Return the streams that a request has opened: more than one where hosts use an id twice."""
        return [stream for stream in self._open.values() if stream.request_id == request_id]

    def remove(self, stream_id: int) -> None:
        """Take note that a stream has ended; its id is free."""
        stream = self._open.pop(stream_id)
        self._silent.add(stream)
        self._ending.add(stream)

    def note_last_word(self, stream: Stream) -> None:
        """Take note that the host of a stream that was removed has been told."""
        self._silent.discard(stream)
        self._call_if_due()

    def forget(self, stream: Stream) -> None:
        """Take note that the source of a stream that was removed has ended."""
        self._ending.discard(stream)
        self._call_if_due()

    def go_on(self) -> None:
        """Let every stream take further frames: the host has read what held them back."""
        for stream in tuple(self._open.values()):
            stream.go_on()

    def drain(self) -> None:
        """End every stream, each when the frames are answered that it has taken up."""
        for stream in tuple(self._open.values()):
            stream.drain()

    def fail(self, failure: Failure) -> None:
        """End every stream at once, as failed."""
        for stream in tuple(self._open.values()):
            stream.fail(failure)

    def when_none(self, callback: Callable[[], None]) -> None:
        """Call back when no stream is open, and each has had its last word: at once, if it is so."""
        self._when_none.append(callback)
        self._call_if_due()

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call back when, beyond that, no source is left: at once, if it is so."""
        self._when_gone.append(callback)
        self._call_if_due()

    def _call_if_due(self) -> None:
        if self._open or self._silent:
            return
        due, self._when_none = self._when_none, []
        if not self._ending:
            due, self._when_gone = due + self._when_gone, []
        for callback in due:
            callback()
