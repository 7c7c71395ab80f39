"""Writes answers without ever blocking the loop, and knows how much the host has not read yet."""

import asyncio
import os
import queue
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from protocol.packet import encode_response
from worker.descriptors import enlarge

HIGH_WATER = 8 << 20
"""Bytes of unread answers above which no further request is read: what bounds the memory."""

_PARTS = 64
"""Answers that go into one system call."""


class ByteSink(Protocol):
    """Takes as many bytes as go without waiting."""

    @property
    def pending_bytes(self) -> int:
        """Bytes that were taken and are not out yet."""
        ...

    def write(self, parts: list[bytes | memoryview]) -> int:
        """Write and return how many bytes went; raises BlockingIOError for none, OSError when closed."""
        ...

    def watch(self, on_room: Callable[[], None]) -> None:
        """Call back on the loop whenever there is room, until `unwatch`."""
        ...

    def unwatch(self) -> None:
        """Call back no more."""
        ...


class PolledSink:
    """What pipes and sockets share: the loop tells when there is room again."""

    pending_bytes = 0

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        self._descriptor = descriptor
        self._loop = loop

    def watch(self, on_room: Callable[[], None]) -> None:
        self._loop.add_writer(self._descriptor, on_room)

    def unwatch(self) -> None:
        self._loop.remove_writer(self._descriptor)


class PipeSink(PolledSink):
    """A pipe, opened anew: its own description can be non-blocking, the host's stays as it is."""

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        path = f"/proc/self/fd/{descriptor}"
        super().__init__(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC), loop)

    def write(self, parts: list[bytes | memoryview]) -> int:
        return os.writev(self._descriptor, parts)


class SocketSink(PolledSink):
    """A socket: each send says for itself that it will not wait."""

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(descriptor, loop)
        self._socket = socket.socket(fileno=os.dup(descriptor))

    def write(self, parts: list[bytes | memoryview]) -> int:
        return self._socket.sendmsg(parts, (), socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0))


class ThreadSink:
    """Anything else (a file, a terminal, a pipe on Windows): a thread of its own writes."""

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        self._descriptor = descriptor
        self._loop = loop
        self._chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._taken = 0
        self._written = 0
        self._broken = False
        self._on_room: Callable[[], None] | None = None
        threading.Thread(target=self._write_all, name="writer", daemon=True).start()

    @property
    def pending_bytes(self) -> int:
        return 0 if self._broken else self._taken - self._written

    def write(self, parts: list[bytes | memoryview]) -> int:
        if self._broken:
            raise BrokenPipeError
        if self.pending_bytes:
            raise BlockingIOError
        chunk = b"".join(parts)
        self._taken += len(chunk)
        self._chunks.put(chunk)
        return len(chunk)

    def watch(self, on_room: Callable[[], None]) -> None:
        self._on_room = on_room
        if not self.pending_bytes:  # the thread was done before it could know
            self._loop.call_soon(self._tell)

    def unwatch(self) -> None:
        self._on_room = None

    def _tell(self) -> None:
        if self._on_room is not None:
            self._on_room()

    def _write_all(self) -> None:
        while not self._broken:
            rest = memoryview(self._chunks.get())
            try:
                while rest:
                    count = os.write(self._descriptor, rest)
                    rest = rest[count:]
                    self._written += count
            except OSError:
                self._broken = True
            self._loop.call_soon_threadsafe(self._tell)


def open_sink(descriptor: int, loop: asyncio.AbstractEventLoop) -> ByteSink:
    """Return the sink that suits a descriptor."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return SocketSink(descriptor, loop)
    if stat.S_ISFIFO(mode) and Path("/proc/self/fd").exists():
        return PipeSink(descriptor, loop)
    return ThreadSink(descriptor, loop)


class ResponseWriter:
    """The answers that wait for the host to read. Belongs to the event loop."""

    def __init__(
        self,
        descriptor: int,
        loop: asyncio.AbstractEventLoop,
        on_room: Callable[[], None],
        on_closed: Callable[[], None],
    ) -> None:
        """Create a writer.

        Args:
            descriptor: where answers go.
            loop: the worker's.
            on_room: called when a congested writer has room again.
            on_closed: called, once, when the host has closed its end.
        """
        enlarge(descriptor)
        self._sink = open_sink(descriptor, loop)
        self._loop = loop
        self._on_room = on_room
        self._on_closed = on_closed
        self._parts: deque[bytes | memoryview] = deque()
        self._bytes = 0
        self._was_congested = False
        self._scheduled = False
        self._watching = False
        self._closed = False

    @property
    def pending_bytes(self) -> int:
        """Bytes that the host has not taken yet."""
        return self._bytes + self._sink.pending_bytes

    @property
    def congested(self) -> bool:
        """Whether so much waits that no further request should be read."""
        return self._bytes + self._sink.pending_bytes > HIGH_WATER

    def send(self, request_id: int, body: bytes) -> None:
        """Queue an answer; it is written in this turn of the loop, with what else is queued then."""
        if self._closed:
            return
        packet = encode_response(request_id, body)
        self._parts.append(packet)
        self._bytes += len(packet)
        if not self._scheduled and not self._watching:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    async def drained(self) -> None:
        """Wait until everything is written."""
        while self.pending_bytes and not self._closed:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(0.002)

    def _flush(self) -> None:
        self._scheduled = False
        self._was_congested = self._was_congested or self.congested
        try:
            while self._parts:
                self._drop(self._sink.write([self._parts[i] for i in range(min(len(self._parts), _PARTS))]))
        except (BlockingIOError, InterruptedError):
            pass  # the rest goes when there is room
        except OSError:
            self._close()
            return
        if self.pending_bytes:
            self._watch()
        elif self._watching:
            self._watching = False
            self._sink.unwatch()
        if self._was_congested and not self.congested:
            self._on_room()
        self._was_congested = self.congested

    def _drop(self, count: int) -> None:
        """Forget so many bytes, which were written."""
        self._bytes -= count
        while count:
            part = self._parts.popleft()
            if count < len(part):
                self._parts.appendleft(memoryview(part)[count:])
                return
            count -= len(part)

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._sink.watch(self._flush)

    def _close(self) -> None:
        self._closed = True
        self._parts.clear()
        self._bytes = 0
        if self._watching:
            self._sink.unwatch()
        self._on_closed()
