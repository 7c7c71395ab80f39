"""The first packet and its answer: every key, v2's leniency, and what is refused."""

import json

import pytest
from wire import COMMAND, INFER_RAW, any_raw, packet

NOOP = {"path": "fake:noop?size=32", "runtime": "fake"}
V2_KEYS = {"status", "models", "total", "startupMs", "runtime", "workers"}
V3_KEYS = V2_KEYS | {"protocol", "features", "warnings", "limits", "slots"}
LIMITS = {
    "maxPacketBytes": 256 << 20,
    "maxInFlight": 256,
    "maxInFlightBytes": 1 << 30,
    "maxPixels": 64 << 20,
    "overload": "wait",
    "drainTimeoutMs": 10_000,
}
SLOT_KEYS = {"index", "path", "loaded", "error", "runtime", "device", "inputs", "outputs", "labels"} | {
    "postprocessor",
    "family",
    "familyReason",
    "maxBatchSize",
    "loadMs",
    "warmupMs",
    "memoryBytes",
}


@pytest.mark.parametrize(
    "protocol", [{}, {"protocol": 2}, {"protocol": 3}, {"protocol": "3"}, {"protocol": 99}]
)
def test_the_ready_answer_has_every_key_for_hosts_of_any_version(spawn, protocol):
    ready = spawn({"runtime": "fake", "models": [NOOP], **protocol}).ready

    assert set(ready) >= V3_KEYS
    assert (ready["status"], ready["models"], ready["total"]) == ("ready", 1, 1)
    assert (ready["runtime"], ready["workers"], ready["protocol"]) == ("fake", 1, 3)
    assert ready["startupMs"] > 0
    assert ready["warnings"] == []
    assert {"adaptive", "options"} <= set(ready["features"])
    assert ready["limits"].items() >= LIMITS.items()
    assert ready["limits"]["frameCacheBytes"] > 0


def test_a_slot_tells_all_about_its_model(spawn):
    (slot,) = spawn({"models": [NOOP]}).ready["slots"]

    assert set(slot) >= SLOT_KEYS
    assert (slot["index"], slot["path"], slot["loaded"], slot["error"]) == (0, NOOP["path"], True, None)
    assert (slot["runtime"], slot["device"]) == ("fake", "fake")
    assert slot["inputs"] == [{"name": "images", "shape": [-1, 3, 32, 32], "dtype": "float32"}]
    assert slot["outputs"] == [{"name": "output0", "shape": [-1, 300, 6], "dtype": "float32"}]
    assert (slot["postprocessor"], slot["family"]) == ("yolo", "yolov10")
    assert slot["familyReason"]
    assert slot["maxBatchSize"] == 32
    assert min(slot["loadMs"], slot["warmupMs"], slot["memoryBytes"]) >= 0


@pytest.mark.parametrize("request_id", [0, 7, 0xFFFF_FFFF])
def test_the_answer_carries_the_id_that_the_handshake_came_with(spawn, request_id):
    host = spawn()
    assert host.shake_hands({"runtime": "fake"}, request_id)["status"] == "ready"


@pytest.mark.parametrize("config", [{}, {"runtime": None}, {"runtime": 0}, {"runtime": ""}])
def test_the_default_runtime_is_one_that_cannot_run_here_and_the_worker_lives(spawn, tmp_path, config):
    model = tmp_path / "m.onnx"
    model.write_bytes(b"any bytes")
    host = spawn({"models": [{"path": str(model)}], **config})

    assert host.ready["runtime"] == "coreml"
    assert (host.ready["models"], host.ready["total"]) == (0, 1)
    (slot,) = host.ready["slots"]
    assert slot["loaded"] is False
    assert slot["path"] == str(model)
    assert "coreml" in slot["error"]
    assert host.ask(INFER_RAW, any_raw())["error"].startswith("Model 0 not loaded")
    assert host.finish() == 0


def test_models_that_fail_count_in_total_only_and_keep_their_place(spawn):
    models = [NOOP, {"path": "fake:loadfail"}, {"path": "no/such.onnx", "runtime": "onnxruntime"}, NOOP]
    host = spawn({"protocol": 3, "runtime": "fake", "models": [*models, "no object", {}]})

    assert (host.ready["models"], host.ready["total"]) == (2, 6)
    assert [slot["loaded"] for slot in host.ready["slots"]] == [True, False, False, True, False, False]
    assert [slot["index"] for slot in host.ready["slots"]] == list(range(6))
    assert all(slot["error"] for slot in host.ready["slots"] if not slot["loaded"])
    answers = [host.ask(INFER_RAW, any_raw(model)) for model in range(7)]
    codes = [answer.get("code") for answer in answers]
    assert codes == [None, *["model_not_loaded"] * 2, None, *["model_not_loaded"] * 3]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"concurrency": 0}, {"workers": 1}),
        ({"concurrency": "2"}, {"workers": 2}),
        ({"concurrency": 2.9}, {"workers": 2}),
        ({"batch_mode": "what"}, {}),
        ({"batch_mode": 0, "window_ms": "5", "max_batch_size": "4"}, {}),
        ({"models": 0, "limits": {}}, {"total": 0, "models": 0, "slots": []}),
        ({"models": [NOOP | {"inputSize": "64", "confidence": "0.5"}]}, {"models": 1}),
        ({"models": [NOOP | {"inputSize": 0, "confidence": None, "device": None}]}, {"models": 1}),
        ({"runtime": "auto", "models": [{"path": NOOP["path"]}]}, {"models": 1, "runtime": "auto"}),
    ],
)
def test_numbers_may_come_in_any_clothes_and_nothing_means_the_default(spawn, given, expected):
    ready = spawn({"runtime": "fake", **given}).ready
    assert ready["status"] == "ready"
    assert {key: ready[key] for key in expected} == expected


def test_concurrency_auto_is_answered_as_a_number(spawn):
    assert spawn({"runtime": "fake", "concurrency": "auto"}).ready["workers"] >= 1


def test_keys_that_nobody_reads_are_warned_about_with_the_nearest_known_one(spawn):
    config = {
        "runtime": "fake",
        "concurency": 2,
        "zzz": 1,
        "limits": {"maxInFlihgt": 3},
        "models": [NOOP | {"inputsize": 32}],
    }
    host = spawn(config)
    warnings = host.ready["warnings"]

    assert len(warnings) == 4
    for key, nearest in (
        ("concurency", "concurrency"),
        ("limits.maxInFlihgt", "maxInFlight"),
        ("models[0].inputsize", "inputSize"),
    ):
        assert any(key in warning and nearest in warning for warning in warnings), key
    assert any("zzz" in warning and "did you mean" not in warning for warning in warnings)
    host.finish()
    assert "concurency" in host.stderr


def test_an_input_size_that_the_model_overrules_is_warned_about(spawn):
    ready = spawn({"models": [NOOP | {"inputSize": 320}]}).ready
    assert any("320" in warning and "32x32" in warning for warning in ready["warnings"])


@pytest.mark.parametrize(
    ("config", "path", "expected"),
    [
        ({"concurrency": "many"}, "concurrency", "whole number"),
        ({"concurrency": True}, "concurrency", "whole number"),
        ({"models": {"path": "m.onnx"}}, "models", "list"),
        ({"limits": [1]}, "limits", "object"),
        ({"limits": {"maxInFlight": "lots"}}, "limits.maxInFlight", "whole number"),
        ({"limits": {"overload": "panic"}}, "limits.overload", "wait, reject"),
        ({"runtime": 5}, "runtime", "string"),
        ({"parentPid": "me"}, "parentPid", "whole number"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_path_and_what_was_expected(
    spawn, config, path, expected
):
    host = spawn()
    answer = host.shake_hands({"runtime": "fake", **config}, 5)

    assert answer["status"] == "error"
    assert answer["code"] == "bad_request"
    assert answer["error"].startswith(f"{path}: ")
    assert expected in answer["error"]
    assert host.wait() == 1
    assert answer["error"] in host.stderr


UNREADABLE_MODELS = [
    ({"path": 5}, "models[0].path"),
    ({}, "models[1].path"),
    ({"path": "fake:noop", "confidence": 7}, "models[2].confidence"),
    ({"path": "fake:noop", "labels": 7}, "models[3].labels"),
    ({"path": "fake:noop", "inputSize": [1, 2, 3]}, "models[4].inputSize"),
    (17, "models[5]"),
    (None, "models[6]"),
]


def test_a_model_config_that_cannot_be_read_fails_its_slot_and_not_the_handshake(spawn):
    models = [model for model, _ in UNREADABLE_MODELS]
    ready = spawn({"protocol": 3, "runtime": "fake", "models": [*models, NOOP]}).ready

    assert (ready["models"], ready["total"]) == (1, len(models) + 1)
    for slot, (_, path) in zip(ready["slots"], UNREADABLE_MODELS, strict=False):
        assert slot["error"].startswith(path)


@pytest.mark.parametrize("runtime", ["tensorrrt", "Fake", "cpu"])
def test_an_unknown_runtime_ends_the_process(spawn, runtime):
    host = spawn()
    host.send(packet(0, COMMAND, json.dumps({"runtime": runtime}).encode()))

    assert host.wait() == 1
    assert runtime in host.stderr
    assert "onnxruntime" in host.stderr


def test_an_unknown_runtime_of_one_model_fails_its_slot_only(spawn):
    ready = spawn({"models": [NOOP | {"runtime": "nonsense"}, NOOP]}).ready
    assert ready["models"] == 1
    assert "nonsense" in ready["slots"][0]["error"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (packet(1, INFER_RAW, any_raw()), "COMMAND"),
        (packet(1, INFER_RAW), "truncated infer_raw header"),
        (packet(1, 0x55, b"x"), "unknown msg_type: 85"),
        (packet(0, COMMAND), "JSON"),
        (packet(0, COMMAND, b"{"), "JSON"),
        (packet(0, COMMAND, b"[]"), "JSON object"),
        (packet(0, COMMAND, b'"x"'), "JSON object"),
        (packet(0, COMMAND, b"\xff\xfe{}"), "JSON"),
        (packet(0, COMMAND, b'{"models":' + b"[" * 100_000), "JSON"),
        (b"", "before"),
        (b"\x09\x00", "inside a packet"),
        (packet(0, COMMAND, b"{}")[:-1], "inside a packet"),
        (b"\x00" * 16, "length"),
        (b"GET / HTTP/1.1\r\n\r\n", "handshake"),
    ],
)
def test_a_first_packet_that_configures_nothing_ends_the_process(spawn, data, text):
    host = spawn()
    host.send(data)

    assert host.finish() == 1
    assert "handshake" in host.stderr
    assert text in host.stderr
    assert "Traceback" not in host.stderr


def test_requests_sent_right_behind_the_handshake_wait_for_its_models(spawn):
    host = spawn()
    slow = {"path": "fake:slowload?size=32", "runtime": "fake"}
    config = json.dumps({"protocol": 3, "models": [slow]}).encode()
    host.send(
        packet(0, COMMAND, config) + packet(1, INFER_RAW, any_raw()) + packet(2, COMMAND, b'{"cmd":"ping"}')
    )

    assert host.answer(0)["models"] == 1
    assert host.answer(1)["detections"] == []
    assert host.answer(2)["status"] == "ok"
    assert host.received[0] == 0
