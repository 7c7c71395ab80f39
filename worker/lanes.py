"""The predict threads of one model: opened on first use, each with a lane of the runtime."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from runtimes.base import CompiledModel, Lane
from runtimes.errors import InferenceError
from runtimes.spec import TensorMap
from worker.errors import DEADLINE_EXCEEDED, Failure, failure_of
from worker.requests import Item, ItemQueue
from worker.shares import PredictShares, WorkAccount

Deliver = Callable[[Item, TensorMap], None]
Fail = Callable[[Item, Failure], None]


@dataclass(slots=True, eq=False)
class LaneState:
    """What a watchdog sees of a lane."""

    busy_since: float = 0.0
    """When the running predict call began (performance counter); 0 while there is none."""


@dataclass(slots=True, eq=False)
class _Means:
    """What a predict thread works with."""

    state: LaneState
    lane: Lane | None = None
    """Opened by its first items."""


class LanePool:
    """The lanes of one model; closes the model when the last of them ends."""

    def __init__(
        self,
        compiled: CompiledModel,
        input_name: str,
        queue: ItemQueue,
        limit: int,
        shares: PredictShares,
        deliver: Deliver,
        fail: Fail,
    ) -> None:
        """Create a pool without threads.

        Args:
            compiled: the model.
            input_name: the tensor that pictures go into.
            queue: where the lanes take from.
            limit: how many lanes there may be.
            shares: the process's share of predict calls.
            deliver: takes an item's outputs, on the lane's thread.
            fail: takes an item's failure, on the lane's thread.
        """
        self._compiled = compiled
        self._input_name = input_name
        self._queue = queue
        self._limit = limit
        self._shares = shares
        self._account = WorkAccount()
        self.deliver = deliver
        self._fail = fail
        self._lock = threading.Lock()
        self._lanes: list[LaneState] = []
        self._ended = 0

    def open_if_starved(self) -> None:
        """Open another lane where more is ready than the open ones can take."""
        if len(self._lanes) >= self._limit:
            return
        with self._lock:
            if len(self._lanes) < self._limit and self._queue.starved:
                lane = LaneState()
                self._lanes.append(lane)
                name = f"lane-{len(self._lanes)}"
                threading.Thread(target=self._serve, args=(lane,), name=name, daemon=True).start()

    def close(self) -> None:
        """End the lanes when all that was submitted is done; then the model goes."""
        self._queue.retire()
        with self._lock:
            unused = not self._lanes
        if unused:
            self._compiled.close()

    def stuck_for(self, now: float) -> float:
        """Return for how many seconds the longest running predict call has been going on."""
        return max((now - lane.busy_since for lane in self._lanes if lane.busy_since), default=0.0)

    @property
    def predicting(self) -> int:
        """How many predict calls are under way."""
        return sum(lane.busy_since > 0 for lane in self._lanes)

    def _serve(self, lane: LaneState) -> None:
        means = _Means(lane)
        while self._queue.wait_ready():
            share = self._shares.acquire(self._account)
            try:
                while self._serve_once(means) and self._queue.has_ready:
                    # Before it gives up its turn: else two models with a lane each would take turns by count.
                    share = self._shares.renew(share)
            finally:
                self._shares.release(share)
        means.lane = None  # what it has of its own goes before the model is closed
        self._end_one()

    def _serve_once(self, means: _Means) -> bool:
        """Predict what there is to take; False where that was nothing."""
        items = self._in_time(self._queue.take())
        if items:
            means.lane = means.lane or self._open(items)
        if items and means.lane:
            self._predict(means.state, means.lane, items)
        return bool(items)

    def _in_time(self, items: list[Item]) -> list[Item]:
        """Fail what is too late: the timer of its request may be waiting for a busy event loop."""
        now = time.perf_counter()
        late = [item for item in items if item.deadline <= now]
        for item in late:
            self._fail(item, DEADLINE_EXCEEDED)
        return [item for item in items if item.deadline > now] if late else items

    def _open(self, items: list[Item]) -> Lane | None:
        try:
            return self._compiled.open_lane()
        except Exception as error:  # noqa: BLE001 - the boundary of these requests
            self._fail_all(items, error)
            return None

    def _predict(self, lane: LaneState, opened: Lane, items: list[Item]) -> None:
        began = lane.busy_since = time.perf_counter()
        try:
            outputs = opened.infer([{self._input_name: item.tensor} for item in items])
            if len(outputs) != len(items):
                raise InferenceError(f"{len(outputs)} results for a batch of {len(items)}")
        except Exception as error:  # noqa: BLE001 - the boundary of these requests
            lane.busy_since = 0.0
            self._retry_alone(lane, opened, items, error)
            return
        finally:
            lane.busy_since = 0.0
        predict_ms = (time.perf_counter() - began) * 1000
        for item, output in zip(items, outputs, strict=True):
            item.timings.predict_began = began
            item.timings.predict_ms = predict_ms
            item.batch_size = len(items)
            self.deliver(item, output)

    def _retry_alone(self, lane: LaneState, opened: Lane, items: list[Item], error: Exception) -> None:
        """Let one bad item not fail its neighbours: run each by itself."""
        if len(items) == 1:
            self._fail_all(items, error)
            return
        for item in items:
            self._predict(lane, opened, [item])

    def _fail_all(self, items: list[Item], error: Exception) -> None:
        for item in items:
            self._fail(item, failure_of(error))

    def _end_one(self) -> None:
        with self._lock:
            self._ended += 1
            last = self._ended == len(self._lanes)
        if last:
            self._compiled.close()
