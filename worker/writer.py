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

    polled: bool
    """Whether the loop can tell when there is room again; else `write` always takes everything."""
    descriptor: int

    def write(self, parts: list[bytes | memoryview]) -> int:
        """Write and return how many bytes went; raises BlockingIOError for none, OSError when closed."""
        ...


class PipeSink:
    """A pipe, opened anew: its own description can be non-blocking, the host's stays as it is."""

    polled = True

    def __init__(self, descriptor: int) -> None:
        self.descriptor = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def write(self, parts: list[bytes | memoryview]) -> int:
        return os.writev(self.descriptor, parts)


class SocketSink:
    """A socket: each send says for itself that it will not wait."""

    polled = True

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._socket = socket.socket(fileno=os.dup(descriptor))

    def write(self, parts: list[bytes | memoryview]) -> int:
        return self._socket.sendmsg(parts, (), socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0))


class ThreadSink:
    """Anything else (a file, a pipe that cannot be opened anew): a thread of its own writes.

    What waits for it is bounded by its queue's count, and by the requests in flight.
    """

    polled = False

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._parts: queue.SimpleQueue[bytes | memoryview] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.waiting_bytes = 0
        self._broken = False
        threading.Thread(target=self._write_all, name="writer", daemon=True).start()

    def write(self, parts: list[bytes | memoryview]) -> int:
        if self._broken:
            raise BrokenPipeError
        count = sum(map(len, parts))
        with self._lock:
            self.waiting_bytes += count
        for part in parts:
            self._parts.put(part)
        return count

    def _write_all(self) -> None:
        while not self._broken:
            part = memoryview(self._parts.get())
            count = len(part)
            try:
                while part:
                    part = part[os.write(self.descriptor, part) :]
            except OSError:
                self._broken = True
            with self._lock:
                self.waiting_bytes -= count


def open_sink(descriptor: int) -> ByteSink:
    """Return the sink that suits a descriptor."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return SocketSink(descriptor)
    if stat.S_ISFIFO(mode) and Path("/proc/self/fd").exists():
        return PipeSink(descriptor)
    return ThreadSink(descriptor)


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
        self._sink = open_sink(descriptor)
        self._loop = loop
        self._on_room = on_room
        self._on_closed = on_closed
        self._parts: deque[bytes | memoryview] = deque()
        self._bytes = 0
        self._scheduled = False
        self._watching = False
        self._closed = False

    @property
    def pending_bytes(self) -> int:
        """Bytes that the host has not taken yet."""
        return self._bytes + getattr(self._sink, "waiting_bytes", 0)

    @property
    def congested(self) -> bool:
        """Whether so much waits that no further request should be read."""
        return self.pending_bytes > HIGH_WATER

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
        was_congested = self.congested
        try:
            while self._parts:
                self._drop(self._sink.write([self._parts[i] for i in range(min(len(self._parts), _PARTS))]))
        except (BlockingIOError, InterruptedError):
            self._watch()
        except OSError:
            self._close()
            return
        if not self._parts and self._watching:
            self._watching = False
            self._loop.remove_writer(self._sink.descriptor)
        if was_congested and not self.congested:
            self._on_room()

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
            self._loop.add_writer(self._sink.descriptor, self._flush)

    def _close(self) -> None:
        self._closed = True
        self._parts.clear()
        self._bytes = 0
        if self._watching:
            self._loop.remove_writer(self._sink.descriptor)
        self._on_closed()
