"""A snapshot as Prometheus text; the one file that needs prometheus_client, and only when called.

docs/metrics.md has every name beside its key in JSON.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from worker.histograms import BOUNDS_S, Histogram
from worker.metrics import MetricsSnapshot, MetricsUnavailableError, SlotSnapshot

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

INSTALL = "pip install 'inferpipe[metrics]'"

_BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass(frozen=True, slots=True)
class _Figure:
    """A number of the whole worker or of one queue."""

    name: str
    """`_total` at its end makes it a counter."""
    path: str
    """Of attributes, from the snapshot or from the queue's depth; None there leaves it out."""
    text: str
    scale: float = 1.0


_WORKER = (
    _Figure("uptime_seconds", "gauges.uptime_ms", "Time since the worker began.", 1e-3),
    _Figure("in_flight_requests", "gauges.in_flight.requests", "Data requests accepted and not answered."),
    _Figure("in_flight_bytes", "gauges.in_flight.bytes", "Payload bytes of the data requests in flight."),
    _Figure("in_flight_commands", "gauges.in_flight.commands", "Commands accepted and not answered."),
    _Figure("in_flight_streams", "gauges.in_flight.streams", "Streams that are open."),
    _Figure("frame_cache_bytes", "gauges.cache.bytes", "Bytes that the frame cache holds."),
    _Figure("frame_cache_budget_bytes", "gauges.cache.budget_bytes", "Bytes that it may hold."),
    _Figure("frame_cache_frames", "gauges.cache.frames", "Frames in the frame cache."),
    _Figure("frame_cache_hits_total", "gauges.cache.hits", "Look-ups that found their frame."),
    _Figure("frame_cache_misses_total", "gauges.cache.misses", "Look-ups that did not."),
    _Figure("frame_cache_evicted_frames_total", "gauges.cache.evicted", "Frames dropped for the budget."),
    _Figure("frame_cache_tensor_hits_total", "gauges.cache.tensor_hits", "Tensors used again."),
    _Figure("frame_cache_tensor_misses_total", "gauges.cache.tensor_misses", "Tensors that had to be made."),
    _Figure("process_resident_memory_bytes", "process.resident_bytes", "Resident memory."),
    _Figure("process_peak_memory_bytes", "process.peak_bytes", "The most that was ever resident."),
    _Figure("process_cpu_seconds_total", "process.cpu_seconds", "User and system time of all threads."),
    _Figure("process_threads", "process.threads", "Threads, native ones included."),
    _Figure("process_open_fds", "process.open_files", "Open file descriptors."),
    _Figure("log_lines_dropped_total", "gauges.log_lines_dropped", "Log lines that a full stderr dropped."),
)

_QUEUES = (
    _Figure("queue_waiting_items", "waiting", "Items whose picture is not begun to be prepared."),
    _Figure("queue_preparing_items", "preparing", "Items that are being decoded and prepared."),
    _Figure("queue_ready_items", "ready", "Prepared items that wait for a predict thread."),
    _Figure("predict_calls_running", "predicting", "Predict calls under way."),
)


def require() -> ModuleType:
    """Import the library.

    Raises:
        MetricsUnavailableError: it is not installed.
    """
    try:
        import prometheus_client.core  # noqa: PLC0415 - an extra, and 12 ms
    except ImportError as exc:
        raise MetricsUnavailableError(
            f"Prometheus text needs the package prometheus-client, which is not installed: {INSTALL}"
        ) from exc
    return prometheus_client


def render(snapshot: MetricsSnapshot) -> str:
    """Return a snapshot in the Prometheus text format, version 0.0.4; on any thread.

    Raises:
        MetricsUnavailableError: the library is not installed.
    """
    library = require()
    registry = library.CollectorRegistry(auto_describe=False)
    registry.register(cast("Collector", _SnapshotCollector(snapshot, library.core)))
    text: bytes = library.generate_latest(registry)
    return text.decode()


class _SnapshotCollector:
    """Gives the library one snapshot as its metric families.

    A `Collector` by its one method; to inherit from that class would import the library at once.
    """

    def __init__(self, snapshot: MetricsSnapshot, core: Any) -> None:
        self._snapshot = snapshot
        self._core = core

    def collect(self) -> Iterator[Any]:
        yield self._requests()
        yield from self._items()
        yield self._stages()
        yield self._totals()
        yield self._batches()
        yield from self._queues()
        for figure in _WORKER:
            value = attrgetter(figure.path)(self._snapshot)
            if value is not None:
                family = self._family(figure, ())
                family.add_metric((), value * figure.scale)
                yield family

    def _requests(self) -> Any:
        family = self._counter(
            "requests",
            "Data requests answered, by code; without a slot where they name none.",
            "slot",
            "code",
        )
        _add_codes(family, "", self._snapshot.unbound)
        for slot in self._snapshot.slots:
            _add_codes(family, str(slot.index), slot.answered)
        return family

    def _items(self) -> Iterator[Any]:
        done = self._counter("items", "Pictures that have a result.", "slot")
        failed = self._counter("failed_items", "Pictures of answered batches that have none.", "slot")
        for slot in self._snapshot.slots:
            done.add_metric((str(slot.index),), slot.items)
            failed.add_metric((str(slot.index),), slot.failed_items)
        yield done
        yield failed

    def _stages(self) -> Any:
        family = self._histogram("stage_duration_seconds", "Time of one picture in a stage.", "slot", "stage")
        for slot in self._snapshot.slots:
            for stage, histogram in slot.stages.items():
                if stage != "total" and histogram.count:
                    _add_times(family, (str(slot.index), stage), histogram)
        return family

    def _totals(self) -> Any:
        family = self._histogram(
            "item_duration_seconds", "Time of one picture from arrival to answer.", "slot"
        )
        for slot in self._snapshot.slots:
            _add_times(family, (str(slot.index),), slot.stages["total"])
        return family

    def _batches(self) -> Any:
        family = self._histogram("predict_batch_size", "Items of a predict call.", "slot")
        for slot in self._snapshot.slots:
            _add_batches(family, slot)
        return family

    def _queues(self) -> Iterator[Any]:
        for figure in _QUEUES:
            family = self._family(figure, ("slot",))
            for slot in self._snapshot.slots:
                if slot.queue is not None:
                    family.add_metric((str(slot.index),), attrgetter(figure.path)(slot.queue))
            yield family

    def _family(self, figure: _Figure, labels: tuple[str, ...]) -> Any:
        if figure.name.endswith("_total"):
            return self._counter(figure.name, figure.text, *labels)
        return self._core.GaugeMetricFamily(f"inferpipe_{figure.name}", figure.text, labels=labels)

    def _counter(self, name: str, text: str, *labels: str) -> Any:
        return self._core.CounterMetricFamily(f"inferpipe_{name}", text, labels=labels)

    def _histogram(self, name: str, text: str, *labels: str) -> Any:
        return self._core.HistogramMetricFamily(f"inferpipe_{name}", text, labels=labels)


def _add_codes(family: Any, slot: str, answered: Mapping[str, int]) -> None:
    for code, count in sorted(answered.items()):
        family.add_metric((slot, code), count)


def _add_times(family: Any, labels: tuple[str, ...], histogram: Histogram) -> None:
    bounds = (*map(str, BOUNDS_S), "+Inf")
    buckets = list(zip(bounds, histogram.cumulative(), strict=True))
    family.add_metric(labels, buckets, histogram.sum_ms / 1000)


def _add_batches(family: Any, slot: SlotSnapshot) -> None:
    calls = slot.calls
    edges = (0.0, *_BATCH_BOUNDS, float("inf"))
    between = [
        sum(count for size, count in calls.items() if below < size <= upto) for below, upto in pairwise(edges)
    ]
    bounds = (*map(str, _BATCH_BOUNDS), "+Inf")
    total = sum(size * count for size, count in calls.items())
    family.add_metric((str(slot.index),), list(zip(bounds, accumulate(between), strict=True)), total)
