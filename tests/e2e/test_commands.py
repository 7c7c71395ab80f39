"""Commands one by one: what they answer and what they leave."""

import pytest
from wire import CACHE_FRAME, INFER_CACHED, INFER_RAW, RGB, any_raw, cache, cached, pixels, raw

NOOP = {"path": "fake:noop?size=32"}
LABELLED = {"path": "fake:noop?size=32&labels=cat"}
LOADFAIL = {"path": "fake:loadfail"}
SLOWLOAD = {"path": "fake:slowload?size=32"}


@pytest.fixture(params=[2, 3], ids=["v2", "v3"])
def protocol(request):
    return request.param


@pytest.fixture
def host(spawn, protocol):
    return spawn({"protocol": protocol, "runtime": "fake", "models": [NOOP]})


@pytest.fixture
def reused(shared_host, protocol):
    """A worker that other tests used before: slot 0 serves, the next two are empty."""
    host = shared_host({"protocol": protocol, "runtime": "fake", "models": [NOOP]})
    host.command("replace", index=0, config=NOOP)
    host.command("unload", index=1)
    host.command("unload", index=2)
    return host


def works(host, model: int) -> bool:
    return "error" not in host.ask(INFER_RAW, any_raw(model))


@pytest.mark.parametrize("cmd", ["load", "replace"])
def test_load_and_replace_fill_an_empty_slot(reused, cmd):
    answer = reused.command(cmd, index=1, config=NOOP)

    assert (answer["cmd"], answer["index"], answer["status"]) == (cmd, 1, "ok")
    assert answer["loadMs"] >= 0
    assert (answer["slot"]["index"], answer["slot"]["loaded"], answer["slot"]["state"]) == (1, True, "ready")
    assert works(reused, 0)
    assert works(reused, 1)


@pytest.mark.parametrize("cmd", ["load", "replace"])
def test_load_and_replace_exchange_the_model_of_a_slot(reused, cmd):
    assert reused.command(cmd, index=0, config=LABELLED)["status"] == "ok"
    slot = reused.command("status")["slots"][0]
    assert (slot["path"], slot["labels"]) == (LABELLED["path"], ["cat"])
    assert works(reused, 0)


@pytest.mark.parametrize("cmd", ["load", "replace"])
@pytest.mark.parametrize(
    "config", [LOADFAIL, {"path": "no/such/file"}, {"path": 3}, {}, NOOP | {"confidence": 9}]
)
def test_one_that_fails_leaves_the_old_model_serving(reused, cmd, config):
    answer = reused.command(cmd, index=0, config=config)

    assert (answer["cmd"], answer["index"], answer["status"]) == (cmd, 0, "error")
    assert answer["error"]
    assert answer["code"]
    assert works(reused, 0)
    model = reused.command("status")["models"][0]
    assert model == {"index": 0, "path": NOOP["path"], "loaded": True, "postprocessor": "yolo"}


@pytest.mark.parametrize("index", [255, "7", 7.0])
def test_slots_up_to_the_index_are_made(host, index):
    answer = host.command("load", index=index, config=NOOP)

    assert (answer["status"], answer["index"]) == ("ok", int(index))
    models = host.command("status")["models"]
    assert [model["index"] for model in models] == list(range(int(index) + 1))
    assert [model["index"] for model in models if model["loaded"]] == [0, int(index)]
    assert works(host, int(index))


def test_unload_empties_a_slot_and_says_so_where_nothing_was(host):
    for index in (0, 0, 99, 255):
        assert host.command("unload", index=index) == {"cmd": "unload", "index": index, "status": "ok"}
    assert host.ask(INFER_RAW, any_raw())["code"] == "model_not_loaded"
    (model,) = host.command("status")["models"]
    assert model == {"index": 0, "path": None, "loaded": False, "postprocessor": None}
    assert host.command("load", index=0, config=NOOP)["status"] == "ok"
    assert works(host, 0)


def test_status_tells_of_every_slot(host):
    host.command("load", index=2, config=LABELLED)
    host.command("load", index=3, config=LOADFAIL)
    answer = host.command("status")

    assert (answer["cmd"], answer["status"]) == ("status", "ok")
    loaded = {"loaded": True, "postprocessor": "yolo"}
    empty = {"path": None, "loaded": False, "postprocessor": None}
    assert answer["models"] == [
        {"index": 0, "path": NOOP["path"], **loaded},
        {"index": 1, **empty},
        {"index": 2, "path": LABELLED["path"], **loaded},
        {"index": 3, **empty},
    ]
    assert [slot["state"] for slot in answer["slots"]] == ["ready", "empty", "ready", "empty"]
    assert "loadfail" in answer["slots"][3]["error"]


def test_status_waits_for_loads_for_v2_hosts_and_shows_them_to_v3_hosts(host, protocol):
    loading, status = host.together(
        (0, {"cmd": "load", "index": 1, "config": SLOWLOAD}), (0, {"cmd": "status"})
    )
    assert loading["status"] == "ok"
    states = [slot["state"] for slot in status["slots"]]
    assert states == (["ready", "ready"] if protocol == 2 else ["ready", "loading"])
    assert status["models"][1]["loaded"] is (protocol == 2)
    assert host.command("status")["slots"][1]["state"] == "ready"


def test_uncache_frame_frees_an_id_and_says_so_where_nothing_was(reused):
    reused.ask(CACHE_FRAME, cache(8, 16, 16, RGB, pixels(16, 16)))
    for frame_id in (8, 8, 0, 0xFFFF_FFFF):
        answer = reused.command("uncache_frame", frameId=frame_id)
        assert answer == {"cmd": "uncache_frame", "status": "ok", "frameId": frame_id}
    answer = reused.ask(INFER_CACHED, cached(0, 8))
    assert (answer["error"], answer["code"]) == ("frame 8 not in cache", "frame_not_cached")


def test_ping_tells_since_when(reused):
    first, second = reused.command("ping"), reused.command("ping")
    assert (first["cmd"], first["status"]) == ("ping", "ok")
    assert 0 < first["uptimeMs"] <= second["uptimeMs"]


def test_drain_refuses_new_data_and_answers_when_the_old_is_done(host, protocol):
    host.command("load", index=0, config={"path": "fake:sleep?size=32&ms=300"})
    host.ask(CACHE_FRAME, cache(8, 16, 16, RGB, pixels(16, 16)))
    before, drain = host.packet(INFER_RAW, any_raw()), host.packet(0, {"cmd": "drain"})
    after = [
        host.packet(INFER_RAW, any_raw()),
        host.packet(INFER_CACHED, cached(0, 8)),
        host.packet(CACHE_FRAME, cache(9, 16, 16, RGB, pixels(16, 16))),
    ]
    host.send(b"".join(data for _, data in [before, drain, *after]))

    refused = [host.answer(request_id) for request_id, _ in after]
    assert [answer["code"] for answer in refused] == ["shutting_down"] * 3
    assert ("detections" in refused[0]) is (protocol == 2)
    assert host.answer(before[0])["detections"] == []
    assert host.answer(drain[0]) == {"cmd": "drain", "status": "ok"}
    assert host.received.index(before[0]) < host.received.index(drain[0])
    assert host.command("ping")["status"] == "ok"
    assert host.command("drain")["status"] == "ok"
    assert host.finish() == 0


def test_drain_ends_an_open_window(spawn):
    host = spawn(
        {
            "runtime": "fake",
            "batch_mode": "window",
            "window_ms": 60_000,
            "max_batch_size": 8,
            "models": [NOOP],
        }
    )
    request = host.request(INFER_RAW, any_raw())
    assert host.command("drain")["status"] == "ok"
    assert host.answer(request)["detections"] == []


def test_drain_with_a_request_that_waits_for_a_load(host):
    load, request, drain = host.together(
        (0, {"cmd": "load", "index": 1, "config": SLOWLOAD}), (INFER_RAW, any_raw(1)), (0, {"cmd": "drain"})
    )
    assert (load["status"], request["detections"], drain["status"]) == ("ok", [], "ok")


def test_a_command_of_megabytes_is_too_large_and_the_worker_lives(reused):
    answer = reused.command("load", index=1, config={"path": "x" * (5 << 20)})
    assert (answer["status"], answer["code"]) == ("error", "too_large")
    assert reused.command("ping")["status"] == "ok"


def test_keys_that_a_command_does_not_know_are_ignored(reused):
    answer = reused.command("load", index=1, config=NOOP | {"nonsense": 1}, more="fields")
    assert answer["status"] == "ok"
    assert works(reused, 1)


def test_raw_pixels_of_every_sort_while_models_come_and_go(reused):
    for turn in range(6):
        reused.command("load" if turn % 2 else "replace", index=1, config=LABELLED if turn % 3 else NOOP)
        assert "error" not in reused.ask(INFER_RAW, raw(1, 8, 8, RGB, pixels(8, 8)))
        reused.command("unload", index=1)
        assert reused.ask(INFER_RAW, any_raw(1))["code"] == "model_not_loaded"
