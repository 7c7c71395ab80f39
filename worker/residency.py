"""Which models stay in memory: a budget for all of them, and the end of those that nobody asks for.

Belongs to the event loop. A model that is unloaded here comes back with the next request for its slot.
"""

import asyncio
import time
from collections.abc import Sequence

from protocol.errors import ErrorCode
from worker.errors import Failure
from worker.loading import LoadedModel
from worker.model_memory import mebibytes
from worker.slot import ServingModel, Slot

_BUSY_LOOK_S = 1.0
"""How long a model that is busy when its time is over is left alone at least."""

_COMES_BACK = "the next request loads it again"


class Residency:
    """Unloads what is idle, and what must make room."""

    def __init__(self, slots: Sequence[Slot], budget: int | None, loop: asyncio.AbstractEventLoop) -> None:
        """Watch over slots.

        Args:
            slots: the worker's, as they are made.
            budget: bytes of all models together; None is no bound.
            loop: the worker's.
        """
        self._slots = slots
        self._budget = budget
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, model: ServingModel) -> None:
        """Look after a model that has been installed; one timer does for all."""
        idle_s = _idle_s(model)
        if idle_s is not None:
            self._look_within(idle_s)

    def make_room(self, index: int, loaded: LoadedModel) -> Failure | None:
        """Unload others until a new model fits into the budget.

        Args:
            index: the slot that it is for; what serves there goes in any case.
            loaded: the new model.

        Returns:
            Why it does not fit, whatever may be unloaded; then nothing has been.
        """
        if self._budget is None:
            return None
        others = [slot for slot in self._slots if slot.serving is not None and slot.index != index]
        over = sum(map(_bytes, others)) + loaded.memory_bytes - self._budget
        victims = []
        for slot in sorted(filter(_may_go, others), key=_last_used):
            if over <= 0:
                break
            if _bytes(slot):
                victims.append(slot)
                over -= _bytes(slot)
        if over > 0:
            return self._too_large(loaded, others)
        for slot in victims:
            slot.put_to_sleep(f"unloaded to make room for slot {index} (modelMemoryBytes); {_COMES_BACK}")
        return None

    def _too_large(self, loaded: LoadedModel, others: Sequence[Slot]) -> Failure:
        assert self._budget is not None
        staying = [slot for slot in others if not _may_go(slot)]
        kept = f"; {mebibytes(sum(map(_bytes, staying)))} are pinned or busy" if staying else ""
        text = (
            f"the model takes {mebibytes(loaded.memory_bytes)} of the {mebibytes(self._budget)} that"
            f" limits.modelMemoryBytes allows all models{kept}: raise it, unload or unpin another slot, or"
            " take a smaller model"
        )
        return Failure(ErrorCode.TOO_LARGE, text)

    def _look_within(self, seconds: float) -> None:
        when = self._loop.time() + seconds
        if self._timer is None or when < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        """Unload what is due, and look again when the next may be."""
        self._timer = None
        now = time.perf_counter()
        for slot in self._slots:
            model = slot.serving
            idle_s = _idle_s(model) if model is not None else None
            if model is None or idle_s is None:
                continue
            left = model.last_used + idle_s - now
            if left > 0:
                self._look_within(left)
            elif not _may_go(slot):
                self._look_within(max(idle_s, _BUSY_LOOK_S))
            else:
                slot.put_to_sleep(f"unloaded after {idle_s:g} s without a request; {_COMES_BACK}")


def _idle_s(model: ServingModel) -> float | None:
    """Return after how many seconds without a request a model goes; None where it stays."""
    config = model.loaded.config
    return None if config.pinned or config.idle_unload_ms is None else config.idle_unload_ms / 1000


def _may_go(slot: Slot) -> bool:
    """Whether a slot's model may be unloaded at this moment: not while a load is to replace it either."""
    model = slot.serving
    return model is not None and not (model.loaded.config.pinned or model.is_busy or slot.loads)


def _bytes(slot: Slot) -> int:
    return slot.serving.loaded.memory_bytes if slot.serving is not None else 0


def _last_used(slot: Slot) -> float:
    return slot.serving.last_used if slot.serving is not None else 0.0
