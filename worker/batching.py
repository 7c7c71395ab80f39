"""How items that arrive for one model are grouped: one accumulator a model, chosen once.

Grouping happens on the event loop, at arrival. `none` and `adaptive` make groups of one (a
lane merges them later where the mode is adaptive), `list` keeps an INFER_BATCH together, and
`window` also collects single requests for a while.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from worker.config import BatchMode, WorkerConfig
from worker.model_queue import ModelQueue
from worker.requests import Group, Item

ADAPTIVE_BATCH = 8
"""Most items of an adaptive batch by default: beyond it latency grows and throughput hardly."""


class Accumulator(Protocol):
    """Puts arriving items into groups and hands the groups to the model's queue."""

    def add(self, item: Item) -> None:
        """Take a single request."""
        ...

    def add_batch(self, items: Sequence[Item]) -> None:
        """Take the items of an INFER_BATCH, in order."""
        ...

    def flush(self) -> None:
        """Close what is still collecting."""
        ...


class SingleAccumulator:
    """Every item is a group of its own: the modes `none` and `adaptive`."""

    def __init__(self, queue: ModelQueue) -> None:
        self._queue = queue

    def add(self, item: Item) -> None:
        self._queue.submit(Group([item]))

    def add_batch(self, items: Sequence[Item]) -> None:
        for item in items:
            self.add(item)

    def flush(self) -> None:
        """Do nothing: no group is ever open."""


class ListAccumulator(SingleAccumulator):
    """An INFER_BATCH is one group: the mode `list`."""

    def add_batch(self, items: Sequence[Item]) -> None:
        self._queue.submit(Group(list(items)))


class WindowAccumulator(ListAccumulator):
    """Single requests collect for a while or until a batch is full: the mode `window`."""

    def __init__(
        self, queue: ModelQueue, window_s: float, max_batch_size: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(queue)
        self._window_s = window_s
        self._max_batch_size = max_batch_size
        self._loop = loop
        self._collecting: Group | None = None
        self._arrived = 0
        """Items that the window has collected; those that failed since count too."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: Item) -> None:
        if self._collecting is None:
            self._open(item)
        else:
            self._queue.extend(self._collecting, item)
            self._arrived += 1
            if self._arrived >= self._max_batch_size:
                self.flush()

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        group, self._collecting, self._timer = self._collecting, None, None
        if group is not None:
            self._queue.close(group)

    def _open(self, item: Item) -> None:
        if self._max_batch_size == 1 or self._window_s <= 0:
            self._queue.submit(Group([item]))
            return
        self._collecting = Group([item], open=True)
        self._arrived = 1
        self._queue.submit(self._collecting)
        self._timer = self._loop.call_later(self._window_s, self.flush)


def make_accumulator(
    config: WorkerConfig, queue: ModelQueue, limit: int, loop: asyncio.AbstractEventLoop
) -> Accumulator:
    """Return the accumulator that the configured mode wants, for batches of up to `limit` items."""
    match config.batch_mode:
        case BatchMode.WINDOW:
            return WindowAccumulator(queue, config.window_ms / 1000, limit, loop)
        case BatchMode.LIST:
            return ListAccumulator(queue)
        case _:
            return SingleAccumulator(queue)


def batch_limit(mode: BatchMode, configured: int | None, model_limit: int) -> int:
    """Return how many items a model's batches may have.

    Args:
        mode: the worker's batch mode.
        configured: `max_batch_size` of the handshake; None where it names none.
        model_limit: the most that one native call takes.
    """
    if mode is BatchMode.ADAPTIVE:
        return min(configured or ADAPTIVE_BATCH, model_limit)
    return configured or 1
