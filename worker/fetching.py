"""How the files of one load come from where they live: for the log, for `status`, and to stop in time."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model_files.progress import size_text

log = logging.getLogger(__name__)

_TOLD_EVERY_S = 5.0
_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class _State:
    """One file on its way."""

    uri: str
    done: int
    total: int | None
    began: float
    """Seconds of the performance counter, and with `first` bytes."""
    first: int
    told: float


class Fetching:
    """Follows what is fetched for a load. Told on the load's thread; read on the loop, and on others."""

    def __init__(self, slot: int, is_wanted: Callable[[], bool]) -> None:
        """Follow nothing yet.

        Args:
            slot: its index, for the log.
            is_wanted: whether anybody waits for the load; asked from any thread.
        """
        self._slot = slot
        self._is_wanted = is_wanted
        self._state: _State | None = None
        self.is_under_way = False
        """Whether the load waits for the network at this moment."""

    @property
    def cancelled(self) -> bool:
        return not self._is_wanted()

    def report(self, uri: str, done: int, total: int | None) -> None:
        """Take note of progress, and tell the log at sensible moments."""
        now, state = time.perf_counter(), self._state
        if state is None or state.uri != uri:
            self._ended(state, now)
            log.info("slot %d: fetching %s%s", self._slot, uri, f" ({size_text(total)})" if total else "")
            self._state = _State(uri, done, total, now, done, now)
            return
        told = state.told
        if now - told >= _TOLD_EVERY_S:
            told = now
            share = f" of {size_text(total)}" if total else ""
            log.info("slot %d: %s: %s%s", self._slot, uri, size_text(done), share)
        self._state = _State(uri, done, total, state.began, state.first, told)

    def begin(self) -> None:
        """Take note that the load is about to ask the network."""
        self.is_under_way = True

    def end(self) -> None:
        """Take note that all files are here, or that it has failed."""
        self._ended(self._state, time.perf_counter())
        self._state = None
        self.is_under_way = False

    def fields(self) -> dict[str, Any] | None:
        """Return the wire object of the file that comes at this moment, None where none does."""
        state = self._state
        return {"file": state.uri, "bytes": state.done, "total": state.total} if state else None

    def _ended(self, state: _State | None, now: float) -> None:
        if state is None or (state.total is not None and state.done < state.total):
            return
        seconds = max(now - state.began, 1e-6)
        rate = (state.done - state.first) / seconds / _MEGA
        log.info(
            "slot %d: fetched %s: %s in %.1f s (%.1f MB/s)",
            self._slot,
            state.uri,
            size_text(state.done),
            seconds,
            rate,
        )
