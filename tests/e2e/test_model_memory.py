"""Models that nobody asks for go and come back; a budget holds; what a model took goes back to the system."""

import itertools
import statistics
import threading
import time
from typing import Any

import pytest
from contract import tiny_onnx
from e2e.queues import codes, send_pictures, slot_metrics
from e2e.test_idle import WAKE_UPS_A_SECOND, wake_ups
from raw_host import DEADLINE_S, RawHost
from wire import (
    CACHE_FRAME,
    COMMAND,
    INFER_BATCH,
    INFER_CACHED,
    INFER_RAW,
    RGB,
    any_item,
    any_raw,
    batch,
    cache,
    pixels,
)
from wire import cached as cached_frame

MIB = 1 << 20
IDLE_MS = 300
INFER = (INFER_RAW, any_raw())

Config = dict[str, Any]


def model(mb: int = 0, label: str = "", **config: Any) -> Config:
    """Return a model of so many mebibytes, which the load measures with a few more."""
    weight = f"&mb={mb}" if mb else ""
    return {"path": f"fake:echo?size=32&labels={label}{weight}", **config}


def start(spawn: Any, *models: Config, budget: int | None = None, **settings: Any) -> RawHost:
    limits = {"limits": {"modelMemoryBytes": budget * MIB}} if budget else {}
    return spawn({"protocol": 3, "runtime": "fake", "models": list(models), **limits, **settings})


def slots(host: RawHost) -> list[dict[str, Any]]:
    return host.command("status")["slots"]


def states(host: RawHost) -> list[str]:
    return [slot["state"] for slot in slots(host)]


def wait_state(host: RawHost, state: str, index: int = 0) -> dict[str, Any]:
    until = time.monotonic() + DEADLINE_S
    while (slot := slots(host)[index])["state"] != state:
        assert time.monotonic() < until, slot
        time.sleep(0.01)
    return slot


def wait_resident(host: RawHost, below: int) -> None:
    until = time.monotonic() + DEADLINE_S
    while host.resident_bytes > below:
        assert time.monotonic() < until, f"{host.resident_bytes / MIB:.0f} MiB, expected {below / MIB:.0f}"
        time.sleep(0.01)


def load(config: Config, index: int = 0, cmd: str = "load") -> tuple[int, dict[str, Any]]:
    return COMMAND, {"cmd": cmd, "index": index, "config": config}


def unload(index: int = 0) -> tuple[int, dict[str, Any]]:
    return COMMAND, {"cmd": "unload", "index": index}


LOADFAIL = {"path": "fake:loadfail"}


# ---- idle models ----


def test_an_idle_model_goes_with_its_memory_and_comes_back_with_a_request(spawn):
    config = model(mb=128, idleUnloadMs=IDLE_MS)
    host = start(spawn, config)
    assert host.ready["slots"][0]["memoryBytes"] >= 128 * MIB
    resident = host.resident_bytes

    slot = wait_state(host, "empty")
    assert (slot["loaded"], slot["error"], slot["path"]) == (False, None, config["path"])
    assert "0.3 s without a request" in slot["reason"]
    assert "next request" in slot["reason"]
    wait_resident(host, resident - 120 * MIB)

    assert host.ask(*INFER)["detections"] is not None
    slot = slots(host)[0]
    assert (slot["state"], slot["loaded"], "reason" in slot) == ("ready", True, False)
    assert host.resident_bytes > resident - 20 * MIB
    assert slot_metrics(host)["requests"] == 1


def test_a_model_without_the_key_and_a_pinned_one_stay(spawn):
    host = start(spawn, model(), model(idleUnloadMs=100, pinned=True), model(idleUnloadMs=100))
    wait_state(host, "empty", 2)
    time.sleep(0.3)
    assert states(host) == ["ready", "ready", "empty"]


def test_requests_and_work_keep_a_model(spawn):
    sleepy = {"path": "fake:sleep?size=32&ms=1500", "idleUnloadMs": IDLE_MS}
    host = start(spawn, model(idleUnloadMs=IDLE_MS), sleepy, concurrency=2)
    long = host.request(INFER_RAW, any_raw(1))
    until = time.monotonic() + 2 * IDLE_MS / 1000
    while time.monotonic() < until:
        host.ask(*INFER)
        assert states(host) == ["ready", "ready"]
    assert not host.is_answered(long)
    assert "detections" in host.answer(long)


# What comes in one write to a model that sleeps, and how each comes out.
SLEEPING = {
    "requests": ([INFER, (INFER_BATCH, batch(0, [any_item()] * 3)), INFER], ["ok"] * 3),
    "unload before a request": ([unload(), INFER], ["ok", "model_not_loaded"]),
    "unload behind a request": ([INFER, unload(), INFER], ["ok", "ok", "model_not_loaded"]),
    "a load": ([load(model()), INFER], ["ok", "ok"]),
    "a replace that fails": ([load(LOADFAIL, cmd="replace"), INFER], ["model_not_loaded", "ok"]),
    "a load that fails": ([load(LOADFAIL), INFER], ["model_not_loaded", "ok"]),
    "a request, then a replace that fails": (
        [INFER, load(LOADFAIL, cmd="replace"), INFER, INFER],
        ["ok", "model_not_loaded", "ok", "ok"],
    ),
    "a replace that fails, then one that does not": (
        [load(LOADFAIL), INFER, load(model()), INFER],
        ["model_not_loaded", "ok", "ok", "ok"],
    ),
    "a replace that fails, then unload": (
        [load(LOADFAIL), INFER, unload(), INFER],
        ["model_not_loaded", "model_not_loaded", "ok", "model_not_loaded"],
    ),
    "a warm-up": ([(COMMAND, {"cmd": "warmup", "index": 0}), INFER], ["ok", "ok"]),
    "an unknown frame": ([(INFER_CACHED, cached_frame(0, 99))], ["frame_not_cached"]),
    "a cached frame": (
        [(CACHE_FRAME, cache(1, 16, 16, RGB, pixels(16, 16))), (INFER_CACHED, cached_frame(0, 1))],
        ["ok", "ok"],
    ),
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", SLEEPING)
def test_the_order_of_effects_holds_for_a_model_that_sleeps(shared_host, protocol, name):
    host = shared_host({"runtime": "fake", "protocol": protocol})
    host.command("unload", index=0)
    host.command("load", index=0, config=model(idleUnloadMs=20))
    wait_state(host, "empty")
    requests, outcomes = SLEEPING[name]

    assert codes(host.together(*requests)) == outcomes


def test_a_replace_that_fails_leaves_a_sleeping_model_as_it_was(spawn):
    host = start(spawn, model(label="old", idleUnloadMs=50))
    before = wait_state(host, "empty")
    for path in ("fake:loadfail", "fake:nan?size=32"):
        assert host.command("replace", index=0, config={"path": path})["status"] == "error"
        assert slots(host)[0] == before
    assert codes([host.ask(*INFER)]) == ["ok"]


def test_a_replace_that_is_slow_may_fail_after_the_old_model_has_gone(spawn):
    host = start(spawn, model(idleUnloadMs=50))
    wait_state(host, "empty")
    [failed, *answers] = host.together(load({"path": "fake:warmfail?size=32&load_ms=400"}), *[INFER] * 5)
    assert failed["code"] == "model_not_loaded"
    assert codes(answers) == ["ok"] * 5


def test_a_reload_that_fails_is_tried_again_by_the_next_request(spawn, tmp_path):
    path = tiny_onnx.means(tmp_path / "m.onnx")
    config = {"path": str(path), "postprocessor": "raw", "runtime": "onnxruntime", "idleUnloadMs": 50}
    host = start(spawn, config)
    wait_state(host, "empty")
    moved = path.rename(tmp_path / "away.onnx")
    assert codes(host.together(INFER, INFER)) == ["model_not_loaded"] * 2
    slot = slots(host)[0]
    assert (slot["loaded"], slot["path"]) == (False, str(path))
    assert "no such file" in slot["error"].lower()
    moved.rename(path)
    assert codes([host.ask(*INFER)]) == ["ok"]
    assert slots(host)[0]["error"] is None


def test_models_that_come_and_go_under_traffic_answer_every_request_once(spawn):
    host = start(spawn, *[model(label=f"m{slot}", idleUnloadMs=5) for slot in range(3)], concurrency=2)
    seen_asleep = threading.Event()
    sent: list[list[int]] = [[] for _ in range(3)]

    def ask(slot: int) -> None:
        for turn in range(60):
            burst = [host.request(INFER_RAW, any_raw(slot)) for _ in range(1 + turn % 3)]
            for request_id in burst:
                assert "detections" in host.answer(request_id)
            sent[slot] += burst
            time.sleep((turn % 4) * 0.005)

    threads = [threading.Thread(target=ask, args=(slot,)) for slot in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if "empty" in states(host):
            seen_asleep.set()
        time.sleep(0.002)
    assert seen_asleep.is_set()
    assert [len(ids) for ids in sent] == [120] * 3
    assert [slot_metrics(host, slot)["requests"] for slot in range(3)] == [120] * 3
    assert host.untaken() == {}


def test_a_worker_that_waits_for_idle_models_sleeps(spawn):
    host = start(spawn, model(idleUnloadMs=60_000), model(idleUnloadMs=70_000), model(idleUnloadMs=50))
    wait_state(host, "empty", 2)
    time.sleep(0.5)
    before = wake_ups(host.process.pid)
    time.sleep(3)
    assert wake_ups(host.process.pid) - before <= 3 * WAKE_UPS_A_SECOND


# ---- bounds ----


def test_the_least_recently_used_model_makes_room(spawn):
    host = start(spawn, model(100), model(100), model(100), budget=350)
    assert states(host) == ["ready"] * 3
    for slot in (0, 2, 1):
        host.ask(INFER_RAW, any_raw(slot))

    assert host.command("load", index=3, config=model(100))["status"] == "ok"
    for asked, gone in [(3, 0), (0, 2), (2, 1), (1, 3), (3, 0)]:
        assert codes([host.ask(INFER_RAW, any_raw(asked))]) == ["ok"]
        found = slots(host)
        assert [slot["index"] for slot in found if slot["state"] == "empty"] == [gone]
        assert f"room for slot {asked}" in found[gone]["reason"]
    assert sum(slot.get("memoryBytes", 0) for slot in slots(host)) <= 350 * MIB


def test_pinned_and_busy_models_stay(spawn):
    busy = {"path": "fake:sleep?size=32&mb=100&ms=1500"}
    host = start(spawn, model(100, pinned=True), busy, model(100), budget=350, concurrency=2)
    host.ask(INFER_RAW, any_raw(2))
    at_work = host.request(INFER_RAW, any_raw(1))
    while not slot_metrics(host, 1)["queue"]["predicting"]:
        time.sleep(0.005)
    host.ask(INFER_RAW, any_raw(2))  # now the others are the ones that were used less recently

    assert host.command("load", index=3, config=model(100))["status"] == "ok"
    assert states(host) == ["ready", "ready", "empty", "ready"]
    assert codes([host.answer(at_work)]) == ["ok"]


def test_a_budget_that_is_too_small(spawn):
    host = start(spawn, model(100, pinned=True), model(60), budget=250)
    refused = host.command("load", index=2, config=model(180))
    assert (refused["status"], refused["code"]) == ("error", "too_large")
    for word in ("250 MiB", "modelMemoryBytes", "pinned", "raise it"):
        assert word in refused["error"]
    assert refused["slot"]["error"] == refused["error"]
    # What could not have helped has not been unloaded.
    assert states(host) == ["ready", "ready", "empty"]
    assert codes([host.ask(INFER_RAW, any_raw(2))]) == ["model_not_loaded"]

    kept = host.command("replace", index=1, config=model(180))
    assert (kept["code"], kept["slot"]["loaded"]) == ("too_large", True)
    assert codes([host.ask(INFER_RAW, any_raw(1))]) == ["ok"]
    assert host.command("replace", index=1, config=model(120))["status"] == "ok"


def test_a_refused_model_gives_its_memory_back(spawn):
    host = start(spawn, budget=50)
    host.command("load", index=0, config=model(8))
    resident = host.resident_bytes
    for _ in range(5):
        assert host.command("load", index=0, config=model(200))["code"] == "too_large"
    wait_resident(host, resident + 20 * MIB)


def test_a_model_over_its_own_bound(spawn):
    host = start(spawn, model(8, label="old", maxMemoryBytes=40 * MIB))
    for cmd in ("load", "replace"):
        refused = host.command(cmd, index=0, config=model(128, maxMemoryBytes=40 * MIB))
        assert refused["code"] == "too_large"
        for word in ("maxMemoryBytes", "40 MiB", "raise it"):
            assert word in refused["error"]
        assert refused["slot"]["loaded"] is True
    assert host.command("load", index=1, config=model(128, maxMemoryBytes=200 * MIB))["status"] == "ok"


def test_models_with_bounds_that_load_at_once_are_measured_each_by_itself(spawn):
    host = start(spawn, *[model(60, maxMemoryBytes=90 * MIB) for _ in range(6)])
    assert [slot["error"] for slot in host.ready["slots"]] == [None] * 6
    assert all(55 * MIB < slot["memoryBytes"] < 90 * MIB for slot in host.ready["slots"])


# ---- nothing is left behind ----


def test_two_hundred_loads_and_unloads_leave_the_memory_flat(spawn, tmp_path):
    path = tiny_onnx.means(tmp_path / "m.onnx", ("batch", 3, 64, 64))
    host = start(spawn, concurrency=2)
    config = {"path": str(path), "postprocessor": "raw", "runtime": "onnxruntime"}
    figures = []
    for _ in range(200):
        assert host.command("load", index=0, config=config)["status"] == "ok"
        assert codes(map(host.answer, send_pictures(host, [None] * 4))) == ["ok"] * 4
        host.command("unload", index=0)
        figures.append(host.resident_bytes)
    warm, last = statistics.median(figures[40:60]), statistics.median(figures[180:])
    assert last - warm < 3 * MIB, [figure // MIB for figure in itertools.islice(figures, 0, None, 20)]


def test_the_threads_and_files_of_models_that_have_gone_are_gone(spawn, tmp_path):
    path = tiny_onnx.means(tmp_path / "m.onnx")
    host = start(spawn, concurrency=2)
    config = {"path": str(path), "postprocessor": "raw", "runtime": "onnxruntime", "idleUnloadMs": 1}
    host.command("load", index=0, config=config)
    wait_state(host, "empty")
    before = host.command("metrics")["metrics"]["process"]
    for _ in range(30):
        assert codes([host.ask(*INFER)]) == ["ok"]
        wait_state(host, "empty")
    until = time.monotonic() + DEADLINE_S
    while (after := host.command("metrics")["metrics"]["process"])["threads"] > before["threads"]:
        assert time.monotonic() < until, (before, after)
        time.sleep(0.05)
    assert after["openFiles"] <= before["openFiles"]
