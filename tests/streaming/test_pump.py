"""FramePump: order, bounds, drops and ends between a source's thread and whoever takes its frames."""

import asyncio
import queue
import threading
from collections.abc import Generator

import numpy as np
import pytest

from protocol.pixel_format import PixelFormat
from streaming.base import Notify, StreamEvent, VideoFrame
from streaming.errors import BrokenStreamError
from streaming.pump import Drop, Ended, FramePump, pumped

PATIENCE_S = 20.0


def frame(number: int) -> VideoFrame:
    return VideoFrame(np.zeros((2, 2, 3), np.uint8), PixelFormat.RGB, 2, 2, number * 10.0, number)


class ListSource:
    """A double of a source: gives what it is told to, an event between, and an error at the end."""

    def __init__(self, count: int, error: Exception | None = None, waits: bool = False) -> None:
        self.count = count
        self.error = error
        self.given = 0
        self.closed = threading.Event()
        self.finished = threading.Event()
        self.waits = waits
        """Whether it waits for `close` behind its frames, as a live source does."""

    def frames(self, notify: Notify) -> Generator[VideoFrame, None, None]:
        try:
            notify(StreamEvent("started", {"count": self.count}))
            for number in range(self.count):
                self.given += 1
                yield frame(number)
            if self.waits:
                self.closed.wait(PATIENCE_S)
            if self.error is not None:
                raise self.error
        finally:
            self.finished.set()

    def close(self) -> None:
        self.closed.set()


class Taker:
    """Takes from a pump, waiting for its wakes."""

    def __init__(self, source: ListSource, capacity: int = 2, drop: Drop = Drop.NONE) -> None:
        self.woken: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.pump = FramePump(source, capacity, drop, lambda: self.woken.put(None))
        self.pump.start("test")

    def next(self) -> VideoFrame | StreamEvent | Ended:
        while (taken := self.pump.take()) is None:
            self.woken.get(timeout=PATIENCE_S)
        return taken

    def rest(self) -> list[VideoFrame | StreamEvent | Ended]:
        taken = [self.next()]
        while not isinstance(taken[-1], Ended):
            taken.append(self.next())
        return taken


def numbers(taken: list[VideoFrame | StreamEvent | Ended]) -> list[int]:
    return [thing.frame_number for thing in taken if isinstance(thing, VideoFrame)]


def test_everything_comes_in_order_and_the_end_last():
    started, *frames, ended = Taker(ListSource(50)).rest()
    assert started == StreamEvent("started", {"count": 50})
    assert numbers(frames) == list(range(50))
    assert ended == Ended(None)


def test_an_error_comes_behind_the_frames_that_there_were():
    error = BrokenStreamError("cut short at frame 3")
    taken = Taker(ListSource(3, error)).rest()
    assert numbers(taken) == [0, 1, 2]
    assert taken[-1] == Ended(error)


def test_a_source_waits_while_nobody_takes():
    source = ListSource(10)
    taker = Taker(source)
    assert isinstance(taker.next(), StreamEvent)
    assert numbers([taker.next()]) == [0]
    assert source.given <= 4  # one taken, two wait, one is in the source's hands
    assert numbers(taker.rest()) == list(range(1, 10))
    assert taker.pump.dropped == 0


def test_the_oldest_frames_go_where_that_is_wanted_and_events_stay():
    source = ListSource(20, waits=True)
    taker = Taker(source, capacity=3, drop=Drop.OLDEST)
    while taker.pump.dropped < 17:
        assert not source.finished.is_set()
    taken = [taker.next() for _ in range(4)]
    assert taken[0] == StreamEvent("started", {"count": 20})
    assert numbers(taken) == [17, 18, 19]
    source.close()
    assert taker.next() == Ended(None)


@pytest.mark.parametrize("drop", Drop)
def test_stop_ends_a_source_that_waits(drop):
    source = ListSource(10, waits=True)
    taker = Taker(source, capacity=1, drop=drop)
    assert isinstance(taker.next(), StreamEvent)
    taker.pump.stop()
    assert source.finished.wait(PATIENCE_S)
    assert source.closed.is_set()
    assert not isinstance(taker.pump.take(), VideoFrame)


def test_an_asyncio_program_gets_the_frames_and_then_the_error():
    seen = []

    async def take() -> None:
        async for given in pumped(ListSource(30, BrokenStreamError("damaged"))):
            seen.append(given.frame_number)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(BrokenStreamError):
        asyncio.run(take())
    assert seen == list(range(30))


def test_leaving_the_loop_ends_the_source():
    source = ListSource(30, waits=True)

    async def take_one() -> None:
        frames = pumped(source)
        async for _ in frames:
            break
        await frames.aclose()

    asyncio.run(take_one())
    assert source.finished.wait(PATIENCE_S)
