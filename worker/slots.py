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
from dataclasses import dataclass, field
from typing import Any

from frame_cache.base import PreparedKey
from worker.batching import Accumulator
from worker.config import parse_model
from worker.errors import Failure, load_failure_of
from worker.loading import LoadedModel, ModelLoader
from worker.requests import ItemOptions
from worker.slot_report import slot_fields

log = logging.getLogger(__name__)

STUCK_AFTER_S = 5.0
"""A predict call that runs longer has its share given to others, and its slot reports "stuck"."""


@dataclass(slots=True, eq=False)
class ServingModel:
    """A loaded model and the accumulator that feeds it."""

    loaded: LoadedModel
    accumulator: Accumulator
    default_options: ItemOptions
    """Of requests that bring none."""
    default_key: PreparedKey
    """Theirs too."""
    holds: int = 0
    """Requests that are bound to it and wait for something else before they are queued."""
    is_retired: bool = False

    def hold(self) -> None:
        """Keep the model until `let_go`, even past `retire`."""
        self.holds += 1

    def let_go(self) -> None:
        """End a hold; what was queued meanwhile is served."""
        self.holds -= 1
        if self.is_retired:
            self.retire()

    def retire(self) -> None:
        """Serve what was submitted, then let the model go."""
        self.is_retired = True
        self.accumulator.flush()
        if not self.holds:
            self.loaded.pipeline.lanes.close()


WhenLoaded = Callable[["ServingModel | None"], None]


@dataclass(slots=True, eq=False)
class Load:
    """One load under way, or waiting for the load before it."""

    index: int
    config: Mapping[str, Any] | Any
    path: str
    """How messages name the configuration."""
    epoch: int
    """The slot's when it arrived: an `unload` meanwhile keeps it from being installed."""
    waiting: list[WhenLoaded] = field(default_factory=list)
    """Called with the model, or None where the load failed: the requests that are bound to it."""
    model: ServingModel | None = None
    failure: Failure | None = None
    warnings: list[str] = field(default_factory=list)
    runtime: str | None = None
    load_ms: float = 0.0
    started: bool = False


@dataclass(slots=True, eq=False)
class Slot:
    """One index."""

    serving: ServingModel | None = None
    loads: list[Load] = field(default_factory=list)
    """Not yet done, in order of arrival; one of each epoch is under way at a time."""
    epoch: int = 0
    path: str | None = None
    runtime: str | None = None
    error: str | None = None
    warnings: list[str] = field(default_factory=list)


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
            load.waiting.append(countdown.count)

    def binds(self, index: int) -> bool:
        """Whether a request for an index has a model, or a load to wait for."""
        return self.serving(index) is not None or self.newest_load(index) is not None

    def serving(self, index: int) -> ServingModel | None:
        """Return the model that serves an index."""
        return self._slots[index].serving if index < len(self._slots) else None

    def newest_load(self, index: int) -> Load | None:
        """Return the load that a request for an index without a model waits for."""
        if index >= len(self._slots):
            return None
        slot = self._slots[index]
        newest = slot.loads[-1] if slot.loads else None
        return newest if newest is not None and newest.epoch == slot.epoch else None

    def load(self, index: int, config: Any, path: str, when_loaded: Callable[[Load], None]) -> None:
        """Begin to load a model into a slot, beside the one that serves.

        Args:
            index: 0 to 255; slots up to it are made.
            config: the model's configuration as it came.
            path: how messages name the configuration.
            when_loaded: called when the load is done, before the requests that wait for it go on.
        """
        while len(self._slots) <= index:
            self._slots.append(Slot())
        slot = self._slots[index]
        load = Load(index, config, path, slot.epoch)
        load.waiting.append(lambda _: when_loaded(load))
        slot.loads.append(load)
        self._start_next(slot)

    def unload(self, index: int) -> None:
        """Empty a slot for what comes after; what came before is still served."""
        if index >= len(self._slots):
            return
        slot = self._slots[index]
        slot.epoch += 1
        slot.path = slot.runtime = slot.error = None
        if slot.serving is not None:
            slot.serving.retire()
            slot.serving = None

    def flush(self) -> None:
        """Close what still collects: nothing more will come."""
        for slot in self._slots:
            if slot.serving is not None:
                slot.serving.accumulator.flush()

    def fields(self, index: int) -> dict[str, Any]:
        """Return the wire object of a slot, for the ready answer, `load` and `status`."""
        slot = self._slots[index]
        loaded = slot.serving.loaded if slot.serving else None
        stuck = loaded.pipeline.lanes.stuck_for(time.perf_counter()) if loaded else 0.0
        state, reason = self._state(slot, stuck)
        fields = slot_fields(index, loaded, slot.path, slot.runtime, slot.error)
        return fields | {"state": state} | ({"reason": reason} if reason else {})

    def _state(self, slot: Slot, stuck_s: float) -> tuple[str, str | None]:
        if stuck_s > STUCK_AFTER_S:
            return "stuck", f"a predict call has been running for {stuck_s:.0f} s"
        if slot.serving is not None:
            return "ready", None
        return ("loading" if slot.loads else "empty"), None

    def _start_next(self, slot: Slot) -> None:
        """Start what comes next, one load of an epoch at a time: one that hangs can be unloaded."""
        epochs: set[int] = set()
        for load in slot.loads:
            if load.epoch not in epochs and not load.started:
                load.started = True
                self._start(load)
            epochs.add(load.epoch)

    def _start(self, load: Load) -> None:
        # A thread of its own: a load that hangs keeps no other slot from loading.
        threading.Thread(target=self._run, args=(load,), name=f"load-{load.index}", daemon=True).start()

    def _run(self, load: Load) -> None:
        """Load, on the load's own thread."""
        began = time.perf_counter()
        loaded: LoadedModel | None = None
        try:
            config, unknown = parse_model(load.config, load.path)
            load.warnings = list(unknown.values())
            load.runtime = self._loader.runtime_of(config)
            loaded = self._loader.load(config, load.runtime)
            load.warnings = _warnings(load.path, loaded, unknown)
        except Exception as error:  # noqa: BLE001 - a surprise must not leave the slot loading for ever
            load.failure = load_failure_of(error)
        load.load_ms = (time.perf_counter() - began) * 1000
        self._loop.call_soon_threadsafe(self._finish, load, loaded)

    def _finish(self, load: Load, loaded: LoadedModel | None) -> None:
        slot = self._slots[load.index]
        slot.loads.remove(load)
        slot.warnings = load.warnings
        for warning in load.warnings:
            log.warning("%s", warning)
        if loaded is not None:
            load.model = self._serve(loaded)
        current = load.epoch == slot.epoch
        if current:
            self._install(slot, load)
        waiting, load.waiting = load.waiting, []  # no cycle keeps what waited until a collection
        for proceed in waiting:
            proceed(load.model)
        if load.model is not None and not current:
            load.model.retire()
        self._start_next(slot)

    def _install(self, slot: Slot, load: Load) -> None:
        if load.model is None:
            if slot.serving is None:
                slot.path, slot.runtime = _path_of(load.config), load.runtime
                slot.error = load.failure.text if load.failure else None
            return
        if slot.serving is not None:
            slot.serving.retire()
        slot.serving, slot.error = load.model, None
        slot.path, slot.runtime = load.model.loaded.config.path, load.runtime


def _warnings(path: str, loaded: LoadedModel, unknown: Mapping[str, str]) -> list[str]:
    """Return what nobody read of a model's configuration, and what was overruled."""
    reads = loaded.pipeline.plan.postprocessor.reads
    unread = [text for key, text in unknown.items() if key not in reads]
    return unread + [f"{path}: {text}" for text in loaded.warnings]


def _path_of(config: Any) -> str | None:
    path = config.get("path") if isinstance(config, Mapping) else None
    return path if isinstance(path, str) else None


class _Countdown:
    """Calls back when it has been counted down."""

    def __init__(self, count: int, callback: Callable[[], None]) -> None:
        self._left = count
        self._callback = callback

    def count(self, _: ServingModel | None) -> None:
        """Count one load as done."""
        self._left -= 1
        if self._left == 0:
            self._callback()
