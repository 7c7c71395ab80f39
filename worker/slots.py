"""The slots: which model serves which index, and in what order loads take effect.

Belongs to the event loop. Loads of one slot run one after another in the order of arrival, on
threads of their own; a request binds at once to the model that serves, else to the newest load
before it, and waits for that.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from worker.config import parse_model
from worker.errors import SHUTTING_DOWN, Failure, load_failure_of
from worker.fetching import Fetching
from worker.loading import LoadedModel, ModelLoader
from worker.residency import Residency
from worker.slot import Load, Origin, ServingModel, Slot
from worker.slot_report import slot_fields

log = logging.getLogger(__name__)

STUCK_AFTER_S = 5.0
"""A predict call that runs longer has its share given to others, and its slot reports "stuck"."""


class SlotTable:
    """All slots of the worker."""

    def __init__(
        self,
        loader: ModelLoader,
        serve: Callable[[LoadedModel], ServingModel],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Create a table without slots.

        Args:
            loader: loads models, on other threads.
            serve: makes a loaded model ready for requests, on the loop.
            loop: the worker's.
        """
        self._loader = loader
        self._serve = serve
        self._loop = loop
        self._slots: list[Slot] = []
        self._ends = False
        self._residency = Residency(self._slots, loader.memory_budget, loop)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def loaded_count(self) -> int:
        """How many slots serve."""
        return sum(slot.serving is not None for slot in self._slots)

    @property
    def warnings(self) -> list[str]:
        """What the configurations of the models said that nobody reads, or was overruled."""
        return [warning for slot in self._slots for warning in slot.warnings]

    def when_loaded(self, callback: Callable[[], None]) -> None:
        """Call back when every load before this moment is done: at once, if there is none."""
        loads = [load for slot in self._slots for load in slot.loads]
        if not loads:
            callback()
        countdown = _Countdown(len(loads), callback)
        for load in loads:
            load.when_done.append(countdown.count)

    def binds(self, index: int) -> bool:
        """Whether a request for an index has a model, or a load to wait for."""
        slot = self._slot(index)
        return slot is not None and (slot.has_model or slot.newest_load is not None)

    def serving(self, index: int) -> ServingModel | None:
        """Return the model that serves an index."""
        return self._slots[index].serving if index < len(self._slots) else None

    def awaited_load(self, index: int) -> Load | None:
        """Return the load that a request for an index without a model waits for.

        A model that has been unloaded by itself begins to load again.
        """
        slot = self._slot(index)
        if slot is None:
            return None
        if slot.newest_load is None and slot.asleep is not None:
            return self._reload(slot, len(slot.loads))
        return slot.newest_load

    def load(self, index: int, config: Any, path: str, when_loaded: Callable[[Load], None]) -> None:
        """Begin to load a model into a slot, beside the one that serves.

        Args:
            index: 0 to 255; slots up to it are made.
            config: the model's configuration as it came.
            path: how messages name the configuration.
            when_loaded: called when the load is done, before the requests that wait for it go on.
        """
        while len(self._slots) <= index:
            self._slots.append(Slot(len(self._slots)))
        slot = self._slots[index]
        load = Load(index, Origin(config, path), slot.epoch, replaces=slot.has_model)
        load.when_done.append(partial(when_loaded, load))
        slot.loads.append(load)
        self._start_next(slot)

    def unload(self, index: int) -> None:
        """Empty a slot for what comes after; what came before is still served."""
        slot = self._slot(index)
        if slot is not None:
            slot.clear()

    def flush(self) -> None:
        """Close what still collects: nothing more will come."""
        for slot in self._slots:
            if slot.serving is not None:
                slot.serving.accumulator.flush()

    def waits_for_network(self, index: int) -> bool:
        """Whether a load of an index is fetching files at this moment."""
        slot = self._slot(index)
        return slot is not None and any(map(_is_fetching, slot.loads))

    def abandon_downloads(self) -> None:
        """Give up every load that waits for the network: the worker ends, and must not wait for it."""
        self._ends = True
        for load in [load for slot in self._slots for load in slot.loads if _is_fetching(load)]:
            load.failure = SHUTTING_DOWN
            self._finish(load, None)

    def fields(self, index: int) -> dict[str, Any]:
        """Return the wire object of a slot, for the ready answer, `load` and `status`."""
        slot = self._slots[index]
        loaded = slot.serving.loaded if slot.serving else None
        stuck = loaded.pipeline.lanes.stuck_for(time.perf_counter()) if loaded else 0.0
        state, reason = self._state(slot, stuck)
        fields = slot_fields(index, loaded, slot.path, slot.runtime, slot.error)
        download = next(filter(None, (load.fetching.fields() for load in slot.loads if load.fetching)), None)
        return (
            fields
            | {"state": state}
            | ({"reason": reason} if reason else {})
            | ({"download": download} if download else {})
        )

    def _state(self, slot: Slot, stuck_s: float) -> tuple[str, str | None]:
        if stuck_s > STUCK_AFTER_S:
            return "stuck", f"a predict call has been running for {stuck_s:.0f} s"
        if slot.serving is not None:
            return "ready", None
        return ("loading", None) if slot.loads else ("empty", slot.asleep)

    def _slot(self, index: int) -> Slot | None:
        return self._slots[index] if index < len(self._slots) else None

    def _reload(self, slot: Slot, place: int) -> Load:
        """Begin to bring back a slot's model, before the loads that come after a place among them."""
        assert slot.origin is not None
        load = Load(slot.index, slot.origin, slot.epoch, is_reload=True)
        slot.loads.insert(place, load)
        self._start_next(slot)
        return load

    def _start_next(self, slot: Slot) -> None:
        """Start what comes next, one load of an epoch at a time: one that hangs can be unloaded."""
        epochs: set[int] = set()
        for load in slot.loads:
            if load.epoch not in epochs and not load.started:
                load.started = True
                load.proves = load.epoch == slot.epoch and slot.has_model and not load.is_reload
                self._start(load)
            epochs.add(load.epoch)

    def _start(self, load: Load) -> None:
        slot = self._slots[load.index]
        load.fetching = Fetching(load.index, lambda: self._is_wanted(slot, load))
        # A thread of its own: a load that hangs keeps no other slot from loading.
        threading.Thread(target=self._run, args=(load,), name=f"load-{load.index}", daemon=True).start()

    def _run(self, load: Load) -> None:
        """Load, on the load's own thread."""
        began = time.perf_counter()
        loaded: LoadedModel | None = None
        failure: Failure | None = None
        origin = load.origin
        try:
            config, unknown = parse_model(origin.config, origin.path)
            load.warnings = list(unknown.values())
            load.runtime = self._loader.runtime_of(config)
            loaded = self._loader.load(config, load.runtime, load.proves, load.fetching)
            load.warnings = _warnings(origin.path, loaded, unknown)
        except Exception as error:  # noqa: BLE001 - a surprise must not leave the slot loading for ever
            failure = load_failure_of(error)
        load_ms = (time.perf_counter() - began) * 1000
        self._loop.call_soon_threadsafe(self._end, load, loaded, failure, load_ms)

    def _end(self, load: Load, loaded: LoadedModel | None, failure: Failure | None, load_ms: float) -> None:
        """Take what a load's thread has brought."""
        if load in self._slots[load.index].loads:
            load.failure, load.load_ms = failure, load_ms
            self._finish(load, loaded)
        elif loaded is not None:  # given up meanwhile
            loaded.pipeline.lanes.close()

    def _is_wanted(self, slot: Slot, load: Load) -> bool:
        """Whether a load is to go on; asked from its own thread."""
        return not self._ends and (load.epoch == slot.epoch or bool(load.waiting))

    def _finish(self, load: Load, loaded: LoadedModel | None) -> None:
        slot = self._slots[load.index]
        place = slot.loads.index(load)
        del slot.loads[place]
        load.fetching = None
        slot.warnings = load.warnings
        for warning in () if load.is_reload else load.warnings:
            log.warning("%s", warning)
        is_current = load.epoch == slot.epoch
        if loaded is not None and is_current:
            load.failure = self._residency.make_room(load.index, loaded)
        if loaded is not None and load.failure is not None:
            loaded.pipeline.lanes.close()
        elif loaded is not None:
            load.model = self._serve(loaded)
        if is_current:
            self._install(slot, load)
        self._go_on(slot, load, place)
        if load.model is not None and not is_current:
            load.model.retire()
        self._start_next(slot)

    def _install(self, slot: Slot, load: Load) -> None:
        if load.model is None:
            slot.note_failure(load)
            return
        slot.install(load, load.model)
        self._residency.watch(load.model)

    def _go_on(self, slot: Slot, load: Load, place: int) -> None:
        """Let what waits for a load go on: with its model, else with the one that was to be replaced."""
        when_done, load.when_done = load.when_done, []  # they hold the load: no cycle keeps its model
        for done in when_done:
            done()
        waiting, load.waiting = load.waiting, []  # no cycle keeps what waited until a collection
        model = load.model
        if model is None and load.replaces and load.epoch == slot.epoch:
            model = slot.serving
            if model is None and waiting and slot.asleep is not None:
                self._reload(slot, place).waiting += waiting
                return
        for proceed in waiting:
            proceed(model)


def _is_fetching(load: Load) -> bool:
    return load.fetching is not None and load.fetching.is_under_way


def _warnings(path: str, loaded: LoadedModel, unknown: Mapping[str, str]) -> list[str]:
    """Return what nobody read of a model's configuration, and what was overruled."""
    reads = loaded.pipeline.plan.postprocessor.reads
    unread = [text for key, text in unknown.items() if key not in reads]
    return unread + [f"{path}: {text}" for text in loaded.warnings]


class _Countdown:
    """Calls back when it has been counted down."""

    def __init__(self, count: int, callback: Callable[[], None]) -> None:
        self._left = count
        self._callback = callback

    def count(self) -> None:
        """Count one load as done."""
        self._left -= 1
        if self._left == 0:
            self._callback()
