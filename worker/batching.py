"""How items that arrive for one model are grouped: one accumulator a model, chosen once.

Grouping happens on the event loop, at arrival. `none` and `adaptive` make groups of one (a
lane merges them later where the mode is adaptive), `list` keeps an INFER_BATCH together, and
`window` also collects single requests for a while. In every mode requests that announce how many
are coming (`batchHint`) collect until they are there.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.config import BatchMode, WorkerConfig
from worker.requests import Group, Item, ItemQueue, Priority

ADAPTIVE_BATCH = 8
"""Most items of an adaptive batch by default: beyond it latency grows and throughput hardly."""

_SPARE = 0.2
"""The part of the earliest deadline's time that a hinted batch leaves for reaching predict."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the grouping reads of a request's options."""

    priority: int = Priority.NORMAL
    source: str | None = None
    hint: int | None = None
    """How many requests are coming, this one among them."""
    hint_s: float = 0.0
    """How long to wait for them at most."""
    deadline_s: float | None = None


PLAIN = Arrival()
"""Of a request without options."""


class Accumulator(Protocol):
    """Puts arriving items into groups and hands the groups to the model's queue."""

    def add(self, item: Item, arrival: Arrival) -> None:
        """Take a single request."""
        ...

    def add_batch(self, items: Sequence[Item], arrival: Arrival) -> None:
        """Take the items of an INFER_BATCH, in order."""
        ...

    def flush(self) -> None:
        """Close what is still collecting."""
        ...


class SingleAccumulator:
    """Every item is a group of its own: the modes `none` and `adaptive`."""

    def __init__(self, queue: ItemQueue) -> None:
        self._queue = queue

    def add(self, item: Item, arrival: Arrival) -> None:
        self._queue.submit(Group([item], arrival.priority, arrival.source))

    def add_batch(self, items: Sequence[Item], arrival: Arrival) -> None:
        for item in items:
            self.add(item, arrival)

    def flush(self) -> None:
        """Do nothing: no group is ever open."""


class ListAccumulator(SingleAccumulator):
    """An INFER_BATCH is one group: the mode `list`."""

    def add_batch(self, items: Sequence[Item], arrival: Arrival) -> None:
        self._queue.submit(Group(list(items), arrival.priority, arrival.source))


class _Collecting:
    """A group that grows until it is full or its time is over."""

    def __init__(self, queue: ItemQueue, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self._queue = queue
        self._size = size
        self._loop = loop
        self._arrived = 0
        """Items that have come; those that failed or were cancelled since count too."""
        self._group: Group | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.is_over = False

    def add(self, item: Item, arrival: Arrival, within_s: float) -> None:
        """Take an item, which wants to wait so many seconds from now at most."""
        if self._group is None:
            self._group = Group([item], arrival.priority, arrival.source, open=True)
            self._queue.submit(self._group)
        else:
            self._queue.extend(self._group, item)
        self._arrived += 1
        if self._arrived >= self._size:
            self.close()
        else:
            self._end_within(within_s)

    def close(self) -> None:
        """Let what has come go."""
        if self._timer is not None:
            self._timer.cancel()
        if self._group is not None and not self.is_over:
            self._queue.close(self._group)
        self.is_over = True

    def _end_within(self, seconds: float) -> None:
        end = self._loop.time() + seconds
        if self._timer is None or end < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(end, self.close)


class WindowAccumulator(ListAccumulator):
    """Single requests collect for a while or until a batch is full: the mode `window`."""

    def __init__(
        self, queue: ItemQueue, window_s: float, max_batch_size: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(queue)
        self._window_s = window_s
        self._max_batch_size = max_batch_size
        self._loop = loop
        self._windows: dict[int, _Collecting] = {}
        """By priority: what is urgent does not queue with what is not."""

    def add(self, item: Item, arrival: Arrival) -> None:
        if self._max_batch_size == 1 or self._window_s <= 0:
            super().add(item, arrival)
            return
        window = self._windows.get(arrival.priority)
        if window is None or window.is_over:
            window = _Collecting(self._queue, self._max_batch_size, self._loop)
            self._windows[arrival.priority] = window
        window.add(item, arrival, self._window_s)

    def flush(self) -> None:
        for window in self._windows.values():
            window.close()


class HintedAccumulator:
    """Lets requests that announce a batch collect, and hands all others on."""

    def __init__(
        self, others: Accumulator, queue: ItemQueue, max_batch_size: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Create an accumulator without a batch.

        Args:
            others: takes the requests without a hint.
            queue: takes the batches.
            max_batch_size: caps the hints.
            loop: the worker's.
        """
        self._others = others
        self._queue = queue
        self._max_batch_size = max_batch_size
        self._loop = loop
        self._batches: dict[int, _Collecting] = {}
        """By priority."""

    def add(self, item: Item, arrival: Arrival) -> None:
        size = min(arrival.hint or 1, self._max_batch_size)
        if size == 1:
            self._others.add(item, arrival)
            return
        batch = self._batches.get(arrival.priority)
        if batch is None or batch.is_over:
            batch = self._batches[arrival.priority] = _Collecting(self._queue, size, self._loop)
        batch.add(item, arrival, _patience(arrival))

    def add_batch(self, items: Sequence[Item], arrival: Arrival) -> None:
        self._others.add_batch(items, arrival)

    def flush(self) -> None:
        for batch in self._batches.values():
            batch.close()
        self._others.flush()


def _patience(arrival: Arrival) -> float:
    """Return how many seconds a hinted request can wait for the others."""
    if arrival.deadline_s is None:
        return arrival.hint_s
    return min(arrival.hint_s, arrival.deadline_s * (1 - _SPARE))


def make_accumulator(
    config: WorkerConfig, queue: ItemQueue, limit: int, loop: asyncio.AbstractEventLoop
) -> Accumulator:
    """Return the accumulator that the configured mode wants, for batches of up to `limit` items."""
    by_mode: Accumulator
    match config.batch_mode:
        case BatchMode.WINDOW:
            by_mode = WindowAccumulator(queue, config.window_ms / 1000, limit, loop)
        case BatchMode.LIST:
            by_mode = ListAccumulator(queue)
        case _:
            by_mode = SingleAccumulator(queue)
    return HintedAccumulator(by_mode, queue, limit, loop)


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
