"""What a slot holds: the model that serves, the loads under way, and how an unloaded model comes back."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from frame_cache.base import PreparedKey
from worker.batching import Accumulator
from worker.errors import Failure
from worker.fetching import Fetching
from worker.loading import LoadedModel
from worker.requests import ItemOptions


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
    last_used: float = field(default_factory=time.perf_counter)
    """When its newest request arrived, or it was loaded (seconds of the performance counter)."""

    @property
    def is_busy(self) -> bool:
        """Whether it has something to do at this moment."""
        pipeline = self.loaded.pipeline
        return self.holds > 0 or pipeline.lanes.predicting > 0 or any(pipeline.queue.depth)

    def use(self, arrived: float) -> None:
        """Take note of a request: a load may have taken longer than the request has waited for it."""
        self.last_used = max(self.last_used, arrived)

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


WhenLoaded = Callable[[ServingModel | None], None]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a slot's model came from, and comes from again when it has been unloaded by itself."""

    config: Mapping[str, Any] | Any
    path: str
    """How messages name the configuration."""


@dataclass(slots=True, eq=False)
class Load:
    """One load under way, or waiting for the load before it."""

    index: int
    origin: Origin
    epoch: int
    """The slot's when it arrived: an `unload` meanwhile keeps it from being installed."""
    replaces: bool = False
    """Whether the slot had a model when it came, be it one that loads on demand: that one is kept where
    this load fails."""
    is_reload: bool = False
    """Whether it brings back the slot's own model."""
    proves: bool = False
    """Whether the model has to run a picture before it is installed."""
    when_done: list[Callable[[], None]] = field(default_factory=list)
    """Called before the requests that wait go on."""
    waiting: list[WhenLoaded] = field(default_factory=list)
    """Called with the model, or None where there is none: the requests that are bound to it."""
    model: ServingModel | None = None
    failure: Failure | None = None
    warnings: list[str] = field(default_factory=list)
    runtime: str | None = None
    load_ms: float = 0.0
    started: bool = False
    fetching: Fetching | None = None
    """What it fetches, once it has started."""


@dataclass(slots=True, eq=False)
class Slot:
    """One index."""

    index: int
    serving: ServingModel | None = None
    loads: list[Load] = field(default_factory=list)
    """Not yet done, in order of arrival; one of each epoch is under way at a time."""
    epoch: int = 0
    origin: Origin | None = None
    """Of the model that serves, or that was unloaded by itself."""
    asleep: str | None = None
    """Why the model was unloaded by itself; it loads with the next request."""
    path: str | None = None
    runtime: str | None = None
    error: str | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def has_model(self) -> bool:
        """Whether a model serves, or loads on demand."""
        return self.serving is not None or self.asleep is not None

    @property
    def newest_load(self) -> Load | None:
        """The load that a request without a model waits for."""
        newest = self.loads[-1] if self.loads else None
        return newest if newest is not None and newest.epoch == self.epoch else None

    def install(self, load: Load, model: ServingModel) -> None:
        """Let a loaded model serve; the one before it serves what is bound to it, and goes."""
        if self.serving is not None:
            self.serving.retire()
        self.serving, self.origin, self.asleep, self.error = model, load.origin, None, None
        self.path, self.runtime = model.loaded.config.path, load.runtime

    def put_to_sleep(self, reason: str) -> None:
        """Unload the model that serves, until the next request; what came before is still served."""
        assert self.serving is not None
        self.serving.retire()
        self.serving, self.asleep = None, reason

    def note_failure(self, load: Load) -> None:
        """Report why there is no model; what the slot has beside it stays as it is."""
        if self.serving is not None or (self.asleep is not None and not load.is_reload):
            return
        self.path, self.runtime = _path_of(load.origin.config), load.runtime
        self.error = load.failure.text if load.failure else None

    def clear(self) -> None:
        """Empty the slot for what comes after; what came before is still served."""
        self.epoch += 1
        self.origin = self.asleep = self.path = self.runtime = self.error = None
        if self.serving is not None:
            self.serving.retire()
            self.serving = None


def _path_of(config: Any) -> str | None:
    path = config.get("path") if isinstance(config, Mapping) else None
    return path if isinstance(path, str) else None
