"""Metrics through the pipe and by HTTP: they count what was sent, and all ways tell the same."""

import socket
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

import pytest
from e2e.queues import HANG, cancel, code, codes, config, fill, metrics, send_all, sleeper, wait_queue
from prometheus_client.parser import text_string_to_metric_families
from raw_host import RawHost
from wire import (
    CACHE_FRAME,
    COMMAND,
    INFER_BATCH,
    INFER_CACHED,
    INFER_JPEG,
    INFER_RAW,
    INFER_SHARED,
    RGB,
    SMALL,
    any_item,
    any_raw,
    batch,
    cache,
    cached,
    jpeg,
    pixels,
    raw,
    shared,
)

NOOP = {"path": "fake:noop?size=32"}
FAIL = {"path": "fake:fail?size=32"}
FRAME = pixels(SMALL, SMALL)
WHITE = 255

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Return every sample of Prometheus text by its name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def of(found: Samples, name: str, **labels: str) -> float:
    return found[f"inferpipe_{name}", frozenset(labels.items())]


def prometheus(host: RawHost) -> Samples:
    answer = host.command("metrics", format="prometheus")
    assert (answer["cmd"], answer["status"]) == ("metrics", "ok")
    return samples(answer["text"])


MIX: list[tuple[tuple[int, Any], int | None, str]] = [
    ((INFER_RAW, any_raw()), 0, "ok"),
    ((INFER_RAW, any_raw(1)), 1, "inference_failed"),
    ((INFER_RAW, any_raw(2)), 2, "ok"),
    ((INFER_RAW, any_raw(9)), 9, "model_not_loaded"),
    ((INFER_RAW, raw(0, SMALL, SMALL, RGB, FRAME[:-1])), None, "bad_request"),
    ((INFER_RAW, b""), None, "bad_request"),
    ((INFER_JPEG, jpeg(0, b"garbage")), 0, "decode_failed"),
    ((INFER_BATCH, batch(0, [any_item()] * 3)), 0, "ok"),
    ((INFER_BATCH, batch(1, [any_item()] * 3)), 1, "inference_failed"),
    ((CACHE_FRAME, cache(1, SMALL, SMALL, RGB, FRAME)), None, "ok"),
    ((INFER_CACHED, cached(0, 1)), 0, "ok"),
    ((INFER_CACHED, cached(2, 1)), 2, "ok"),
    ((0x42, b""), None, "unknown_type"),
]
"""Requests, the slot that each is for, and how it ends."""


def test_what_was_sent_is_counted_by_code_and_slot(spawn):
    host = spawn(config(NOOP, FAIL, NOOP, frameCacheBytes=1 << 20))
    times = 5
    requests = [request for request, _, _ in MIX] * times
    expected = [outcome for _, _, outcome in MIX] * times
    assert codes(map(host.answer, send_all(host, requests))) == expected
    host.command("ping")

    told = metrics(host)
    assert told["requests"] == Counter(expected)
    assert told["inFlight"] == {"requests": 0, "bytes": 0, "commands": 1, "streams": 0}
    slots = {slot["index"]: slot for slot in told["slots"]}
    for index in (0, 1, 2):
        mine = Counter(outcome for _, slot, outcome in MIX if slot == index)
        assert slots[index]["requests"] == mine.total() * times
        assert slots[index]["errors"] == {name: n * times for name, n in mine.items() if name != "ok"}
        assert slots[index]["queue"] == {"waiting": 0, "preparing": 0, "ready": 0, "predicting": 0}
    assert [slots[index]["items"] for index in (0, 1, 2)] == [5 * times, 0, 2 * times]
    assert slots[0]["batchSizes"] == {"1": 5 * times}
    assert told["cache"]["frames"] == 1
    assert (told["cache"]["hits"], told["cache"]["misses"]) == (2 * times, 0)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ((INFER_CACHED, cached(0, 404)), "frame_not_cached"),
        ((INFER_SHARED, shared(0, 404, 0, SMALL, SMALL, RGB, len(FRAME))), "bad_request"),
    ],
    ids=["no frame", "no region"],
)
def test_a_request_that_names_a_slot_counts_there_however_it_fails(spawn, request_, expected):
    host = spawn(config(NOOP))
    assert host.ask(*request_)["code"] == expected
    told = metrics(host)
    assert told["requests"] == {expected: 1}
    assert told["slots"][0]["errors"] == {expected: 1}
    assert told["cache"]["misses"] == int(expected == "frame_not_cached")


def test_stages_count_each_item_and_take_as_long_as_they_take(spawn):
    host = spawn(config(sleeper(30)))
    assert codes(map(host.answer, send_all(host, [(INFER_RAW, any_raw())] * 10))) == ["ok"] * 10
    [slot] = metrics(host)["slots"]
    stages = slot["stages"]
    assert {stage["count"] for stage in stages.values()} == {10}
    assert stages["predict"]["meanMs"] >= 30
    assert stages["predict"]["meanMs"] <= stages["predict"]["maxMs"] <= stages["total"]["maxMs"]
    assert stages["total"]["maxMs"] >= 10 * 30  # the last one has waited for the others
    parts = sum(stages[name]["meanMs"] for name in stages if name != "total")
    assert stages["total"]["meanMs"] >= 0.99 * parts


@pytest.mark.parametrize(
    ("mode", "expected"), [("none", {"1": 12}), ("list", {"3": 1, "4": 1, "5": 1}), ("adaptive", None)]
)
def test_batch_sizes_count_predict_calls(spawn, mode, expected):
    host = spawn(config(NOOP, batch_mode=mode))
    for count in (3, 4, 5):
        host.ask(INFER_BATCH, batch(0, [any_item()] * count))
    [slot] = metrics(host)["slots"]
    assert slot["items"] == 12
    if expected is None:
        assert sum(int(size) * calls for size, calls in slot["batchSizes"].items()) >= 12
    else:
        assert slot["batchSizes"] == expected


def test_a_batch_that_failed_in_part_is_no_error_but_its_items_count(spawn):
    host = spawn(config({"path": "fake:fail_item?size=32"}, batch_mode="list"))
    results = host.ask(INFER_BATCH, batch(0, [any_item(), any_item(WHITE), any_item()]))["results"]
    assert codes(results) == ["ok", "inference_failed", "ok"]
    told = metrics(host)
    assert told["requests"] == {"ok": 1}
    [slot] = told["slots"]
    assert (slot["requests"], slot["items"], slot["failedItems"], slot["errors"]) == (1, 2, 1, {})


def test_tensors_of_a_cached_frame_are_made_once_for_each_model(spawn):
    host = spawn(config(NOOP, NOOP))
    host.ask(CACHE_FRAME, cache(1, SMALL, SMALL, RGB, FRAME))
    for _ in range(10):
        for model in (0, 1):
            assert "error" not in host.ask(INFER_CACHED, cached(model, 1))
    told = metrics(host)["cache"]
    assert (told["hits"], told["misses"]) == (20, 0)
    assert (told["tensorHits"], told["tensorMisses"]) == (18, 2)
    assert 0 < told["bytes"] <= told["budgetBytes"]


def test_the_queue_tells_what_waits_where(spawn):
    host = spawn(config(HANG))
    ids = fill(host, INFER_RAW, any_raw())
    ids += send_all(host, [(INFER_RAW, any_raw())] * 5)
    wait_queue(host, waiting=5, preparing=0, ready=2, predicting=1)
    told = metrics(host)
    assert told["inFlight"]["requests"] == 8
    assert told["inFlight"]["bytes"] == 8 * len(any_raw())
    assert told["requests"] == {}
    assert cancel(host, ids[-1]) == 1
    assert metrics(host)["requests"] == {"cancelled": 1}
    found = prometheus(host)
    waits = [of(found, f"queue_{name}_items", slot="0") for name in ("waiting", "preparing", "ready")]
    assert [*waits, of(found, "predict_calls_running", slot="0")] == [4, 0, 2, 1]


def test_counts_outlive_replace_and_unload(spawn):
    host = spawn(config(NOOP))
    host.ask(INFER_RAW, any_raw())
    assert host.command("replace", index=0, config=NOOP)["status"] == "ok"
    host.ask(INFER_RAW, any_raw())
    host.command("unload", index=0)
    host.ask(INFER_RAW, any_raw())
    [slot] = metrics(host)["slots"]
    assert (slot["requests"], slot["items"], slot["errors"]) == (3, 2, {"model_not_loaded": 1})
    assert "queue" not in slot


def agree(found: Samples, told: dict[str, Any]) -> None:
    """Compare what Prometheus text and JSON count."""
    counts = Counter[str]()
    for (name, labels), value in found.items():
        if name == "inferpipe_requests_total":
            counts[dict(labels)["code"]] += int(value)
    assert counts == told["requests"]
    for slot in told["slots"]:
        index = str(slot["index"])
        assert of(found, "items_total", slot=index) == slot["items"]
        assert of(found, "predict_batch_size_count", slot=index) == sum(slot["batchSizes"].values())
        assert of(found, "item_duration_seconds_count", slot=index) == slot["stages"]["total"]["count"]
        for stage in ("queue", "prepare", "wait", "predict"):
            fields = slot["stages"][stage]
            if not fields["count"]:
                continue
            total_ms = fields["count"] * fields["meanMs"]
            seconds = of(found, "stage_duration_seconds_sum", slot=index, stage=stage)
            assert seconds * 1000 == pytest.approx(total_ms, abs=0.001 * fields["count"] + 0.001)
    for name, key in (("hits_total", "hits"), ("misses_total", "misses"), ("frames", "frames")):
        assert of(found, f"frame_cache_{name}") == told["cache"][key]


def test_prometheus_text_can_be_read_and_agrees_with_json(spawn):
    host = spawn(config(NOOP, FAIL, NOOP))
    assert of(prometheus(host), "in_flight_requests") == 0
    for request_id in send_all(host, [request for request, _, _ in MIX] * 3):
        host.answer(request_id)
    found = prometheus(host)
    agree(found, metrics(host))
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in found.items()
        if name == "inferpipe_item_duration_seconds_bucket" and dict(labels)["slot"] == "0"
    }
    values = [buckets[bound] for bound in sorted(buckets)]
    assert values == sorted(values)
    assert values[-1] == 15


@pytest.mark.parametrize("given", [{"format": "xml"}, {"format": 1}, {"format": ["json"]}])
def test_an_unknown_format_is_a_bad_request(shared_host, given):
    assert code(shared_host(config(NOOP)).ask(COMMAND, {"cmd": "metrics"} | given)) == "bad_request"


# The port


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port: int, path: str = "/metrics") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_port_tells_what_the_command_tells(spawn):
    port = free_port()
    host = spawn(config(NOOP, FAIL, NOOP, metrics={"port": port}))
    assert host.ready["warnings"] == []
    for request_id in send_all(host, [request for request, _, _ in MIX] * 2):
        host.answer(request_id)
    status, text = get(port)
    assert status == 200
    agree(samples(text), metrics(host))
    assert get(port, "/")[0] == get(port, "/metric")[0] == 404
    assert host.finish() == 0
    with pytest.raises(OSError, match="refused"):
        get(port)


def test_the_port_answers_while_a_model_hangs(spawn):
    port = free_port()
    host = spawn(config(HANG, metrics={"port": port}))
    fill(host, INFER_RAW, any_raw())
    for _ in range(20):
        status, text = get(port)
        assert status == 200
        assert of(samples(text), "predict_calls_running", slot="0") == 1


def test_the_port_listens_on_this_machine_alone(spawn):
    port = free_port()
    spawn(config(NOOP, metrics={"port": port}))
    with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_a_port_that_is_in_use_is_a_warning_and_no_end(spawn):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        host = spawn(config(NOOP, metrics={"port": port}))
        [warning] = host.ready["warnings"]
        assert "metrics.port" in warning
        assert str(port) in warning
        assert "error" not in host.ask(INFER_RAW, any_raw())
        assert metrics(host)["requests"] == {"ok": 1}


def test_the_ready_answer_says_that_metrics_are_served(spawn):
    assert {"metrics", "cancel", "shared"} <= set(spawn(config(NOOP)).ready["features"])
