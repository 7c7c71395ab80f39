"""The direct queue: each lane prepares what it takes; nothing is lost, kept or taken twice."""

import gc
import random
import threading
import time
import weakref
from typing import Any

import pytest

from worker.direct_queue import DirectQueue
from worker.requests import Group, Item, Priority, Stage, Timings

TENSOR: Any = object()


class Watched(Item, weakref=True, eq=False):
    """An item whose end can be seen."""


def new_item() -> Item:
    nothing: Any = None
    return Watched(nothing, nothing, nothing, nothing, Timings(0.0))


class Lanes:
    """A queue and the lanes that serve it; a prepare fails now and then."""

    def __init__(self, count: int, failing: float = 0.0) -> None:
        self.taken: list[Item] = []
        self.by_lane: list[str] = []
        self.failing = failing
        self.wanted = threading.Event()
        self.queue = DirectQueue(self._prepare, self.wanted.set)
        self.threads = [
            threading.Thread(target=self._serve, name=f"lane-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def finish(self) -> None:
        self.queue.retire()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def _prepare(self, item: Item) -> None:
        if random.random() >= self.failing:
            item.prepared = TENSOR
        self.queue.settle(item)

    def _serve(self) -> None:
        while self.queue.wait_ready():
            for item in self.queue.take():
                assert item.stage is Stage.PREDICT
                self.taken.append(item)
                self.by_lane.append(threading.current_thread().name)


def wait_until(is_so) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("lanes", [1, 4])
def test_with_threads_nothing_is_lost_and_nothing_is_taken_twice(lanes):
    pool = Lanes(lanes, failing=0.05)
    pool.start()
    items = [new_item() for _ in range(4000)]
    withdrawn = set()
    for number, item in enumerate(items):
        if number % 7 == 0:
            item.prepared = TENSOR  # from the frame cache
        pool.queue.submit(Group([item]))
        older = items[number // 2]
        if number % 5 == 0 and pool.queue.withdraw(older):
            withdrawn.add(id(older))
    pool.finish()
    taken = set(map(id, pool.taken))
    assert len(taken) == len(pool.taken)
    assert not taken & withdrawn
    failed = {id(item) for item in items if item.prepared is None} - withdrawn
    assert len(taken) + len(failed) + len(withdrawn) == len(items)
    assert pool.queue.depth == (0, 0, 0)


def test_what_is_urgent_goes_first_and_nothing_is_prepared_ahead():
    pool = Lanes(1)
    order = [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.NORMAL]
    items = [new_item() for _ in order]
    for item, priority in zip(items, order, strict=True):
        pool.queue.submit(Group([item], priority))
    assert pool.queue.depth == (4, 0, 0)
    assert all(item.prepared is None for item in items)
    pool.start()
    pool.finish()
    assert pool.taken == [items[2], items[1], items[3], items[0]]


def test_one_request_at_a_time_stays_with_one_lane():
    """The last lane to fall asleep is woken first: its caches are warm."""
    pool = Lanes(3)
    pool.start()
    for number in range(50):
        wait_until(lambda: len(pool.queue._sleeping) == 3)
        pool.queue.submit(Group([new_item()]))
        wait_until(lambda number=number: len(pool.taken) == number + 1)
    pool.finish()
    assert len(set(pool.by_lane)) == 1


def test_a_lane_is_asked_for_where_more_waits_than_lanes_are_idle():
    pool = Lanes(1)
    pool.queue.submit(Group([new_item()]))
    assert pool.wanted.is_set()
    pool.start()
    wait_until(lambda: len(pool.queue._sleeping) == 1)
    pool.wanted.clear()
    pool.queue.submit(Group([new_item()]))
    assert not pool.wanted.is_set()
    pool.finish()


@pytest.mark.parametrize("way_out", ["taken", "withdrawn"])
def test_nothing_holds_an_item_that_has_gone(way_out):
    pool, item = Lanes(0), new_item()
    gc.disable()
    try:
        pool.queue.submit(Group([item]))
        if way_out == "taken":
            assert pool.queue.take() == [item]
        else:
            assert pool.queue.withdraw(item)
        gone = weakref.ref(item)
        del item
        assert gone() is None
    finally:
        gc.enable()


def test_withdrawing_during_prepare_keeps_it_from_predict():
    queue: DirectQueue
    item = new_item()

    def prepare(prepared: Item) -> None:
        prepared.prepared = TENSOR
        assert queue.depth == (0, 1, 0)
        assert queue.withdraw(prepared)
        queue.settle(prepared)

    queue = DirectQueue(prepare, lambda: None)
    queue.submit(Group([item]))
    assert queue.take() == []
    assert not queue.withdraw(item)
