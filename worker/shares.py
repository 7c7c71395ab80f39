"""The process's share of predict calls: as many run at once as `concurrency` says, fairly among models."""

import threading
import time
from collections import deque


class WorkAccount:
    """What one model has had of the shares. Belongs to `PredictShares`, whose lock guards it."""

    __slots__ = ("tag", "waiting")

    def __init__(self) -> None:
        self.tag = 0.0
        """Virtual time: seconds of predict, moved to the present when a model that was idle asks again."""
        self.waiting: deque[threading.Lock] = deque()
        """Lanes that wait, the one that waits longest first."""


class Share:
    """The right to one predict call."""

    __slots__ = ("account", "since")

    def __init__(self, account: WorkAccount) -> None:
        self.account = account
        self.since = time.perf_counter()


class PredictShares:
    """A counting semaphore that is fair by work: who has had the fewest milliseconds is next.

    By count, a model of 100 ms would get fifty times the device that a model of 2 ms gets. Whoever was
    idle begins at the present and can save up nothing (start-time fair queueing). The standard semaphore
    also lets a thread that has just released it take it again before the waiting ones wake. This one
    takes back the share of a call that hangs, so that others go on.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._held: set[Share] = set()
        self._accounts: list[WorkAccount] = []
        """Those with lanes that wait."""
        self._now = 0.0
        """The tag of who was served last."""

    @property
    def waiting(self) -> int:
        """How many lanes wait for a share."""
        return sum(len(account.waiting) for account in tuple(self._accounts))

    def acquire(self, account: WorkAccount) -> Share:
        """Take a share; waits for one."""
        with self._lock:
            turn = self._take_or_queue(account)
        return self._share_after(turn, account)

    def renew(self, share: Share) -> Share:
        """Give a share back and take one for what comes next: the same one, where it is this model's turn."""
        with self._lock:
            if share not in self._held:  # taken back
                turn = self._take_or_queue(share.account)
            elif self._is_next(share):
                self._held.discard(share)
                self._serve(share.account)
                turn = None
            else:
                turn = self._queue(share.account)
                self._pass_on(share, charged=True)
        return self._share_after(turn, share.account)

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

    def _take_or_queue(self, account: WorkAccount) -> "threading.Lock | None":
        if not self._free:
            return self._queue(account)
        self._free -= 1
        self._serve(account)
        return None

    def _share_after(self, turn: "threading.Lock | None", account: WorkAccount) -> Share:
        if turn is not None:
            turn.acquire()
        share = Share(account)
        self._held.add(share)
        return share

    def _queue(self, account: WorkAccount) -> threading.Lock:
        turn = threading.Lock()
        turn.acquire()
        if not account.waiting:
            account.tag = max(account.tag, self._now)
            self._accounts.append(account)
        account.waiting.append(turn)
        return turn

    def _serve(self, account: WorkAccount) -> None:
        account.tag = self._now = max(account.tag, self._now)

    def _is_next(self, share: Share) -> bool:
        """Charge a share, and return whether no other model has had less."""
        share.account.tag += time.perf_counter() - share.since
        return all(share.account.tag <= account.tag for account in self._accounts)

    def _pass_on(self, share: Share, charged: bool = False) -> None:
        self._held.discard(share)
        if not charged:
            share.account.tag += time.perf_counter() - share.since
        if not self._accounts:
            self._free += 1
            return
        account = min(self._accounts, key=_tag)
        self._now = max(self._now, account.tag)
        account.waiting.popleft().release()
        # To the end, so that those of one tag take turns.
        self._accounts.remove(account)
        if account.waiting:
            self._accounts.append(account)


def _tag(account: WorkAccount) -> float:
    return account.tag
