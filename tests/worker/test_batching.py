"""Accumulators: which groups reach the queue, and when they are closed."""

import asyncio
from typing import Any

import pytest

from worker.batching import WindowAccumulator, batch_limit, make_accumulator
from worker.config import BatchMode, WorkerConfig
from worker.requests import Group


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
            accumulator.add(item)
        assert queue.sizes == single
        accumulator.add_batch(items(3))
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
            accumulator.add(item)
        assert queue.sizes == [(3, False), (3, False), (1, True)]
        accumulator.flush()

    asyncio.run(run())


def test_a_window_closes_by_time_counted_from_its_first_item():
    async def run() -> None:
        queue: Any = Queue()
        accumulator = WindowAccumulator(queue, 0.05, 100, asyncio.get_running_loop())
        accumulator.add(items(1)[0])
        while queue.groups[0].open:  # noqa: ASYNC110 - a double has no event
            await asyncio.sleep(0.005)
        accumulator.add(items(1)[0])
        assert queue.sizes == [(1, False), (1, True)]
        accumulator.flush()

    asyncio.run(run())


def test_a_timer_of_a_window_that_was_full_does_not_close_the_next_one():
    async def run() -> None:
        queue: Any = Queue()
        accumulator = WindowAccumulator(queue, 0.2, 2, asyncio.get_running_loop())
        for item in items(2):
            accumulator.add(item)
        await asyncio.sleep(0.15)
        accumulator.add(items(1)[0])
        await asyncio.sleep(0.08)
        elapsed_timer_closed_it = not queue.groups[1].open
        accumulator.flush()
        assert not elapsed_timer_closed_it

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
