"""Counts and times of what the worker has answered, and the one snapshot that both formats are made of.

The event loop answers tens of thousands of requests a second, so `Metrics.answered` only notes
what it is given; the arithmetic is done for hundreds of items at once. An item holds its tensor,
so its timings are kept and not the item.
"""

import dataclasses
import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.histograms import Histogram, LatencyTable
from worker.process_figures import ProcessFigures, process_figures
from worker.requests import Item

OK = "ok"
"""Stands where an error's code would, for a request that succeeded."""

FOLD_AT = 512
"""Items that wait to be folded. Larger amounts gain little and keep more timings alive."""

_WIDTH = 4
"""What is noted of an item."""

_QUANTILES = (("p50Ms", 0.5), ("p90Ms", 0.9), ("p99Ms", 0.99))


class MetricsUnavailableError(Exception):
    """What Prometheus text needs is not installed; the text has the command that installs it."""


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """What one slot has to do, now."""

    waiting: int
    """Items whose picture is not begun to be prepared."""
    preparing: int
    """Items that are being decoded and prepared."""
    ready: int
    """Prepared items that wait for a predict thread."""
    predicting: int
    """Predict calls under way."""

    def as_fields(self) -> dict[str, Any]:
        return {
            "waiting": self.waiting,
            "preparing": self.preparing,
            "ready": self.ready,
            "predicting": self.predicting,
        }


@dataclass(frozen=True, slots=True)
class CacheGauges:
    """The frame cache: what it holds now, and its counters since the start."""

    bytes: int
    budget_bytes: int
    frames: int
    hits: int
    misses: int
    evicted: int
    tensor_hits: int
    tensor_misses: int

    def as_fields(self) -> dict[str, Any]:
        return {
            "bytes": self.bytes,
            "budgetBytes": self.budget_bytes,
            "frames": self.frames,
            "hits": self.hits,
            "misses": self.misses,
            "evicted": self.evicted,
            "tensorHits": self.tensor_hits,
            "tensorMisses": self.tensor_misses,
        }


@dataclass(frozen=True, slots=True)
class InFlightGauges:
    """What is accepted and not answered, now."""

    requests: int
    """Data requests."""
    bytes: int
    """Payload bytes of those."""
    commands: int
    streams: int
    """Open ones."""

    def as_fields(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Gauges:
    """What others know at the moment of a snapshot."""

    uptime_ms: float
    queues: Mapping[int, QueueDepth]
    """Of each slot that has a model."""
    cache: CacheGauges
    in_flight: InFlightGauges
    log_lines_dropped: int


@dataclass(frozen=True, slots=True)
class SlotSnapshot:
    """Everything about one slot."""

    index: int
    answered: Mapping[str, int]
    """Requests by code, `OK` included."""
    failed_items: int
    """Of batches that succeeded for other items."""
    batches: Mapping[int, int]
    """Items with a result, by how many items their predict call had."""
    stages: Mapping[str, Histogram]
    queue: QueueDepth | None
    """None where the slot has no model now."""

    @property
    def requests(self) -> int:
        return sum(self.answered.values())

    @property
    def items(self) -> int:
        """Items with a result."""
        return self.stages["total"].count

    @property
    def calls(self) -> dict[int, int]:
        """Predict calls by how many items they had; one counts when the first of its items is answered."""
        return {size: math.ceil(items / size) for size, items in sorted(self.batches.items())}

    def as_fields(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "requests": self.requests,
            "items": self.items,
            "failedItems": self.failed_items,
            "errors": {code: count for code, count in sorted(self.answered.items()) if code != OK},
            "batchSizes": {str(size): calls for size, calls in self.calls.items()},
            "stages": {name: _stage_fields(histogram) for name, histogram in self.stages.items()},
        } | ({} if self.queue is None else {"queue": self.queue.as_fields()})


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """All metrics of one moment; may be read on any thread."""

    gauges: Gauges
    unbound: Mapping[str, int]
    """Requests by code that no slot was asked for."""
    slots: tuple[SlotSnapshot, ...]
    """By index: those that have a model or have answered anything."""
    process: ProcessFigures

    @property
    def answered(self) -> dict[str, int]:
        """Data requests by code, of slots or not."""
        total = Counter(self.unbound)
        for slot in self.slots:
            total.update(slot.answered)
        return dict(sorted(total.items()))

    def as_fields(self) -> dict[str, Any]:
        """Return what the command `metrics` answers; docs/metrics.md has every key."""
        return {
            "uptimeMs": self.gauges.uptime_ms,
            "requests": self.answered,
            "slots": [slot.as_fields() for slot in self.slots],
            "cache": self.gauges.cache.as_fields(),
            "inFlight": self.gauges.in_flight.as_fields(),
            "process": _process_fields(self.process),
            "logs": {"dropped": self.gauges.log_lines_dropped},
        }


class Metrics:
    """Takes note of every answer. Belongs to the event loop."""

    def __init__(self) -> None:
        self._pending: list[Any] = []
        """Slot, moment of the answer, batch size and timings of items not folded yet, one after another:
        flat, so that no tuples pile up for the garbage collector."""
        self._succeeded: defaultdict[int | None, int] = defaultdict(int)
        self._failed: Counter[tuple[int | None, str]] = Counter()
        self._failed_items: Counter[int] = Counter()
        self._batches: Counter[tuple[int, int]] = Counter()
        self._latencies = LatencyTable()

    def answered(self, slot: int | None, items: Sequence[Item], code: str | None) -> None:
        """Note that a data request has its answer, now.

        Args:
            slot: that it was for; None where it was for none, and then it has no items.
            items: what it became; empty where it never came so far. Only read during this call.
            code: of its error; None where it succeeded, be it with failed items.
        """
        if code is not None:
            self._failed[slot, str(code)] += 1
            return
        self._succeeded[slot] += 1
        if slot is None or not items:
            return
        now = time.perf_counter()
        pending = self._pending
        for item in items:
            pending += (slot, now, item.batch_size, item.timings)
        if len(pending) >= FOLD_AT * _WIDTH:
            self._fold()

    def snapshot(self, gauges: Gauges) -> MetricsSnapshot:
        """Return everything as of now; the queues of `gauges` name the slots that have a model."""
        self._fold()
        counted = {*self._succeeded, *(slot for slot, _ in self._failed)}
        slots = sorted({*gauges.queues, *(slot for slot in counted if slot is not None)})
        return MetricsSnapshot(
            gauges,
            self._answered_by(None),
            tuple(self._slot(slot, gauges.queues.get(slot)) for slot in slots),
            process_figures(),
        )

    def _fold(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        slots, moments, sizes, timings = (pending[column::_WIDTH] for column in range(_WIDTH))
        done = self._latencies.fold(slots, moments, timings)
        if all(done):
            self._batches.update(zip(slots, sizes, strict=True))
            return
        for slot, size, has_result in zip(slots, sizes, done, strict=True):
            if has_result:
                self._batches[slot, size] += 1
            else:
                self._failed_items[slot] += 1

    def _slot(self, slot: int, queue: QueueDepth | None) -> SlotSnapshot:
        batches = {size: items for (index, size), items in self._batches.items() if index == slot}
        return SlotSnapshot(
            slot,
            self._answered_by(slot),
            self._failed_items[slot],
            batches,
            self._latencies.stages(slot),
            queue,
        )

    def _answered_by(self, slot: int | None) -> dict[str, int]:
        succeeded = self._succeeded.get(slot, 0)
        failed = {code: count for (index, code), count in self._failed.items() if index == slot}
        return ({OK: succeeded} if succeeded else {}) | failed


def _stage_fields(histogram: Histogram) -> dict[str, Any]:
    if not histogram.count:
        return {"count": 0}
    quantiles = {name: round(histogram.quantile_ms(share), 3) for name, share in _QUANTILES}
    return {
        "count": histogram.count,
        "meanMs": round(histogram.mean_ms, 3),
        **quantiles,
        "maxMs": round(histogram.max_ms, 3),
    }


def _process_fields(process: ProcessFigures) -> dict[str, Any]:
    fields = {
        "residentBytes": process.resident_bytes,
        "peakBytes": process.peak_bytes,
        "cpuSeconds": round(process.cpu_seconds, 3),
        "threads": process.threads,
        "openFiles": process.open_files,
    }
    return {name: value for name, value in fields.items() if value is not None}
