"""What waits for a model whose lanes have all the cores: each lane prepares what it predicts.

Preparing ahead on other threads gains nothing there: they would take the cores from the lanes, and
each picture would change threads once more, and caches with it. Nothing is prepared ahead, so
priority, fairness and deadlines act on everything that waits.
"""

import threading
from collections.abc import Callable

from worker.fair_queue import FairQueue
from worker.requests import Group, Item, Stage


class DirectQueue:
    """Thread-safe: the loop submits groups of one item, lanes take and prepare. See `ModelQueue`."""

    def __init__(self, prepare: Callable[[Item], None], want_lane: Callable[[], None]) -> None:
        """Create an empty queue.

        Args:
            prepare: prepares an item on the lane's thread, or answers it; ends in `settle`.
            want_lane: called, outside the lock, when more waits than lanes wait for it.
        """
        self._prepare = prepare
        self._want_lane = want_lane
        self._lock = threading.Lock()
        self._sleeping: list[threading.Lock] = []
        """Lanes that wait, by the locks that wake them; the last to fall asleep has the warmest caches."""
        self._waiting = FairQueue()
        self._preparing = 0
        self._idle_lanes = 0
        self._retired = False

    def submit(self, group: Group) -> None:
        """Queue one item."""
        with self._lock:
            group.items[0].group = group
            self._waiting.add(group)
            lane = self._sleeping.pop() if self._sleeping else None
        if lane is not None:
            lane.release()  # outside the lock, which is the first thing that it takes
        elif self.starved:
            self._want_lane()

    def extend(self, group: Group, item: Item) -> None:
        """Never called: the batch modes that leave groups open have another queue."""
        raise NotImplementedError("a direct queue takes groups of one item")

    def close(self, group: Group) -> None:
        """Never called; see `extend`."""
        raise NotImplementedError("a direct queue takes groups of one item")

    def settle(self, item: Item) -> None:
        """Say that an item's prepare has ended."""
        with self._lock:
            self._preparing -= 1

    def withdraw(self, item: Item) -> bool:
        """Take an item out that has not reached predict; False where it is too late."""
        with self._lock:
            stage = item.stage
            if stage >= Stage.PREDICT:
                return False
            item.stage = Stage.WITHDRAWN
            group = item.group
            if stage is Stage.WAITING and group is not None:
                group.items.remove(item)
                self._waiting.left(group)
            return True

    def wait_ready(self) -> bool:
        """Wait, as a lane, until something waits; False when the queue is retired and empty."""
        awake = threading.Lock()
        with self._lock:
            self._idle_lanes += 1
        while True:
            with self._lock:
                if self._waiting.items or self._retired:
                    self._idle_lanes -= 1
                    return bool(self._waiting.items)
                awake.acquire()
                self._sleeping.append(awake)
            awake.acquire()
            awake.release()

    def take(self) -> list[Item]:
        """Take and prepare one item; empty where another lane was quicker, or it was withdrawn or failed."""
        with self._lock:
            group = self._waiting.pop()
            if group is None:
                return []
            (item,), group.items = group.items, []  # no cycle keeps its picture until a collection
            if item.prepared is not None:
                item.stage = Stage.PREDICT
                return [item]
            item.stage = Stage.PREPARING
            self._preparing += 1
        self._prepare(item)
        with self._lock:
            if item.prepared is None or item.stage is Stage.WITHDRAWN:
                return []
            item.stage = Stage.PREDICT
        return [item]

    def retire(self) -> None:
        """Submit no more: lanes end when everything is done."""
        with self._lock:
            self._retired = True
            sleeping, self._sleeping = self._sleeping, []
        for lane in sleeping:
            lane.release()

    @property
    def starved(self) -> bool:
        """Whether more waits than lanes are free to take it."""
        return self._waiting.items > self._idle_lanes

    @property
    def has_ready(self) -> bool:
        """Whether a lane would find something at this moment."""
        return self._waiting.items > 0

    @property
    def depth(self) -> tuple[int, int, int]:
        """How many items wait unprepared, are being prepared, and are prepared, at this moment."""
        with self._lock:
            return self._waiting.items, self._preparing, 0

    @property
    def waiting(self) -> int:
        """How many items wait unprepared."""
        return self._waiting.items
