"""Reads the host's packets: `readv` into the decoder's own buffers, no copy in between."""

import asyncio
import os
import select
import threading
from collections.abc import Callable
from typing import Protocol

from protocol.errors import FramingLost
from protocol.messages import Message
from protocol.packet import PacketDecoder, RejectedPacket
from worker.descriptors import enlarge, is_pollable


class ByteSource(Protocol):
    """Fills buffers from a descriptor and reports on the event loop, once for each `arm`."""

    def arm(self) -> None:
        """Read once as soon as there is something; reports the number of bytes, 0 at the end."""
        ...

    def disarm(self) -> None:
        """Read no more for now."""
        ...


Report = Callable[[int], None]

_READS_A_TURN = 16
"""How often one turn of the loop reads on inside a large body before it looks at anything else."""


class PolledSource:
    """For pipes and sockets: the event loop says when a read will not block.

    The descriptor's description is the host's too, so it is never made non-blocking.
    """

    def __init__(
        self, descriptor: int, decoder: PacketDecoder, report: Report, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Create a source that is not armed.

        Args:
            descriptor: what is read.
            decoder: says where the next bytes belong.
            report: takes the number of bytes read, on the loop.
            loop: the worker's.
        """
        self._descriptor = descriptor
        self._decoder = decoder
        self._report = report
        self._loop = loop
        self._armed = False
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLIN)

    def arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._loop.add_reader(self._descriptor, self._on_readable)

    def disarm(self) -> None:
        if self._armed:
            self._armed = False
            self._loop.remove_reader(self._descriptor)

    def _on_readable(self) -> None:
        """Read once; inside a large body also on, while there is more: a turn of the loop costs 15 µs."""
        for _ in range(_READS_A_TURN):
            try:
                count = os.readv(self._descriptor, self._decoder.get_buffers())
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                count = 0  # the host reset the connection: nothing more will come
            self._report(count)
            if not (self._armed and self._decoder.mid_body and self._poller.poll(0)):
                return


class ThreadedSource:
    """For descriptors that cannot be polled (files, and pipes on Windows): one thread reads."""

    def __init__(
        self, descriptor: int, decoder: PacketDecoder, report: Report, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._descriptor = descriptor
        self._decoder = decoder
        self._report = report
        self._loop = loop
        self._wanted = threading.Semaphore(0)
        self._reading = False
        threading.Thread(target=self._read_all, name="reader", daemon=True).start()

    def arm(self) -> None:
        if not self._reading:
            self._reading = True
            self._wanted.release()

    def disarm(self) -> None:
        """Do nothing: a read is only begun by `arm`."""

    def _read_all(self) -> None:
        count = 1
        while count:
            self._wanted.acquire()
            try:
                count = _read_into(self._descriptor, self._decoder.get_buffers())
            except OSError:
                count = 0
            self._loop.call_soon_threadsafe(self._arrived, count)

    def _arrived(self, count: int) -> None:
        self._reading = False
        self._report(count)


def _read_into(descriptor: int, buffers: list[memoryview]) -> int:
    if hasattr(os, "readv"):
        return os.readv(descriptor, buffers)
    data = os.read(descriptor, len(buffers[0]))  # Windows: one copy more
    buffers[0][: len(data)] = data
    return len(data)


class PacketReader:
    """Feeds the decoder and hands on one message at a time, as long as nothing holds it back."""

    def __init__(
        self,
        descriptor: int,
        decoder: PacketDecoder,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[Message | RejectedPacket], None],
        on_end: Callable[[str | None], None],
        on_lost_framing: Callable[[str], None],
        is_held: Callable[[], bool],
    ) -> None:
        """Create a reader that waits for `pump`.

        Args:
            descriptor: where packets come from.
            decoder: what takes them apart.
            loop: the worker's.
            on_message: takes each message.
            on_end: called at the end of the stream, with a text where that is inside a packet.
            on_lost_framing: called instead, with a text, when it is unknown where the next packet begins.
            is_held: tells that no further message is wanted for now; `pump` goes on later.
        """
        enlarge(descriptor)
        source = PolledSource if is_pollable(descriptor) else ThreadedSource
        self._source: ByteSource = source(descriptor, decoder, self._arrived, loop)
        self._decoder = decoder
        self._on_message = on_message
        self._on_end = on_end
        self._on_lost_framing = on_lost_framing
        self._is_held = is_held
        self._pumping = False
        self._stopped = False

    def pump(self) -> None:
        """Hand on what has come, then read on, unless held back."""
        if self._pumping or self._stopped:
            return
        self._pumping = True
        try:
            while not self._is_held() and (message := self._decoder.next_message()) is not None:
                self._on_message(message)
        except FramingLost as error:
            self.stop()
            self._on_lost_framing(str(error))
        finally:
            self._pumping = False
        if self._stopped:
            return
        if self._is_held():
            self._source.disarm()
        else:
            self._source.arm()

    def stop(self) -> None:
        """Read no more, ever."""
        self._stopped = True
        self._source.disarm()

    def _arrived(self, count: int) -> None:
        if self._stopped:
            return
        if count == 0:
            self.stop()
            self._on_end("the stream ended inside a packet" if self._decoder.mid_packet else None)
            return
        self._decoder.buffer_updated(count)
        if self._decoder.mid_body:
            self._source.arm()  # no message can come of it yet
        else:
            self.pump()
