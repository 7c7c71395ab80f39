"""What the worker counts and times of its answers, and what it says of itself."""

import gc
import json
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from subprocess import run

import numpy as np
import pytest

from frame_cache.base import PreparedKey
from frame_cache.memory import FrameCache
from postprocessors.base import ResultOptions
from preprocess.frame import Frame, Pixels, Prepared, Transform
from preprocess.options import DecodeOptions, PrepareOptions
from protocol.errors import ErrorCode
from protocol.pixel_format import PixelFormat
from worker.histograms import BOUNDS_MS, STAGES, Histogram, LatencyTable
from worker.metrics import (
    FOLD_AT,
    OK,
    CacheGauges,
    Gauges,
    InFlightGauges,
    Metrics,
    MetricsSnapshot,
    QueueDepth,
)
from worker.process_figures import process_figures
from worker.requests import Item, ItemOptions, Timings
from worker.sources import SPENT

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ItemOptions(ResultOptions(), DecodeOptions())
KEY = PreparedKey(1, PrepareOptions(8, 8), OPTIONS.decode)
GEOMETRY = Transform(8, 8, (0, 0, 8, 8), 1.0, 1.0, 0.0, 0.0, 8, 8)

CACHE = CacheGauges(
    bytes=100, budget_bytes=1000, frames=2, hits=5, misses=1, evicted=3, tensor_hits=7, tensor_misses=4
)
IN_FLIGHT = InFlightGauges(requests=6, bytes=600, commands=1, streams=2)


def gauges(*slots):
    queues = {slot: QueueDepth(waiting=4, preparing=3, ready=2, predicting=1) for slot in slots}
    return Gauges(1234.5, queues, CACHE, IN_FLIGHT, log_lines_dropped=9)


def item(timings, batch_size=1):
    made = Item(SPENT, KEY, OPTIONS, None, timings)
    made.batch_size = batch_size
    return made


def way(predict_ms=8.0, queue_ms=1.0, wait_ms=4.0, age_ms=40.0):
    """Return the timings of an item whose picture was decoded (2 ms) and prepared (3 ms)."""
    arrived = time.perf_counter() - age_ms / 1000
    began = arrived + queue_ms / 1000
    prepared = began + 0.005
    return Timings(arrived, began, prepared, prepared + wait_ms / 1000, 2.0, 3.0, predict_ms, 0.25)


def cached_way(wait_ms=4.0):
    """Return the timings of an item whose tensor lay in the frame cache."""
    arrived = time.perf_counter() - 0.04
    return Timings(arrived, predict_began=arrived + wait_ms / 1000, predict_ms=8.0, postprocess_ms=0.25)


def stages_of(metrics, slot=0):
    [found] = [one for one in metrics.snapshot(gauges()).slots if one.index == slot]
    return found.stages


def bucket_of(value_ms):
    """Return (lower, upper) of the bucket that a value falls into."""
    upper = min(bound for bound in BOUNDS_MS if bound >= value_ms)
    return max((bound for bound in BOUNDS_MS if bound < value_ms), default=0.0), upper


def test_each_stage_gets_its_own_time():
    metrics = Metrics()
    metrics.answered(0, [item(way())], None)
    means = {name: histogram.mean_ms for name, histogram in stages_of(metrics).items()}
    assert tuple(means) == STAGES
    assert means == pytest.approx(
        {"queue": 1, "decode": 2, "prepare": 3, "wait": 4, "predict": 8, "postprocess": 0.25, "total": 40},
        rel=0.05,
    )


def test_times_fall_into_their_buckets():
    metrics = Metrics()
    for predict_ms in (0.01, 0.05, 0.07, 7.0, 9.0, 70_000.0):
        metrics.answered(0, [item(way(predict_ms))], None)
    counts = stages_of(metrics)["predict"].counts
    filled = {BOUNDS_MS[index]: count for index, count in enumerate(counts[:-1]) if count}
    assert filled == {0.05: 2, 0.1: 1, 10.0: 2}  # a bound belongs to the bucket below it
    assert counts[-1] == 1


@pytest.mark.parametrize(("share", "place"), [(0.5, 499), (0.9, 899), (0.99, 989)])
def test_quantiles_lie_in_the_right_bucket(share, place):
    values = np.sort(np.random.default_rng(1).lognormal(2.0, 1.0, 1000))
    metrics = Metrics()
    for value in values:
        metrics.answered(0, [item(way(float(value)))], None)
    histogram = stages_of(metrics)["predict"]
    lower, upper = bucket_of(values[place])
    assert lower <= histogram.quantile_ms(share) <= upper
    assert histogram.mean_ms == pytest.approx(values.mean())
    assert histogram.max_ms == values.max()


def test_quantiles_grow_and_end_at_the_maximum():
    histogram = Histogram((0, 5, 0, 7, *[0] * (len(BOUNDS_MS) - 4), 2), sum_ms=200_000.0, max_ms=90_000.0)
    found = [histogram.quantile_ms(share / 100) for share in range(101)]
    assert found == sorted(found)
    assert found[-1] == 90_000.0
    assert found[0] == BOUNDS_MS[0]


def test_a_quantile_is_never_above_the_maximum():
    metrics = Metrics()
    metrics.answered(0, [item(way(predict_ms=5.5))], None)  # in the bucket from 5 to 10
    assert stages_of(metrics)["predict"].quantile_ms(0.99) <= 5.5


def test_a_cached_tensor_counts_in_no_stage_that_it_skipped():
    metrics = Metrics()
    metrics.answered(0, [item(cached_way())], None)
    metrics.answered(0, [item(way(wait_ms=4.0))], None)
    stages = stages_of(metrics)
    assert [stages[name].count for name in STAGES] == [1, 1, 1, 2, 2, 2, 2]
    assert stages["wait"].mean_ms == pytest.approx(4.0)  # that of the cached one begins at its arrival


def test_many_answers_give_what_few_give():
    """Folding by the hundred loses nothing and mixes up no slots."""
    metrics, table = Metrics(), LatencyTable()
    ways = [way(predict_ms=1.0 + index % 90) for index in range(3 * FOLD_AT + 7)]
    for index, timings in enumerate(ways):
        metrics.answered(index % 5, [item(timings)], None)
        table.fold([index % 5], [time.perf_counter()], [timings])
    for slot in metrics.snapshot(gauges()).slots:
        alone = table.stages(slot.index)["predict"]
        assert slot.stages["predict"].counts == alone.counts
        assert slot.stages["predict"].sum_ms == pytest.approx(alone.sum_ms)
        assert slot.stages["predict"].max_ms == alone.max_ms
    assert metrics.snapshot(gauges()).answered == {OK: len(ways)}


def test_a_snapshot_changes_nothing():
    metrics = Metrics()
    metrics.answered(2, [item(way())], None)
    first, second = (metrics.snapshot(gauges(2)) for _ in range(2))
    assert first.slots == second.slots
    metrics.answered(2, [item(way())], None)
    assert second.slots[0].requests == 1  # a snapshot stays as it is


def test_batch_sizes_count_calls_and_not_items():
    metrics = Metrics()
    for _ in range(3):
        metrics.answered(0, [item(way(), 4)] * 4, None)  # an INFER_BATCH that was one call
    for _ in range(8):
        metrics.answered(0, [item(way(), 8)], None)  # eight requests that were merged into one
    metrics.answered(0, [item(way())], None)
    [slot] = metrics.snapshot(gauges(0)).as_fields()["slots"]
    assert slot["batchSizes"] == {"1": 1, "4": 3, "8": 1}
    assert (slot["requests"], slot["items"]) == (12, 21)


def test_a_call_counts_with_its_first_answer_and_once():
    metrics = Metrics()
    for expected in (1, 1, 1, 2):
        metrics.answered(0, [item(way(), 3)], None)
        assert metrics.snapshot(gauges(0)).slots[0].calls == {3: expected}


def test_errors_count_by_code_and_leave_the_times_alone():
    metrics = Metrics()
    metrics.answered(1, [item(way())], None)
    metrics.answered(1, [item(way())], ErrorCode.DEADLINE_EXCEEDED)
    metrics.answered(1, [], ErrorCode.OVERLOADED)
    metrics.answered(None, [], ErrorCode.BAD_REQUEST)
    metrics.answered(None, [], None)
    fields = metrics.snapshot(gauges()).as_fields()
    assert fields["requests"] == {"bad_request": 1, "deadline_exceeded": 1, "ok": 2, "overloaded": 1}
    [slot] = fields["slots"]
    assert slot["errors"] == {"deadline_exceeded": 1, "overloaded": 1}
    assert (slot["requests"], slot["items"]) == (3, 1)
    assert {stage["count"] for stage in slot["stages"].values()} == {1}
    assert json.loads(json.dumps(fields)) == fields


def test_failed_items_of_an_answered_batch_count_apart():
    metrics = Metrics()
    undecodable = Timings(time.perf_counter())
    unreadable = way()
    unreadable.postprocess_ms = 0.0  # its postprocess raised
    metrics.answered(0, [item(way(), 2), item(undecodable), item(unreadable, 2)], None)
    [slot] = metrics.snapshot(gauges(0)).slots
    assert (slot.requests, slot.items, slot.failed_items) == (1, 1, 2)
    assert slot.calls == {2: 1}
    assert slot.stages["total"].count == slot.stages["decode"].count == 1


def test_items_are_not_kept():
    metrics = Metrics()

    class Watched(Item, weakref=True, eq=False):
        """An item whose end can be seen."""

    watched = Watched(SPENT, KEY, OPTIONS, None, way())
    metrics.answered(0, [watched], None)
    gone = weakref.ref(watched)
    del watched
    gc.collect()
    assert gone() is None
    assert stages_of(metrics)["total"].count == 1


def test_slots_with_a_model_are_told_before_they_have_answered():
    [idle] = Metrics().snapshot(gauges(3)).as_fields()["slots"]
    assert idle["index"] == 3
    assert idle["queue"] == {"waiting": 4, "preparing": 3, "ready": 2, "predicting": 1}
    assert idle["stages"] == {name: {"count": 0} for name in STAGES}


def test_a_slot_without_a_model_keeps_its_counts_and_has_no_queue():
    metrics = Metrics()
    metrics.answered(3, [item(way())], None)
    [unloaded] = metrics.snapshot(gauges()).as_fields()["slots"]
    assert unloaded["requests"] == 1
    assert "queue" not in unloaded


def test_the_rest_is_passed_on():
    fields = Metrics().snapshot(gauges()).as_fields()
    assert fields["uptimeMs"] == 1234.5
    assert fields["inFlight"] == {"requests": 6, "bytes": 600, "commands": 1, "streams": 2}
    assert fields["logs"] == {"dropped": 9}
    assert fields["cache"] == {
        "bytes": 100,
        "budgetBytes": 1000,
        "frames": 2,
        "hits": 5,
        "misses": 1,
        "evicted": 3,
        "tensorHits": 7,
        "tensorMisses": 4,
    }


def keys_of(fields):
    """Yield every key of the command's answer, at any depth, but not indexes, codes and sizes."""
    for key, value in fields.items():
        yield key
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict) and key not in {"requests", "errors", "batchSizes"}:
                yield from keys_of(inner)


def test_the_reference_has_every_key():
    metrics = Metrics()
    metrics.answered(0, [item(way())], None)
    text = (ROOT / "docs/metrics.md").read_text("utf-8")
    assert [key for key in keys_of(metrics.snapshot(gauges(0)).as_fields()) if f"`{key}`" not in text] == []


def test_the_process_tells_what_it_uses():
    before = process_figures()
    ballast = np.ones(64 << 20, np.uint8)
    stop = threading.Event()
    helper = threading.Thread(target=stop.wait)
    helper.start()
    with open(os.devnull, "rb"):
        during = process_figures()
    stop.set()
    helper.join()
    assert during.resident_bytes - before.resident_bytes == pytest.approx(ballast.nbytes, rel=0.1)
    assert during.peak_bytes >= during.resident_bytes * 0.99
    assert during.threads == before.threads + 1
    assert during.open_files == before.open_files + 1
    assert during.cpu_seconds > before.cpu_seconds > 0


def test_without_proc_only_what_is_known_is_told(tmp_path):
    figures = process_figures(tmp_path)
    assert figures.resident_bytes is figures.threads is figures.open_files is None
    assert figures.peak_bytes > 1 << 20
    told = MetricsSnapshot(gauges(), {}, (), figures).as_fields()["process"]
    assert set(told) == {"cpuSeconds", "peakBytes"}
    assert told["cpuSeconds"] > 0


def test_the_prometheus_library_is_not_imported_with_the_metrics():
    script = "import sys, worker.metrics_server, worker.prometheus; print('prometheus_client' in sys.modules)"
    found = run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


class TestFrameCacheCounters:
    """The counters that the frame cache keeps for the metrics."""

    def cache(self, budget=1000):
        return FrameCache(budget, lambda frame, options: Pixels(np.zeros((8, 8), np.uint8), PixelFormat.GRAY))

    def frame(self, nbytes=300):
        return Frame(memoryview(bytes(nbytes)), 0, 0, PixelFormat.ENCODED)

    def tensor(self):
        return Prepared(np.zeros(100, np.uint8), GEOMETRY)

    def test_looking_a_frame_up(self):
        cache = self.cache()
        cache.put(1, self.frame())
        for frame_id in (1, 1, 2):
            cache.get(frame_id)
        assert (cache.hits, cache.misses) == (2, 1)

    def test_only_what_the_budget_drops_is_evicted(self):
        cache = self.cache(budget=1000)
        for frame_id in range(5):
            cache.put(frame_id, self.frame())
        assert cache.evicted == 2
        cache.put(4, self.frame())  # in place of an older one
        cache.remove(4)
        assert cache.evicted == 2

    def test_a_dropped_tensor_is_no_evicted_frame(self):
        cache = self.cache(budget=450)
        entry = cache.put(1, self.frame())
        entry.prepare(KEY, self.tensor)
        cache.get(1)
        entry.prepare(PreparedKey(2, KEY.options, KEY.decode), self.tensor)  # no room for both
        assert (len(cache), cache.evicted) == (1, 0)

    def test_a_tensor_is_missed_where_it_is_made(self):
        cache = self.cache()
        entry = cache.put(1, self.frame())
        assert entry.prepared(KEY) is None  # what asks first prepares it afterwards: one miss
        entry.prepare(KEY, self.tensor)
        assert (cache.tensor_hits, cache.tensor_misses) == (0, 1)
        entry.prepare(KEY, self.tensor)
        assert entry.prepared(KEY) is not None
        assert (cache.tensor_hits, cache.tensor_misses) == (2, 1)

    def test_pixels_are_no_tensors(self):
        cache = self.cache()
        entry = cache.put(1, self.frame())
        for _ in range(2):
            entry.pixels(DecodeOptions())
        assert (cache.tensor_hits, cache.tensor_misses) == (0, 0)

    def test_whoever_waits_for_a_tensor_has_found_it(self):
        cache = self.cache()
        entry = cache.put(1, self.frame())
        begun, may_end = threading.Event(), threading.Event()

        def slowly():
            begun.set()
            assert may_end.wait(30)
            return self.tensor()

        makers = [threading.Thread(target=entry.prepare, args=(KEY, slowly)) for _ in range(2)]
        for maker in makers:
            maker.start()
        assert begun.wait(30)
        may_end.set()
        for maker in makers:
            maker.join()
        assert (cache.tensor_hits, cache.tensor_misses) == (1, 1)
