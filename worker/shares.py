"""The process's share of predict calls: as many run at once as `concurrency` says, in fair order."""

import threading
import time
from collections import deque


class Share:
    """The right to one predict call."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since = time.perf_counter()


class PredictShares:
    """A fair counting semaphore: whoever waits longest is next, so that no slot starves another.

    The standard one lets a thread that has just released a share take it again before the waiting
    ones wake. This one also takes back the share of a call that hangs, so that others go on.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._held: set[Share] = set()
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self) -> Share:
        """Take a share; waits for one."""
        turn = None
        with self._lock:
            if self._free > 0:
                self._free -= 1
            else:
                turn = threading.Lock()
                turn.acquire()
                self._waiting.append(turn)
        if turn is not None:
            turn.acquire()
        share = Share()
        self._held.add(share)
        return share

    def release(self, share: Share) -> None:
        """Give a share back, unless it was taken back already."""
        with self._lock:
            if share in self._held:
                self._pass_on(share)

    def take_back(self, older_than_s: float) -> None:
        """Pass on the shares that were taken longer ago than so many seconds."""
        limit = time.perf_counter() - older_than_s
        with self._lock:
            for share in [share for share in tuple(self._held) if share.since < limit]:
                self._pass_on(share)

    def _pass_on(self, share: Share) -> None:
        self._held.discard(share)
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self._free += 1
