"""What waits for one model: unprepared, being prepared, and ready for a lane.

At most `ahead_limit` items are prepared ahead of predict, so that memory stays bounded, and priority,
fairness and deadlines act on what still waits; a group that has begun is always prepared whole,
because it is one predict call.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable

from worker.fair_queue import FairQueue
from worker.requests import Group, Item, Stage


class ModelQueue:
    """Thread-safe: the loop submits, prepare threads settle, lanes take."""

    def __init__(
        self,
        ahead_limit: int,
        merge_limit: int,
        begin_prepare: Callable[[Item], None],
        want_lane: Callable[[], None],
    ) -> None:
        """Create an empty queue.

        Args:
            ahead_limit: how many items may be prepared or being prepared, beside groups that are open.
            merge_limit: up to how many items of several groups a lane takes at once; 0 = one group.
            begin_prepare: called, outside the lock, for each item whose turn has come; it must
                end in `settle`.
            want_lane: called, outside the lock, when more is ready than lanes wait for it.
        """
        self._ahead_limit = ahead_limit
        self._merge_limit = merge_limit
        self._begin_prepare = begin_prepare
        self._want_lane = want_lane
        self._changed = threading.Condition(threading.Lock())
        self._waiting = FairQueue()
        self._ready: deque[Group] = deque()
        self._open: set[Group] = set()
        self._ahead = 0
        self._preparing = 0
        self._settled = 0
        self._idle_lanes = 0
        self._retired = False

    def submit(self, group: Group) -> None:
        """Queue a group; an open one may grow through `extend` until `close`."""
        with self._changed:
            group.unprepared = len(group.items)
            for item in group.items:
                item.group = group
            self._waiting.add(group)
            if group.open:
                self._open.add(group)
            begun = self._admit()
        self._begin(begun)

    def extend(self, group: Group, item: Item) -> None:
        """Add an item to an open group."""
        begun: list[Item] = []
        with self._changed:
            item.group = group
            group.items.append(item)
            group.unprepared += 1
            if group.begun:
                self._start(item, begun)
            elif len(group.items) > 1:
                self._waiting.joined()
            else:  # all before it were withdrawn, and their group with them
                self._waiting.add(group)
                begun = self._admit()
        self._begin(begun)

    def close(self, group: Group) -> None:
        """Let no more items join a group."""
        with self._changed:
            group.open = False
            self._open.discard(group)
            self._offer(group)
        self._begin(())

    def settle(self, item: Item) -> None:
        """Say that an item's prepare has ended: `item.prepared` is set, or it failed and is answered."""
        with self._changed:
            self._preparing -= 1
            self._settled += 1
            self._settle(item)
            begun = self._admit()
        self._begin(begun)

    def withdraw(self, item: Item) -> bool:
        """Take an item out that has not reached predict; False where it is too late.

        What it held is let go of at once, unless a thread is just preparing it.
        """
        with self._changed:
            stage = item.stage
            if stage >= Stage.PREDICT:
                return False
            item.stage = Stage.WITHDRAWN
            begun = self._drop(item, stage)
        self._begin(begun)
        return True

    def wait_ready(self) -> bool:
        """Wait, as a lane, until something is ready; False when the queue is retired and empty."""
        with self._changed:
            self._idle_lanes += 1
            try:
                while not self._ready:
                    if self._retired and not self._waiting.items and not self._ahead:
                        return False
                    self._changed.wait()
            finally:
                self._idle_lanes -= 1
            return True

    def take(self) -> list[Item]:
        """Take what one predict call gets; empty where another lane was quicker, or all was withdrawn."""
        with self._changed:
            items = self._take_group()
            if self._merge_limit:
                self._merge(items)
            begun = self._admit()
            if self._retired:
                self._changed.notify_all()
        self._begin(begun)
        return items

    def retire(self) -> None:
        """Submit no more: lanes end when everything is done."""
        with self._changed:
            self._retired = True
            self._changed.notify_all()

    @property
    def starved(self) -> bool:
        """Whether more is ready than lanes are free to take it."""
        return len(self._ready) > self._idle_lanes

    @property
    def has_ready(self) -> bool:
        """Whether a lane would find something at this moment."""
        return bool(self._ready)

    @property
    def depth(self) -> tuple[int, int, int]:
        """How many items wait unprepared, are being prepared, and are prepared, at this moment."""
        with self._changed:
            return self._waiting.items, self._preparing, self._ahead - self._preparing

    @property
    def waiting(self) -> int:
        """How many items wait unprepared."""
        return self._waiting.items

    def _admit(self) -> list[Item]:
        """Begin groups whose turn has come; returns the items that need preparing."""
        begun: list[Item] = []
        # What still collects waits for the host: it takes nobody else's place.
        collecting = sum(len(group.items) for group in self._open if group.begun) if self._open else 0
        while (places := self._ahead_limit - self._ahead + collecting) > 0 and self._waiting.items:
            # Where sources share the model, none of them takes the last place twice in a row: who sends
            # little would find what one that floods has prepared in front of it.
            group = self._waiting.pop(other=places == 1 and self._waiting.is_shared)
            if group is None:
                break
            group.begun = True
            for item in tuple(group.items):
                self._start(item, begun)
        return begun

    def _start(self, item: Item, begun: list[Item]) -> None:
        """Count an item as ahead; it is prepared already, or comes to those that are to be."""
        self._ahead += 1
        if item.prepared is not None:
            self._settle(item)
        else:
            item.stage = Stage.PREPARING
            self._preparing += 1
            begun.append(item)

    def _begin(self, items: Iterable[Item]) -> None:
        for item in items:
            self._begin_prepare(item)
        if self.starved:
            self._want_lane()

    def _settle(self, item: Item) -> None:
        group = item.group
        assert group is not None
        group.unprepared -= 1
        if item.prepared is None or item.stage is Stage.WITHDRAWN:
            group.items.remove(item)
            self._ahead -= 1
        else:
            item.stage = Stage.PREPARED
        self._offer(group)

    def _drop(self, item: Item, stage: Stage) -> list[Item]:
        """Let go of a withdrawn item; one that is being prepared goes when that ends."""
        group = item.group
        assert group is not None
        if stage is Stage.PREPARING:
            return []
        group.items.remove(item)
        if stage is Stage.WAITING:
            group.unprepared -= 1
            self._waiting.left(group)
            return []
        self._ahead -= 1
        if group in self._ready:
            if not group.items:
                self._ready.remove(group)
        else:
            self._offer(group)
        if self._retired:
            self._changed.notify_all()
        return self._admit()

    def _offer(self, group: Group) -> None:
        complete = group.begun and not group.open and not group.unprepared and bool(group.items)
        if complete:
            self._ready.append(group)
        if self._merge_limit or self._retired:
            self._changed.notify_all()  # lanes may wait for this very item, or for the end
        elif complete:
            self._changed.notify()

    def _take_group(self) -> list[Item]:
        if not self._ready:
            return []
        group = self._ready.popleft()
        items, group.items = group.items, []  # no cycle is left that would keep pictures until a collection
        self._ahead -= len(items)
        for item in items:
            item.stage = Stage.PREDICT
        return items

    def _merge(self, items: list[Item]) -> None:
        """Fill a batch with what is ready, waiting for what has already begun to be prepared."""
        expected = self._settled + self._preparing
        while len(items) < self._merge_limit:
            if self._ready:
                if len(items) + len(self._ready[0].items) > self._merge_limit:
                    return
                items += self._take_group()
            elif self._settled < expected:
                self._changed.wait()
            else:
                return
