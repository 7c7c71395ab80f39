"""The response writer on a pipe, a socket and a terminal that the host does not read for a while."""

import asyncio
import os
import pty
import socket
import threading
import tty

import pytest

from protocol.framing import ResponseDecoder
from worker.writer import HIGH_WATER, ResponseWriter

# A sink lives as long as its process, and closes nothing.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def pipe() -> tuple[int, int]:
    return os.pipe()


def socketpair() -> tuple[int, int]:
    host, worker = socket.socketpair()
    return host.detach(), worker.detach()


def terminal() -> tuple[int, int]:
    host, worker = pty.openpty()
    tty.setraw(worker)
    return host, worker


ENDS = {"pipe": pipe, "socket": socketpair, "terminal": terminal}


class Host:
    """The other end: reads so many answers on a thread."""

    def __init__(self, descriptor: int, expected: int) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self._descriptor = descriptor
        self._expected = expected
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        decoder = ResponseDecoder()
        while len(self.answers) < self._expected:
            decoder.feed(os.read(self._descriptor, 1 << 16))
            self.answers += decoder

    def start(self) -> None:
        self._thread.start()

    async def done(self) -> None:
        await asyncio.to_thread(self._thread.join)


@pytest.fixture(params=ENDS)
def ends(request):
    host, worker = ENDS[request.param]()
    yield host, worker
    for end in (host, worker):
        os.close(end)


@pytest.mark.parametrize(
    "sizes", [[0, 1, 5] * 50, [300_000] * 60, [30_000_000]], ids=["small", "many", "huge"]
)
def test_everything_arrives_in_order_and_room_is_told(ends, sizes):
    """While nobody reads, the writer is congested; `on_room` comes when it no longer is."""

    async def run() -> None:
        room = asyncio.Event()
        closed: list[None] = []
        loop = asyncio.get_running_loop()
        writer = ResponseWriter(ends[1], loop, room.set, lambda: closed.append(None))
        host = Host(ends[0], len(sizes))
        for request_id, size in enumerate(sizes):
            writer.send(request_id, bytes([request_id % 256]) * size)
        await asyncio.sleep(0.02)
        congested = sum(sizes) > HIGH_WATER + (2 << 20)
        assert writer.congested is congested
        assert os.get_blocking(ends[1])
        host.start()
        await asyncio.wait_for(host.done(), 60)
        if congested:
            await asyncio.wait_for(room.wait(), 20)
        await asyncio.wait_for(writer.drained(), 60)
        assert not writer.congested
        expected = [(request_id, bytes([request_id % 256]) * size) for request_id, size in enumerate(sizes)]
        assert host.answers == expected
        assert closed == []

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("pending", [10, 20_000_000], ids=["at a write", "while it waits"])
def test_a_closed_end_is_told_once_and_what_is_sent_then_is_dropped(kind, pending):
    host, worker = ENDS[kind]()

    async def run() -> None:
        closed = asyncio.Queue[None]()
        loop = asyncio.get_running_loop()
        writer = ResponseWriter(worker, loop, lambda: None, lambda: closed.put_nowait(None))
        if pending > 100:
            writer.send(1, bytes(pending))
            await asyncio.sleep(0.02)
        os.close(host)
        writer.send(2, bytes(10))
        await asyncio.wait_for(closed.get(), 60)
        writer.send(3, bytes(10))
        await asyncio.sleep(0.02)
        assert closed.empty()
        assert writer.pending_bytes == 0

    asyncio.run(run())
    os.close(worker)
