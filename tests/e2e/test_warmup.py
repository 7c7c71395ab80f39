"""The command `warmup`: a slot is ready to be quick when it is answered."""

import pytest
from e2e.queues import cancel, codes, config, metrics, send_pictures, sleeper
from wire import COMMAND, INFER_RAW, any_raw

NOOP = {"path": "fake:noop?size=32"}


@pytest.mark.parametrize("mode", ["none", "window", "adaptive"])
@pytest.mark.parametrize("given", [{}, {"runs": None}, {"runs": 7}])
def test_it_is_answered_when_its_runs_are_done(shared_host, mode, given):
    host = shared_host(config(NOOP, batch_mode=mode, window_ms=60_000, max_batch_size=4))
    answer = host.command("warmup", index=0, **given)
    took = answer.pop("warmupMs")
    assert answer == {"cmd": "warmup", "index": 0, "status": "ok"}
    assert took > 0


def test_it_takes_as_long_as_so_many_pictures(spawn):
    host = spawn(config(sleeper(40)))
    assert host.command("warmup", index=0)["warmupMs"] >= 40
    assert host.command("warmup", index=0, runs=10)["warmupMs"] >= 10 * 40


def test_as_many_pictures_run_as_it_says_with_several_predict_threads(spawn):
    """One after another: whichever thread runs them, they take that long together."""
    host = spawn(config(sleeper(40), concurrency=2))
    requests = send_pictures(host, [None] * 4)
    assert codes(map(host.answer, requests)) == ["ok"] * 4
    assert host.command("warmup", index=0, runs=5)["warmupMs"] >= 5 * 40


def test_it_counts_as_no_request(spawn):
    host = spawn(config(NOOP))
    host.command("warmup", index=0, runs=20)
    told = metrics(host)
    assert told["requests"] == {}
    [slot] = told["slots"]
    assert (slot["items"], slot["batchSizes"]) == (0, {})


@pytest.mark.parametrize("index", [0, 3, 255])
def test_a_slot_without_a_model_is_not_loaded(spawn, index):
    host = spawn(config())
    answer = host.command("warmup", index=index)
    assert answer == {
        "cmd": "warmup",
        "index": index,
        "status": "error",
        "error": f"Model {index} not loaded",
        "code": "model_not_loaded",
    }


def test_it_waits_for_the_load_before_it(spawn):
    host = spawn(config())
    load = {"cmd": "load", "index": 0, "config": {"path": "fake:slowload?size=32&ms=500"}}
    loaded, warmed, unloaded, late = host.together(
        (COMMAND, load),
        (COMMAND, {"cmd": "warmup", "index": 0, "runs": 3}),
        (COMMAND, {"cmd": "unload", "index": 0}),
        (COMMAND, {"cmd": "warmup", "index": 0}),
    )
    assert [loaded["status"], warmed["status"], unloaded["status"]] == ["ok"] * 3
    assert late["code"] == "model_not_loaded"


def test_a_load_that_fails_fails_it(spawn):
    host = spawn(config())
    load = {"cmd": "load", "index": 0, "config": {"path": "fake:loadfail"}}
    _, warmed = host.together((COMMAND, load), (COMMAND, {"cmd": "warmup", "index": 0}))
    assert warmed["code"] == "model_not_loaded"


def test_a_model_that_fails_fails_it(spawn):
    host = spawn(config({"path": "fake:fail?size=32"}))
    answer = host.command("warmup", index=0, runs=3)
    assert (answer["status"], answer["code"]) == ("error", "inference_failed")
    assert answer["error"]
    assert "warmupMs" not in answer
    assert host.ask(INFER_RAW, any_raw())["code"] == "inference_failed"


def test_unload_and_replace_let_it_end(spawn):
    host = spawn(config(sleeper(20)))
    for after in ({"cmd": "replace", "index": 0, "config": NOOP}, {"cmd": "unload", "index": 0}):
        warmed, done = host.together((COMMAND, {"cmd": "warmup", "index": 0, "runs": 10}), (COMMAND, after))
        assert (warmed["status"], done["status"]) == ("ok", "ok")


def test_requests_are_served_meanwhile_and_it_cannot_be_cancelled(spawn):
    host = spawn(config(sleeper(20)))
    warming = host.request(COMMAND, {"cmd": "warmup", "index": 0, "runs": 30})
    assert codes(map(host.answer, send_pictures(host, [None] * 5))) == ["ok"] * 5
    assert not host.is_answered(warming)
    assert cancel(host, warming) == 0
    assert host.answer(warming)["status"] == "ok"


def test_the_end_does_not_wait_for_a_thousand_runs(spawn):
    host = spawn(config(sleeper(50), limits={"drainTimeoutMs": 300}))
    warming = host.request(COMMAND, {"cmd": "warmup", "index": 0, "runs": 1000})
    host.command("ping")
    assert host.finish() == 0
    assert host.answer(warming)["code"] == "shutting_down"


@pytest.mark.parametrize(
    "fields",
    [{}, {"index": None}, {"index": 256}, {"index": -1}, {"index": 0, "runs": 0}, {"index": 0, "runs": 1001}],
)
def test_what_cannot_be_read_is_a_bad_request(shared_host, fields):
    answer = shared_host(config(NOOP)).command("warmup", **fields)
    assert (answer["cmd"], answer["status"], answer["code"]) == ("unknown", "error", "bad_request")
