"""The model queue against a plain account of it: every item is taken, failed or withdrawn, once."""

import random
import threading
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model_queue import ModelQueue
from worker.requests import Group, Item, Stage, Timings

TENSOR: Any = object()


def new_item() -> Item:
    nothing: Any = None
    return Item(nothing, nothing, nothing, nothing, Timings(0.0))


class Account:
    """A queue, driven step by step in one thread, and what became of each item."""

    def __init__(self, ahead_limit: int, merge_limit: int) -> None:
        self.preparing: list[Item] = []
        self.taken: list[Item] = []
        self.failed: list[Item] = []
        self.withdrawn: list[Item] = []
        self.submitted: list[Item] = []
        self.open_group: Group | None = None
        self.joined = 0
        self.largest_open = 1
        self.largest_group = 1
        self.wanted = 0
        self.ahead_limit = ahead_limit
        self.merge_limit = merge_limit
        self.queue = ModelQueue(ahead_limit, merge_limit, self.preparing.append, self._want)

    def _want(self) -> None:
        self.wanted += 1

    def submit(self, count: int, prepared: bool) -> None:
        items = [new_item() for _ in range(count)]
        if prepared:
            for item in items:
                item.prepared = TENSOR
        self.submitted += items
        self.largest_group = max(self.largest_group, count)
        self.queue.submit(Group(items))

    def open(self) -> None:
        """One group is open at most, as in the accumulators."""
        if self.open_group is None:
            self.submitted.append(new_item())
            self.open_group, self.joined = Group([self.submitted[-1]], open=True), 1
            self.queue.submit(self.open_group)

    def extend(self) -> None:
        if self.open_group is not None:
            self.submitted.append(new_item())
            self.joined += 1
            self.largest_open = max(self.largest_open, self.joined)
            self.queue.extend(self.open_group, self.submitted[-1])

    def close(self) -> None:
        if self.open_group is not None:
            group, self.open_group = self.open_group, None
            self.queue.close(group)

    def settle(self, which: int, well: bool) -> None:
        if self.preparing:
            item = self.preparing.pop(which % len(self.preparing))
            if well:
                item.prepared = TENSOR
            elif item not in self.withdrawn:
                self.failed.append(item)
            self.queue.settle(item)

    def withdraw(self, which: int) -> None:
        if self.submitted:
            item = self.submitted[which % len(self.submitted)]
            if item in self.failed or item in self.withdrawn:
                return
            went = self.queue.withdraw(item)
            assert went is (item not in self.taken)
            if went:
                self.withdrawn.append(item)

    def take(self) -> None:
        if self.merge_limit and self.preparing:
            return  # a lane would wait for these, on another thread
        items = self.queue.take()
        assert all(item.stage is Stage.PREDICT and item.prepared is TENSOR for item in items)
        self.taken += items

    def check(self) -> None:
        outcomes = self.taken + self.failed + self.withdrawn
        assert len(set(map(id, outcomes))) == len(outcomes)
        ahead = len(self.preparing) + sum(item.stage is Stage.PREPARED for item in self.submitted)
        # A group that has begun is prepared whole, and an open one takes nobody's place.
        assert ahead < self.ahead_limit + self.largest_group + self.largest_open

    def finish(self) -> None:
        self.close()
        while self.preparing or self.queue.starved:
            self.settle(0, well=True)
            self.take()
        self.queue.retire()
        ended: list[bool] = []
        lane = threading.Thread(target=lambda: ended.append(self.queue.wait_ready()), daemon=True)
        lane.start()
        lane.join(20)
        assert ended == [False], "a lane would wait for ever"
        self.check()
        outcomes = self.taken + self.failed + self.withdrawn
        assert set(map(id, outcomes)) == set(map(id, self.submitted))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(1, 5), st.booleans()),
        st.tuples(st.just("open")),
        st.tuples(st.just("extend")),
        st.tuples(st.just("close")),
        st.tuples(st.just("settle"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("withdraw"), st.integers(0, 99)),
        st.tuples(st.just("take")),
    ),
    max_size=60,
)


@given(steps=STEPS, ahead_limit=st.integers(1, 6), merge_limit=st.sampled_from([0, 0, 3, 8]))
@settings(deadline=None, max_examples=300)
def test_every_item_comes_to_one_end(steps, ahead_limit, merge_limit):
    account = Account(ahead_limit, merge_limit)
    for name, *arguments in steps:
        getattr(account, name)(*arguments)
        account.check()
    account.finish()


@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=10), ahead_limit=st.integers(1, 4))
@settings(deadline=None)
def test_groups_are_taken_whole_and_in_order(counts, ahead_limit):
    account = Account(ahead_limit, merge_limit=0)
    for count in counts:
        account.submit(count, prepared=False)
    sizes = []
    while account.preparing or account.queue.starved:
        while account.preparing:
            account.settle(0, well=True)
        before = len(account.taken)
        account.take()
        sizes.append(len(account.taken) - before)
    assert sizes == counts
    assert account.taken == account.submitted


def test_an_open_group_is_not_taken_before_it_is_closed():
    account = Account(8, 0)
    account.open()
    account.settle(0, well=True)
    account.take()
    assert account.taken == []
    account.extend()
    account.settle(0, well=True)
    account.take()
    assert account.taken == []
    account.close()
    account.take()
    assert len(account.taken) == 2


def test_a_group_of_which_nothing_is_left_is_not_offered():
    account = Account(8, 0)
    account.submit(2, prepared=False)
    account.settle(0, well=False)
    account.settle(0, well=False)
    assert not account.queue.starved
    account.finish()


class Threads:
    """A queue with two threads that prepare and two lanes."""

    def __init__(self, merge_limit: int) -> None:
        self.queue = ModelQueue(6, merge_limit, self._begin, lambda: None)
        self.taken: list[Item] = []
        self.batches: list[int] = []
        self._to_prepare: SimpleQueue[Item | None] = SimpleQueue()
        self._preparers = [threading.Thread(target=self._prepare, daemon=True) for _ in range(2)]
        self._lanes = [threading.Thread(target=self._serve, daemon=True) for _ in range(2)]
        for thread in self._preparers + self._lanes:
            thread.start()

    def join(self) -> None:
        self.queue.retire()
        for lane in self._lanes:
            lane.join(60)
            assert not lane.is_alive()
        for _ in self._preparers:
            self._to_prepare.put(None)
        for preparer in self._preparers:
            preparer.join(60)

    def _begin(self, item: Item) -> None:
        self._to_prepare.put(item)

    def _prepare(self) -> None:
        while (item := self._to_prepare.get()) is not None:
            item.prepared = TENSOR if random.random() < 0.95 else None
            self.queue.settle(item)

    def _serve(self) -> None:
        while self.queue.wait_ready():
            items = self.queue.take()
            self.batches.append(len(items))
            self.taken.extend(items)


@pytest.mark.parametrize("merge_limit", [0, 8])
def test_with_threads_nothing_is_lost_and_nothing_is_taken_twice(merge_limit):
    threads = Threads(merge_limit)
    items = [new_item() for _ in range(3000)]
    withdrawn = set()
    for number, item in enumerate(items):
        threads.queue.submit(Group([item]))
        older = items[number // 2]
        if number % 10 == 0 and threads.queue.withdraw(older):
            withdrawn.add(id(older))
    threads.join()

    taken = set(map(id, threads.taken))
    assert len(taken) == len(threads.taken)
    assert not taken & withdrawn
    failed = {id(item) for item in items if item.prepared is None} - withdrawn
    assert len(taken) + len(failed) + len(withdrawn) == len(items)
    assert max(threads.batches) <= max(1, merge_limit)


def test_where_sources_share_a_model_none_takes_every_place_ahead():
    """Who sends little finds a place free, and not two pictures of one that floods in front of it."""
    account = Account(2, 0)

    def submit(source: str) -> Item:
        item = new_item()
        account.queue.submit(Group([item], source=source))
        return item

    submit("quiet")
    account.settle(0, well=True)
    account.queue.take()
    flood = [submit("flood") for _ in range(10)]
    assert account.preparing == flood[:1]
    late = submit("quiet")
    assert account.preparing == [flood[0], late]


def test_a_source_alone_takes_every_place_ahead():
    account = Account(3, 0)
    for _ in range(5):
        account.queue.submit(Group([new_item()], source="only"))
    assert len(account.preparing) == 3
