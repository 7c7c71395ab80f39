"""Accumulators: which groups reach the queue, and when they are closed."""

import asyncio
from typing import Any

import pytest

from worker.batching import PLAIN, Accumulator, Arrival, WindowAccumulator, batch_limit, make_accumulator
from worker.config import BatchMode, WorkerConfig
from worker.requests import Group, Priority


class Queue:
    """Keeps what accumulators hand over."""

    def __init__(self) -> None:
        self.groups: list[Group] = []

    def submit(self, group: Group) -> None:
        self.groups.append(group)

    def extend(self, group: Group, item: Any) -> None:
        assert group.open
        group.items.append(item)

    def close(self, group: Group) -> None:
        group.open = False

    @property
    def sizes(self) -> list[tuple[int, bool]]:
        return [(len(group.items), group.open) for group in self.groups]


def items(count: int) -> list[Any]:
    return [object() for _ in range(count)]


@pytest.mark.parametrize(
    ("mode", "single", "batch"),
    [
        (BatchMode.NONE, [(1, False)] * 2, [(1, False)] * 3),
        (BatchMode.ADAPTIVE, [(1, False)] * 2, [(1, False)] * 3),
        (BatchMode.LIST, [(1, False)] * 2, [(3, False)]),
        (BatchMode.WINDOW, [(2, True)], [(3, False)]),
    ],
)
def test_how_each_mode_groups(mode, single, batch):
    async def run() -> None:
        queue: Any = Queue()
        config = WorkerConfig(batch_mode=mode, window_ms=60_000.0)
        accumulator = make_accumulator(config, queue, 4, asyncio.get_running_loop())
        for item in items(2):
            accumulator.add(item, PLAIN)
        assert queue.sizes == single
        accumulator.add_batch(items(3), PLAIN)
        assert queue.sizes == single + batch
        accumulator.flush()
        assert not any(group.open for group in queue.groups)
        accumulator.flush()

    asyncio.run(run())


def test_a_full_window_closes_and_the_next_one_opens():
    async def run() -> None:
        queue: Any = Queue()
        accumulator = WindowAccumulator(queue, 60.0, 3, asyncio.get_running_loop())
        for item in items(7):
            accumulator.add(item, PLAIN)
        assert queue.sizes == [(3, False), (3, False), (1, True)]
        accumulator.flush()

    asyncio.run(run())


def test_a_window_closes_by_time_counted_from_its_first_item():
    async def run() -> None:
        queue: Any = Queue()
        accumulator = WindowAccumulator(queue, 0.05, 100, asyncio.get_running_loop())
        accumulator.add(items(1)[0], PLAIN)
        while queue.groups[0].open:  # noqa: ASYNC110 - a double has no event
            await asyncio.sleep(0.005)
        accumulator.add(items(1)[0], PLAIN)
        assert queue.sizes == [(1, False), (1, True)]
        accumulator.flush()

    asyncio.run(run())


def test_a_timer_of_a_window_that_was_full_does_not_close_the_next_one():
    async def run() -> None:
        queue: Any = Queue()
        accumulator = WindowAccumulator(queue, 0.2, 2, asyncio.get_running_loop())
        for item in items(2):
            accumulator.add(item, PLAIN)
        await asyncio.sleep(0.15)
        accumulator.add(items(1)[0], PLAIN)
        await asyncio.sleep(0.08)
        elapsed_timer_closed_it = not queue.groups[1].open
        accumulator.flush()
        assert not elapsed_timer_closed_it

    asyncio.run(run())


LONG_S = 60.0
ALL_MODES = list(BatchMode)


def accumulator_of(
    queue: Any, limit: int = 8, mode: BatchMode = BatchMode.NONE, window_ms: float = 60_000.0
) -> Accumulator:
    config = WorkerConfig(batch_mode=mode, window_ms=window_ms)
    return make_accumulator(config, queue, limit, asyncio.get_running_loop())


def announced(hint: int, hint_s: float = LONG_S, **more: Any) -> Arrival:
    return Arrival(hint=hint, hint_s=hint_s, **more)


async def until_closed(group: Group) -> None:
    async with asyncio.timeout(LONG_S / 2):
        while group.open:  # noqa: ASYNC110 - a double has no event
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("mode", ALL_MODES)
def test_an_announced_batch_starts_with_its_last_request_in_every_mode(mode):
    async def run() -> None:
        queue: Any = Queue()
        accumulator = accumulator_of(queue, 8, mode)
        sizes = []
        for item in items(6):
            accumulator.add(item, announced(3))
            sizes.append(queue.sizes)
        assert sizes[:3] == [[(1, True)], [(2, True)], [(3, False)]]
        assert sizes[3:] == [[(3, False), (count, count < 3)] for count in (1, 2, 3)]

    asyncio.run(run())


@pytest.mark.parametrize(("hint", "limit", "groups"), [(8, 3, [(3, False)] * 2), (65_535, 6, [(6, False)])])
def test_an_announced_batch_is_capped(hint, limit, groups):
    async def run() -> None:
        queue: Any = Queue()
        accumulator = accumulator_of(queue, limit)
        for item in items(6):
            accumulator.add(item, announced(hint))
        assert queue.sizes == groups

    asyncio.run(run())


@pytest.mark.parametrize(("hint", "limit"), [(5, 1), (1, 8)])
@pytest.mark.parametrize("mode", [BatchMode.NONE, BatchMode.LIST, BatchMode.ADAPTIVE])
def test_a_batch_of_one_is_not_waited_for(mode, hint, limit):
    async def run() -> None:
        queue: Any = Queue()
        accumulator = accumulator_of(queue, limit, mode)
        for item in items(2):
            accumulator.add(item, announced(hint))
        assert queue.sizes == [(1, False)] * 2

    asyncio.run(run())


def test_an_announced_batch_starts_at_its_time():
    async def run() -> None:
        queue: Any = Queue()
        accumulator = accumulator_of(queue)
        for item in items(2):
            accumulator.add(item, announced(5, 0.1))
        assert queue.sizes == [(2, True)]
        began = asyncio.get_running_loop().time()
        await until_closed(queue.groups[0])
        assert asyncio.get_running_loop().time() - began > 0.09
        accumulator.add(items(1)[0], announced(5))
        assert queue.sizes == [(2, False), (1, True)]
        accumulator.flush()

    asyncio.run(run())


@pytest.mark.parametrize("patient_first", [True, False])
def test_whoever_waits_least_decides(patient_first):
    """The time of each counts from its own arrival, and so does each deadline."""

    async def run(hasty: Arrival) -> None:
        queue: Any = Queue()
        accumulator = accumulator_of(queue)
        arrivals = [announced(5), hasty] if patient_first else [hasty, announced(5)]
        for item, arrival in zip(items(2), arrivals, strict=True):
            accumulator.add(item, arrival)
        await until_closed(queue.groups[0])
        assert queue.sizes == [(2, False)]

    asyncio.run(run(announced(5, 0.1)))
    asyncio.run(run(announced(5, deadline_s=0.1)))


def test_a_batch_starts_before_the_earliest_deadline_and_not_at_it():
    async def run() -> None:
        queue: Any = Queue()
        accumulator = accumulator_of(queue)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 1.0
        for seconds in (30.0, 1.0, 20.0):
            accumulator.add(items(1)[0], announced(5, deadline_s=seconds))
        at_deadline: list[bool] = []
        loop.call_at(deadline, lambda: at_deadline.append(queue.groups[0].open))
        await until_closed(queue.groups[0])
        while not at_deadline:  # noqa: ASYNC110 - that moment has no event
            await asyncio.sleep(0.005)
        assert at_deadline == [False]

    asyncio.run(run())


def test_what_was_cancelled_counts_as_arrived():
    async def run() -> None:
        queue: Any = Queue()
        accumulator = accumulator_of(queue)
        first, *others = items(3)
        accumulator.add(first, announced(3))
        queue.groups[0].items.remove(first)
        for item in others:
            accumulator.add(item, announced(3))
        assert queue.sizes == [(2, False)]

    asyncio.run(run())


@pytest.mark.parametrize(("mode", "hint"), [(BatchMode.NONE, 2), (BatchMode.WINDOW, None)])
def test_priorities_have_batches_and_windows_apart(mode, hint):
    async def run() -> None:
        queue: Any = Queue()
        accumulator = accumulator_of(queue, 2, mode)
        for priority in (Priority.LOW, Priority.HIGH, Priority.HIGH, Priority.LOW):
            accumulator.add(items(1)[0], Arrival(priority, hint=hint, hint_s=LONG_S))
        assert queue.sizes == [(2, False)] * 2
        assert [group.priority for group in queue.groups] == [Priority.LOW, Priority.HIGH]

    asyncio.run(run())


def test_announced_requests_and_an_open_window_do_not_mix():
    async def run() -> None:
        queue: Any = Queue()
        accumulator = accumulator_of(queue, 4, BatchMode.WINDOW)
        accumulator.add(items(1)[0], PLAIN)
        for item in items(2):
            accumulator.add(item, announced(2))
        accumulator.add(items(1)[0], PLAIN)
        assert queue.sizes == [(2, True), (2, False)]
        accumulator.flush()
        assert queue.sizes == [(2, False), (2, False)]

    asyncio.run(run())


@pytest.mark.parametrize("mode", ALL_MODES)
def test_an_infer_batch_is_not_waited_for_whatever_it_announces(mode):
    async def run() -> None:
        queue: Any = Queue()
        accumulator_of(queue, 8, mode).add_batch(items(2), announced(5))
        assert not any(group.open for group in queue.groups)
        assert sum(len(group.items) for group in queue.groups) == 2

    asyncio.run(run())


def test_the_end_closes_announced_batches_and_later_ones_open_anew():
    async def run() -> None:
        queue: Any = Queue()
        accumulator = accumulator_of(queue)
        for priority in Priority:
            accumulator.add(items(1)[0], announced(3, priority=priority))
        accumulator.flush()
        accumulator.flush()
        assert queue.sizes == [(1, False)] * 3
        accumulator.add(items(1)[0], announced(3))
        assert queue.sizes[3:] == [(1, True)]
        accumulator.flush()

    asyncio.run(run())


def test_groups_carry_priority_and_source():
    async def run() -> None:
        for mode in ALL_MODES:
            queue: Any = Queue()
            accumulator = accumulator_of(queue, 8, mode)
            accumulator.add(items(1)[0], Arrival(Priority.HIGH, "yard"))
            accumulator.add_batch(items(2), Arrival(Priority.LOW, ""))
            accumulator.flush()
            found = {(group.priority, group.source) for group in queue.groups}
            assert found == {(Priority.HIGH, "yard"), (Priority.LOW, "")}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("mode", "configured", "model", "limit"),
    [
        (BatchMode.NONE, None, 32, 1),
        (BatchMode.WINDOW, None, 32, 1),
        (BatchMode.WINDOW, 16, 4, 16),
        (BatchMode.ADAPTIVE, None, 32, 8),
        (BatchMode.ADAPTIVE, None, 4, 4),
        (BatchMode.ADAPTIVE, 16, 32, 16),
        (BatchMode.ADAPTIVE, 16, 4, 4),
        (BatchMode.ADAPTIVE, 1, 32, 1),
    ],
)
def test_the_limit_of_a_batch(mode, configured, model, limit):
    assert batch_limit(mode, configured, model) == limit
