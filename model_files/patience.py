"""How long and how often a place that cannot be reached is tried again."""

import random
import time
from collections.abc import Callable

from model_files.errors import SourceUnavailableError, TransferCancelledError

_FIRST_S, _LONGEST_S = 0.2, 10.0
_LOOK_S = 0.1


class Patience:
    """Waits between attempts: longer each time, by chance a little less, until nothing has come for long."""

    def __init__(self, retry_for_s: float, cancelled: Callable[[], bool]) -> None:
        """Begin to count.

        Args:
            retry_for_s: seconds without progress after which it is over.
            cancelled: whether nobody waits any longer.
        """
        self._retry_for_s = retry_for_s
        self._cancelled = cancelled
        self._best = 0
        self._since = time.monotonic()
        self._delay_s = _FIRST_S

    def progressed(self, done: int) -> None:
        """Take note of bytes that have come: more than ever before is progress."""
        if done > self._best:
            self._best = done
            self._since = time.monotonic()
            self._delay_s = _FIRST_S

    def wait(self, error: SourceUnavailableError) -> float:
        """Wait before the next attempt; returns for how many seconds it was.

        Raises:
            SourceUnavailableError: the given one, where it has lasted too long.
            TransferCancelledError: nobody waits any longer.
        """
        # Many processes that lost the same server must not come back to it in step.
        delay_s = self._delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads, hides nothing
        delay_s = max(delay_s, error.retry_after_s or 0.0)
        now = time.monotonic()
        if now + delay_s - self._since > self._retry_for_s:
            raise error
        self._delay_s = min(2 * self._delay_s, _LONGEST_S)
        while (left := now + delay_s - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, _LOOK_S))
        self.check()
        return delay_s

    def check(self) -> None:
        """Raise `TransferCancelledError` where nobody waits any longer."""
        if self._cancelled():
            raise TransferCancelledError
