"""StreamInput: credit, order, joined bytes, and ends between the loop and a source's thread."""

import queue
import threading

import pytest

from worker.stream_input import StreamInput

CREDIT = 1 << 20
PATIENCE_S = 20.0


class Sink:
    """A double of a source: keeps what is appended; waits, or fails, where it is told to."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error: Exception | None = None
        self.ended = threading.Event()

    def append(self, data: memoryview) -> None:
        assert self.may_go_on.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        self.chunks.append(bytes(data))

    def end(self) -> None:
        self.ended.set()


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def granted() -> "queue.SimpleQueue[int]":
    return queue.SimpleQueue()


@pytest.fixture
def failed() -> "queue.SimpleQueue[Exception]":
    return queue.SimpleQueue()


@pytest.fixture
def make(sink, granted, failed):
    inputs = []

    def make_one(joins: bool = True, credit: int = CREDIT, name: str = "test") -> StreamInput:
        inputs.append(StreamInput(sink, credit, joins, granted.put, failed.put))
        inputs[-1].start(name)
        return inputs[-1]

    yield make_one
    for made in inputs:
        made.close()


def test_bytes_come_in_order_and_then_the_end(make, sink):
    made = make()
    data = bytes(range(256)) * 100
    for start in range(0, len(data), 1000):
        assert made.feed(memoryview(data)[start : start + 1000])
    made.end()
    assert sink.ended.wait(PATIENCE_S)
    assert b"".join(sink.chunks) == data


def test_small_packets_of_a_container_are_joined_and_frames_are_not(make, sink):
    sink.may_go_on.clear()
    made = make()
    for _ in range(3000):
        assert made.feed(memoryview(b"x"))
    made.end()
    sink.may_go_on.set()
    assert sink.ended.wait(PATIENCE_S)
    assert sum(map(len, sink.chunks)) == 3000
    assert len(sink.chunks) <= 2  # what the thread had taken already, and the rest


def test_frames_keep_their_borders(make, sink):
    sink.may_go_on.clear()
    made = make(joins=False)
    frames = [b"a", b"bc" * 3000, b"d", b"e"]
    assert all(made.feed(memoryview(frame)) for frame in frames)
    made.end()
    sink.may_go_on.set()
    assert sink.ended.wait(PATIENCE_S)
    assert sink.chunks == frames


def test_more_than_the_credit_is_refused_until_some_comes_back(make, sink, granted):
    sink.may_go_on.clear()
    made = make()
    assert made.feed(memoryview(bytes(CREDIT - 10)))
    assert made.feed(memoryview(bytes(10)))
    assert not made.feed(memoryview(b"x"))
    sink.may_go_on.set()
    assert granted.get(timeout=PATIENCE_S) == CREDIT - 10
    assert made.feed(memoryview(b"x"))


def test_credit_comes_back_in_few_parts(make, granted):
    made = make()
    for _ in range(64):
        assert made.feed(memoryview(bytes(CREDIT // 64)))
    parts = [granted.get(timeout=PATIENCE_S)]
    while sum(parts) < CREDIT:
        parts.append(granted.get(timeout=PATIENCE_S))
    assert len(parts) <= 16


def test_what_a_source_raises_is_told_once_and_nothing_is_appended_after_it(make, sink, failed):
    sink.may_go_on.clear()
    sink.error = OSError("no room")
    made = make(joins=False)
    assert made.feed(memoryview(b"first"))
    assert made.feed(memoryview(b"second"))
    sink.may_go_on.set()
    assert failed.get(timeout=PATIENCE_S) is sink.error
    assert made.feed(memoryview(bytes(2 * CREDIT)))  # nobody takes it, and nobody minds
    assert sink.chunks == []
    assert failed.empty()


def test_close_forgets_what_waits_and_is_no_end(make, sink):
    sink.may_go_on.clear()
    made = make(joins=False, name="closing")
    for _ in range(5):
        made.feed(memoryview(b"frame"))
    made.close()
    sink.may_go_on.set()
    made.end()
    for thread in threading.enumerate():
        if thread.name == "closing":
            thread.join(PATIENCE_S)
    assert len(sink.chunks) <= 1
    assert not sink.ended.is_set()


def test_packets_of_no_bytes_cost_nothing(make, sink):
    made = make(credit=1 << 16)
    for _ in range(10):
        assert made.feed(memoryview(b""))
    made.end()
    assert sink.ended.wait(PATIENCE_S)
    assert sink.chunks == []


def test_all_credit_is_back_when_nothing_comes_any_more(make, granted):
    made = make()
    for size in (1, 70_000, 3):
        assert made.feed(memoryview(bytes(size)))
    back = granted.get(timeout=PATIENCE_S)
    while back < 70_004:
        back += granted.get(timeout=PATIENCE_S)
    assert back == 70_004
    assert made.feed(memoryview(bytes(CREDIT)))
