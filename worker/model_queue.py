"""What waits for one model: unprepared, being prepared, and ready for a lane.

At most `ahead_limit` items are prepared ahead of predict, so that memory stays bounded and
deadlines act on what still waits; a group that has begun is always prepared whole, because it
is one predict call.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable

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
            ahead_limit: how many items may be prepared or being prepared.
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
        self._waiting: deque[Item] = deque()
        self._ready: deque[Group] = deque()
        self._ahead = 0
        self._preparing = 0
        self._settled = 0
        self._idle_lanes = 0
        self._retired = False

    def submit(self, group: Group) -> None:
        """Queue a group; an open one may grow through `extend` until `close`."""
        with self._changed:
            self._enqueue(group, group.items)
            begun = self._admit()
        self._begin(begun)

    def extend(self, group: Group, item: Item) -> None:
        """Add an item to an open group, which has fewer than `ahead_limit` items."""
        with self._changed:
            group.items.append(item)
            self._enqueue(group, (item,))
            begun = self._admit()
        self._begin(begun)

    def close(self, group: Group) -> None:
        """Let no more items join a group."""
        with self._changed:
            group.open = False
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
        """Take an item out that has not reached predict; False where it is too late."""
        with self._changed:
            if item.stage >= Stage.PREDICT:
                return False
            item.stage = Stage.WITHDRAWN
            return True

    def wait_ready(self) -> bool:
        """Wait, as a lane, until something is ready; False when the queue is retired and empty."""
        with self._changed:
            self._idle_lanes += 1
            try:
                while not self._ready:
                    if self._retired and not self._waiting and not self._ahead:
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

    def _enqueue(self, group: Group, items: Iterable[Item]) -> None:
        for item in items:
            item.group = group
            group.unprepared += 1
            self._waiting.append(item)

    def _admit(self) -> list[Item]:
        """Move items whose turn has come; returns those that need preparing."""
        begun = []
        while self._waiting and (self._ahead < self._ahead_limit or self._waiting[0].group.begun):
            item = self._waiting.popleft()
            item.group.begun = True
            self._ahead += 1
            if item.stage is Stage.WITHDRAWN or item.prepared is not None:
                self._settle(item)
            else:
                item.stage = Stage.PREPARING
                self._preparing += 1
                begun.append(item)
        return begun

    def _begin(self, items: Iterable[Item]) -> None:
        for item in items:
            self._begin_prepare(item)
        if self.starved:
            self._want_lane()

    def _settle(self, item: Item) -> None:
        group = item.group
        group.unprepared -= 1
        if item.prepared is None or item.stage is Stage.WITHDRAWN:
            group.items.remove(item)
            self._ahead -= 1
        else:
            item.stage = Stage.PREPARED
        self._offer(group)

    def _offer(self, group: Group) -> None:
        complete = not group.open and not group.unprepared and bool(group.items)
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
        taken = [item for item in items if item.stage is not Stage.WITHDRAWN]
        for item in taken:
            item.stage = Stage.PREDICT
        return taken

    def _merge(self, items: list[Item]) -> None:
        """Fill a batch with what is ready, waiting for what has already begun to be prepared."""
        expected = self._settled + self._preparing
        while len(items) < self._merge_limit:
            if self._ready:
                items += self._take_group()
            elif self._settled < expected:
                self._changed.wait()
            else:
                return
