"""The queue of what waits unprepared, against a plain account of it: nothing is lost, and nobody starves."""

import gc
import tracemalloc
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.fair_queue import FairQueue
from worker.requests import Group, Item, Priority, Timings

HIGH, NORMAL, LOW = Priority
LARGEST = 5

NAMES = st.sampled_from([None, "", "yard", "gate", "dock"])
SIZES = st.integers(1, LARGEST)


def new_item() -> Item:
    nothing: Any = None
    return Item(nothing, nothing, nothing, nothing, Timings(0.0))


def group_of(size: int = 1, source: str | None = None, priority: int = NORMAL) -> Group:
    return Group([new_item() for _ in range(size)], priority, source)


def queue_of(*groups: Group) -> FairQueue:
    queue = FairQueue()
    for group in groups:
        queue.add(group)
    return queue


def pop(queue: FairQueue) -> Group:
    group = queue.pop()
    assert group is not None
    return group


def pop_all(queue: FairQueue) -> list[Group]:
    return list(iter(queue.pop, None))


class Account:
    """A queue, and what waits in it by a plain list in order of arrival."""

    def __init__(self) -> None:
        self.queue = FairQueue()
        self.waiting: list[Group] = []

    def add(self, size: int, source: str | None, priority: int) -> None:
        self.waiting.append(group_of(size, source, priority))
        self.queue.add(self.waiting[-1])

    def pop(self) -> None:
        group = self.queue.pop()
        if group is None:
            assert self.waiting == []
            return
        most_urgent = min(one.priority for one in self.waiting)
        assert group.priority == most_urgent
        own = [one for one in self.waiting if (one.priority, one.source) == (most_urgent, group.source)]
        assert group is own[0], "what came first goes first within a source"
        self.waiting.remove(group)

    def join(self, which: int) -> None:
        if self.waiting:
            self.waiting[which % len(self.waiting)].items.append(new_item())
            self.queue.joined()

    def leave(self, which: int) -> None:
        if self.waiting:
            group = self.waiting[which % len(self.waiting)]
            group.items.pop()
            self.queue.left(group)
            if not group.items:
                self.waiting.remove(group)

    def check(self) -> None:
        assert self.queue.items == sum(len(group.items) for group in self.waiting)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), SIZES, NAMES, st.sampled_from(list(Priority))),
        st.tuples(st.just("pop")),
        st.tuples(st.just("join"), st.integers(0, 99)),
        st.tuples(st.just("leave"), st.integers(0, 99)),
    ),
    max_size=80,
)


@given(steps=STEPS)
@settings(deadline=None, max_examples=300)
def test_nothing_is_lost_and_priorities_are_strict(steps):
    account = Account()
    for name, *arguments in steps:
        getattr(account, name)(*arguments)
        account.check()
    while account.waiting:
        account.pop()
        account.check()
    assert account.queue.pop() is None
    assert account.queue.items == 0


BACKLOG = st.dictionaries(NAMES, st.lists(SIZES, min_size=1, max_size=12), min_size=2)


@given(backlog=BACKLOG, order=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=300)
def test_sources_with_a_backlog_are_within_one_group_of_each_other(backlog, order):
    arrivals = [(source, size) for source, sizes in backlog.items() for size in sizes]
    order.shuffle(arrivals)
    queue = queue_of(*(group_of(size, source) for source, size in arrivals))
    left = Counter(source for source, _ in arrivals)
    served = Counter(dict.fromkeys(backlog, 0))
    while all(left.values()):
        group = pop(queue)
        served[group.source] += len(group.items)
        left[group.source] -= 1
        assert all(abs(served[one] - served[other]) <= LARGEST for one, other in combinations(backlog, 2))


@given(
    backlog=st.lists(SIZES, min_size=30, max_size=60),
    late=st.lists(SIZES, min_size=6, max_size=6),
    begun=st.integers(1, 20),
)
@settings(deadline=None)
def test_a_source_that_comes_late_takes_turns_from_then_on_and_makes_up_for_nothing(backlog, late, begun):
    queue = queue_of(*(group_of(size, "busy") for size in backlog))
    for _ in range(begun):
        pop(queue)
    for size in late:
        queue.add(group_of(size, "late"))
    served, left = Counter({"busy": 0, "late": 0}), Counter(busy=len(backlog) - begun, late=len(late))
    while all(left.values()):
        group = pop(queue)
        served[group.source] += len(group.items)
        left[group.source] -= 1
        assert abs(served["busy"] - served["late"]) <= 2 * LARGEST


def test_a_source_that_comes_and_goes_gets_no_more_than_its_share():
    """One that sends its next picture only when the last one was taken never waits; it takes turns."""
    queue = queue_of(*(group_of(4, "crops") for _ in range(20)))
    served = Counter[str | None]()
    for _ in range(25):
        queue.add(group_of(1, "gate"))
        while (group := pop(queue)).source != "gate":
            served["crops"] += len(group.items)
        served["gate"] += 1
    # Four of the other's pictures go with each call: so many of its own, too.
    assert served["gate"] <= served["crops"] + 2 * 4


def test_priorities_have_turns_of_their_own():
    queue = queue_of(
        *(group_of(source="yard", priority=priority) for priority in (LOW, HIGH) for _ in range(3)),
        *(group_of(source="gate", priority=priority) for priority in (LOW, HIGH) for _ in range(3)),
    )
    found = [(group.priority, group.source) for group in pop_all(queue)]
    assert [priority for priority, _ in found] == [HIGH] * 6 + [LOW] * 6
    for half in (found[:6], found[6:]):
        assert [source for _, source in half] in (["yard", "gate"] * 3, ["gate", "yard"] * 3)


def test_no_name_is_one_source_and_the_empty_name_another():
    queue = queue_of(*(group_of() for _ in range(4)), *(group_of(source="") for _ in range(4)))
    assert Counter(pop(queue).source for _ in range(4)) == {None: 2, "": 2}


def test_a_group_that_was_taken_out_never_comes():
    """At any place of its line, and the others keep theirs."""
    groups = [group_of(2, source) for _ in range(4) for source in ("yard", "gate")]
    queue = queue_of(*groups)
    for group in (groups[0], groups[3], groups[6]):
        for _ in range(2):
            group.items.pop()
            queue.left(group)
    assert [group for group in pop_all(queue) if group.source == "yard"] == [groups[2], groups[4]]
    assert queue.items == 0


def test_a_group_that_was_taken_out_costs_its_source_no_turn():
    gone = [group_of(LARGEST, "yard") for _ in range(10)]
    queue = queue_of(*gone, group_of(1, "yard"), *(group_of(1, "gate") for _ in range(10)))
    for group in gone:
        while group.items:
            group.items.pop()
            queue.left(group)
    assert "yard" in [pop(queue).source for _ in range(2)]


@pytest.mark.parametrize("way_out", ["popped", "taken out"])
def test_an_empty_queue_keeps_nothing_of_twenty_thousand_sources(way_out):
    def use(queue: FairQueue, names: range) -> None:
        groups = [group_of(1, f"camera {name}") for name in names]
        for group in groups:
            queue.add(group)
        for group in groups:
            if way_out == "popped":
                pop(queue)
            else:
                group.items.clear()
                queue.left(group)

    queue = FairQueue()
    use(queue, range(200))
    gc.collect()
    tracemalloc.start()
    try:
        for turn in range(100):
            use(queue, range(turn * 200, (turn + 1) * 200))
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert queue.pop() is None
    assert kept < 64 * 1024


def test_ever_new_sources_under_a_backlog_take_bounded_memory():
    """A host that gives each request a source of its own, and always has some waiting."""
    queue = queue_of(*(group_of(1, f"track {number}") for number in range(100)))
    tracemalloc.start()
    try:
        for number in range(8000):
            queue.add(group_of(1, f"track {100 + number}"))
            pop(queue)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A hundred groups wait; besides, at most some thousand names are remembered.
    assert kept < 512 * 1024


def test_ever_new_sources_starve_nobody():
    """Each newcomer takes its place behind those who wait already."""
    queue = queue_of(*(group_of(1, "yard") for _ in range(10)))
    served = 0
    for number in range(200):
        queue.add(group_of(1, f"track {number}"))
        served += pop(queue).source == "yard"
    assert served == 10


def test_a_source_that_was_away_for_long_goes_ahead_by_a_few_items_only():
    queue = queue_of(group_of(1, "rare"))
    pop(queue)
    for _ in range(1000):
        queue.add(group_of(1, "busy"))
        pop(queue)
    for source in ("rare", "busy"):  # the rare one first, into an empty queue
        for _ in range(50):
            queue.add(group_of(1, source))
    order = [pop(queue).source for _ in range(40)]
    assert order[0] == "rare"
    assert 20 <= order.count("rare") <= 22
