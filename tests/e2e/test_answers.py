"""Every data request and every error object, for hosts of both versions, as the tables have them."""

import pytest
from wire import (
    BGR,
    CACHE_FRAME,
    COMMAND,
    ENCODED,
    GRAY,
    INFER_BATCH,
    INFER_CACHED,
    INFER_JPEG,
    INFER_RAW,
    NV12,
    RGB,
    any_item,
    any_raw,
    batch,
    cache,
    cached,
    jpeg,
    packet,
    pixels,
    raw,
)

from runtimes.picture_ids import draw_id

MODELS = [
    {"path": "fake:echo?size=64"},
    {"path": "fake:nan?size=32"},
    {"path": "fake:fail?size=32"},
    {"path": "fake:fail_item?size=32"},
]
ECHO, NAN, FAIL, FAIL_ITEM = range(4)
CONFIG = {"runtime": "fake", "models": MODELS}
EMPTY_DETECTIONS = {"kind": "detections", "detections": [], "inferenceMs": 0}
FIGURES = {"inferenceMs", "preprocessMs", "predictMs", "batchSize", "frameSize", "timings"}
TIMINGS = {"queue", "decode", "prepare", "wait", "predict", "postprocess"}


@pytest.fixture(params=[2, 3], ids=["v2", "v3"])
def protocol(request):
    return request.param


@pytest.fixture
def host(shared_host, protocol):
    return shared_host({**CONFIG, "protocol": protocol})


def picture(picture_id: int, width: int = 48, height: int = 32) -> bytes:
    return draw_id(picture_id, width, height).tobytes()


def seen(answer: dict) -> list[int]:
    return [found["classId"] for found in answer["detections"]]


def check_figures(answer: dict, frame_size: str) -> None:
    assert set(answer) == {"kind", "detections"} | FIGURES
    assert answer["kind"] == "detections"
    assert answer["batchSize"] == 1
    assert answer["frameSize"] == frame_size
    assert set(answer["timings"]) == TIMINGS
    assert min(answer["timings"].values()) >= 0
    assert answer["inferenceMs"] == pytest.approx(answer["preprocessMs"] + answer["predictMs"], abs=0.011)
    for key in ("inferenceMs", "preprocessMs", "predictMs"):
        assert answer[key] == round(answer[key], 2)


@pytest.mark.parametrize(
    ("pixel_format", "convert"),
    [
        (RGB, lambda rgb: rgb.tobytes()),
        (BGR, lambda rgb: rgb[..., ::-1].tobytes()),
        (GRAY, lambda rgb: rgb[..., 0].tobytes()),
    ],
)
def test_a_raw_picture_is_inferred(host, pixel_format, convert):
    answer = host.ask(INFER_RAW, raw(ECHO, 48, 32, pixel_format, convert(draw_id(777, 48, 32))))

    check_figures(answer, "48x32")
    (found,) = answer["detections"]
    assert found == {"bbox": [0, 0, 48, 32], "score": 1, "classId": 777}


def test_an_encoded_picture_is_inferred(host, encode_picture):
    for kind in (".jpg", ".png", ".webp"):
        answer = host.ask(INFER_JPEG, jpeg(ECHO, encode_picture(draw_id(4321, 96, 64), kind)))
        check_figures(answer, "96x64")
        assert seen(answer) == [4321]


@pytest.mark.parametrize("count", [1, 2, 255])
def test_a_batch_is_answered_in_its_order(host, count):
    items = [(16, 16, RGB, picture(number, 16, 16)) for number in range(1, count + 1)]
    answer = host.ask(INFER_BATCH, batch(ECHO, items))

    assert set(answer) == {"results"}
    assert [seen(result) for result in answer["results"]] == [[number] for number in range(1, count + 1)]
    for result in answer["results"]:
        check_figures(result, "16x16")


def test_a_batch_of_none_is_answered_with_no_results(host):
    assert host.ask(INFER_BATCH, batch(ECHO, [])) == {"results": []}


def test_a_cached_frame_is_inferred_as_often_as_one_likes(host):
    answer = host.ask(CACHE_FRAME, cache(5, 48, 32, RGB, picture(99)))
    assert answer == {"status": "cached", "frameId": 5, "width": 48, "height": 32}

    for _ in range(3):
        answer = host.ask(INFER_CACHED, cached(ECHO, 5))
        check_figures(answer, "48x32")
        assert seen(answer) == [99]
    host.command("uncache_frame", frameId=5)


def test_an_encoded_frame_is_cached_with_the_size_that_the_file_tells(host, encode_picture):
    data = encode_picture(draw_id(31, 80, 60), ".png")
    answer = host.ask(CACHE_FRAME, cache(6, 0, 0, ENCODED, data))
    assert answer == {"status": "cached", "frameId": 6, "width": 80, "height": 60}
    assert seen(host.ask(INFER_CACHED, cached(ECHO, 6))) == [31]
    host.command("uncache_frame", frameId=6)


def test_an_encoded_picture_may_stand_wherever_a_pixel_format_stands(host, encode_picture):
    data = encode_picture(draw_id(55, 80, 60), ".png")
    assert seen(host.ask(INFER_RAW, raw(ECHO, 0, 0, ENCODED, data))) == [55]
    answer = host.ask(INFER_BATCH, batch(ECHO, [(0, 0, ENCODED, data), (48, 32, RGB, picture(56))]))
    assert [seen(result) for result in answer["results"]] == [[55], [56]]


BARE, SINGLE, BATCH = {}, EMPTY_DETECTIONS, {"results": []}
TINY = pixels(16, 16)

# request type, payload, how `error` begins, `code`, what v2 hosts get beside the two
ERRORS = {
    "single, empty slot": (INFER_RAW, any_raw(9), "Model 9 not loaded", "model_not_loaded", SINGLE),
    "single, model 255": (INFER_RAW, any_raw(255), "Model 255 not loaded", "model_not_loaded", SINGLE),
    "encoded, empty slot": (INFER_JPEG, jpeg(9, b"x"), "Model 9 not loaded", "model_not_loaded", SINGLE),
    "batch, empty slot": (
        INFER_BATCH,
        batch(9, [any_item()]),
        "Model 9 not loaded",
        "model_not_loaded",
        BATCH,
    ),
    "batch, model 255": (
        INFER_BATCH,
        batch(255, [any_item()]),
        "Model 255 not loaded",
        "model_not_loaded",
        BATCH,
    ),
    "cached, no frame": (
        INFER_CACHED,
        cached(ECHO, 404),
        "frame 404 not in cache",
        "frame_not_cached",
        BARE,
    ),
    "cached, no model": (INFER_CACHED, cached(9, 404), "model 9 not loaded", "model_not_loaded", BARE),
    "single, NaN": (INFER_RAW, any_raw(NAN), "", "inference_failed", SINGLE),
    "single, predict fails": (INFER_RAW, any_raw(FAIL), "fake:fail fails", "inference_failed", SINGLE),
    "batch, predict fails": (
        INFER_BATCH,
        batch(FAIL, [any_item(), any_item()]),
        "fake:fail fails",
        "inference_failed",
        BATCH,
    ),
    "encoded, empty": (INFER_JPEG, b"", "empty infer_jpeg payload", "bad_request", BARE),
    "encoded, no bytes": (INFER_JPEG, jpeg(ECHO, b""), "jpeg decode failed: ", "decode_failed", BARE),
    "encoded, garbage": (
        INFER_JPEG,
        jpeg(ECHO, b"garbage" * 9),
        "jpeg decode failed: ",
        "decode_failed",
        BARE,
    ),
    "raw, no header": (INFER_RAW, b"", "truncated infer_raw header", "bad_request", BARE),
    "raw, half a header": (INFER_RAW, any_raw()[:9], "truncated infer_raw header", "bad_request", BARE),
    "raw, too few pixels": (INFER_RAW, any_raw()[:-1], "raw wrap failed: ", "bad_request", BARE),
    "raw, no pixels": (INFER_RAW, any_raw()[:10], "raw wrap failed: ", "bad_request", BARE),
    "raw, unknown format": (INFER_RAW, raw(0, 16, 16, 9, TINY), "raw wrap failed: ", "bad_request", BARE),
    "raw, no width": (INFER_RAW, raw(0, 0, 16, RGB, TINY), "raw wrap failed: ", "bad_request", BARE),
    "raw, no height": (INFER_RAW, raw(0, 16, 0, RGB, TINY), "raw wrap failed: ", "bad_request", BARE),
    "raw, absurd size": (
        INFER_RAW,
        raw(0, 0xFFFF_FFFF, 0xFFFF_FFFF, RGB, TINY),
        "raw wrap failed: ",
        "bad_request",
        BARE,
    ),
    "raw, odd NV12": (
        INFER_RAW,
        raw(0, 15, 16, NV12, pixels(16, 16)),
        "raw wrap failed: ",
        "bad_request",
        BARE,
    ),
    "raw, garbage as a file": (
        INFER_RAW,
        raw(0, 0, 0, ENCODED, b"garbage"),
        "raw wrap failed: ",
        "decode_failed",
        BARE,
    ),
    "raw, a file of no bytes": (
        INFER_RAW,
        raw(0, 0, 0, ENCODED, b""),
        "raw wrap failed: ",
        "bad_request",
        BARE,
    ),
    "batch, no header": (INFER_BATCH, b"", "truncated infer_batch header", "bad_request", BARE),
    "batch, half a header": (INFER_BATCH, b"\0", "truncated infer_batch header", "bad_request", BARE),
    "batch, no item": (INFER_BATCH, batch(0, [], 1), "truncated batch item header", "bad_request", BATCH),
    "batch, one item less": (
        INFER_BATCH,
        batch(0, [any_item()], 2),
        "truncated batch item header",
        "bad_request",
        BATCH,
    ),
    "batch, count 255 of 1": (
        INFER_BATCH,
        batch(0, [any_item()], 255),
        "truncated batch item header",
        "bad_request",
        BATCH,
    ),
    "batch, item cut": (
        INFER_BATCH,
        batch(0, [any_item()])[:-1],
        "truncated batch item payload",
        "bad_request",
        BATCH,
    ),
    "batch, too few pixels": (
        INFER_BATCH,
        batch(0, [any_item(), (16, 16, RGB, TINY[:-1])]),
        "raw wrap failed: ",
        "bad_request",
        BATCH,
    ),
    "batch, unknown format": (
        INFER_BATCH,
        batch(0, [(16, 16, 77, TINY)]),
        "raw wrap failed: ",
        "bad_request",
        BATCH,
    ),
    "cache, no header": (CACHE_FRAME, b"", "truncated cache_frame header", "bad_request", BARE),
    "cache, half a header": (
        CACHE_FRAME,
        cache(1, 16, 16, RGB, b"")[:-1],
        "truncated cache_frame header",
        "bad_request",
        BARE,
    ),
    "cache, too few pixels": (
        CACHE_FRAME,
        cache(1, 16, 16, RGB, TINY[:-1]),
        "cache_frame wrap failed: ",
        "bad_request",
        BARE,
    ),
    "cache, unknown format": (
        CACHE_FRAME,
        cache(1, 16, 16, 9, TINY),
        "cache_frame wrap failed: ",
        "bad_request",
        BARE,
    ),
    "cache, garbage as a file": (
        CACHE_FRAME,
        cache(1, 0, 0, ENCODED, b"garbage"),
        "cache_frame wrap failed: ",
        "decode_failed",
        BARE,
    ),
    "cached, no header": (INFER_CACHED, b"", "truncated infer_cached header", "bad_request", BARE),
    "cached, half a header": (
        INFER_CACHED,
        cached(0, 1)[:-1],
        "truncated infer_cached header",
        "bad_request",
        BARE,
    ),
    "unknown type": (0x66, b"x", "unknown msg_type: 102", "unknown_type", BARE),
    "unknown type with options": (0xE6, b"\2\0{}", "unknown msg_type: 230", "unknown_type", BARE),
    "a command with options": (0x80, b"\2\0{}", "unknown msg_type: 128", "unknown_type", BARE),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_has_the_shape_of_the_tables_and_the_next_good_request_succeeds(host, protocol, case):
    type_byte, payload, begins, code, v2_extras = ERRORS[case]
    answer = host.ask(type_byte, payload)

    assert answer["error"].startswith(begins)
    assert answer["error"]
    assert answer["code"] == code
    extras = {key: value for key, value in answer.items() if key not in ("error", "code")}
    assert extras == (v2_extras if protocol == 2 else {})
    assert seen(host.ask(INFER_RAW, raw(ECHO, 48, 32, RGB, picture(12)))) == [12]


EXCESS = {
    "raw": (INFER_RAW, raw(ECHO, 48, 32, RGB, picture(8)) + b"more"),
    "batch item": (INFER_BATCH, batch(ECHO, [(48, 32, RGB, picture(8) + b"more")])),
    "batch": (INFER_BATCH, batch(ECHO, [(48, 32, RGB, picture(8))]) + b"more"),
    "batch of none": (INFER_BATCH, batch(ECHO, []) + b"more"),
    "cache": (CACHE_FRAME, cache(8, 48, 32, RGB, picture(8)) + b"more"),
    "cached": (INFER_CACHED, cached(ECHO, 8) + b"more"),
}


@pytest.mark.parametrize("case", EXCESS)
def test_excess_bytes_are_ignored_for_v2_hosts_and_bad_requests_for_v3(host, protocol, case):
    host.ask(CACHE_FRAME, cache(8, 48, 32, RGB, picture(8)))
    answer = host.ask(*EXCESS[case])

    if protocol == 3:
        assert answer["code"] == "bad_request"
        assert set(answer) == {"error", "code"}
        return
    assert "error" not in answer
    if case in ("raw", "cached"):
        assert seen(answer) == [8]
    elif case.startswith("batch"):
        assert [seen(result) for result in answer["results"]] == ([] if "none" in case else [[8]])


TRUNCATABLE = {
    "raw": (INFER_RAW, any_raw()),
    "batch": (INFER_BATCH, batch(ECHO, [(2, 2, RGB, pixels(2, 2)), (2, 1, GRAY, b"ab")])),
    "cache": (CACHE_FRAME, cache(77, 2, 2, RGB, pixels(2, 2))),
    "cached": (INFER_CACHED, cached(ECHO, 77)),
    "options": (INFER_CACHED | 0x80, b"\x15\0" + b'{"confidence": 0.125}' + cached(ECHO, 77)),
}


@pytest.mark.parametrize("case", TRUNCATABLE)
def test_every_truncation_of_a_payload_is_answered_with_one_error(host, case):
    type_byte, payload = TRUNCATABLE[case]
    answers = host.together(*((type_byte, payload[:length]) for length in range(len(payload))))

    assert {answer["code"] for answer in answers} == {"bad_request"}
    assert seen(host.ask(INFER_RAW, raw(ECHO, 48, 32, RGB, picture(3)))) == [3]


@pytest.mark.parametrize("type_byte", [INFER_JPEG, CACHE_FRAME])
def test_every_eighth_truncation_of_a_file_is_answered(host, encode_picture, type_byte):
    data = encode_picture(draw_id(9, 32, 32), ".png")
    heads = {INFER_JPEG: jpeg(ECHO, b""), CACHE_FRAME: cache(3, 0, 0, ENCODED, b"")}
    requests = [(type_byte, heads[type_byte] + data[:length]) for length in range(0, len(data) - 12, 8)]
    answers = host.together(*requests)

    assert {answer["code"] for answer in answers} <= {"decode_failed", "bad_request"}


def test_requests_under_an_id_that_is_in_flight_are_all_answered(host):
    duplicate = 0xABCD_0000 + host.next_id()
    numbers = (21, 22, 23)
    host.send(
        b"".join(packet(duplicate, INFER_RAW, raw(ECHO, 48, 32, RGB, picture(number))) for number in numbers)
    )

    answers = [host.answer(duplicate) for _ in numbers]
    assert sorted(seen(answer)[0] for answer in answers) == [21, 22, 23]
    assert host.command("ping")["status"] == "ok"
    assert not host.is_answered(duplicate)


BAD_COMMANDS = {
    "no JSON": b"{",
    "nothing": b"",
    "no object": b"[1]",
    "no cmd": b"{}",
    "cmd of another type": b'{"cmd": 5}',
    "not UTF-8": b'{"cmd": "\xff"}',
    "NaN": b'{"cmd": NaN}',
    "nested too deeply": b'{"cmd":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "load without fields": b'{"cmd": "load"}',
    "load without config": b'{"cmd": "load", "index": 7}',
    "config of another type": b'{"cmd": "load", "index": 7, "config": "m.onnx"}',
    "index 256": b'{"cmd": "load", "index": 256, "config": {"path": "fake:noop"}}',
    "index -1": b'{"cmd": "unload", "index": -1}',
    "index null": b'{"cmd": "unload", "index": null}',
    "index of words": b'{"cmd": "replace", "index": "one", "config": {}}',
    "index infinite": b'{"cmd": "unload", "index": 1e999}',
    "no frameId": b'{"cmd": "uncache_frame"}',
    "frameId too large": b'{"cmd": "uncache_frame", "frameId": 4294967296}',
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_a_command_that_cannot_be_read_is_answered_as_unknown(host, case):
    answer = host.ask(COMMAND, BAD_COMMANDS[case])

    assert (answer["cmd"], answer["status"], answer["code"]) == ("unknown", "error", "bad_request")
    assert answer["error"]
    assert host.command("ping")["status"] == "ok"


@pytest.mark.parametrize("name", ["reboot", "", "LOAD", "ünïcödé", "x" * 1000])
def test_an_unknown_command_is_named_in_its_answer(host, name):
    answer = host.command(name)

    assert (answer["cmd"], answer["status"]) == (name, "error")
    assert answer["error"] == f"Unknown command: {name}"
    assert answer["code"]


def test_one_bad_item_is_an_error_in_its_place(host, protocol):
    items = [any_item(), any_item(value=255), (0, 0, ENCODED, b"garbage"), any_item()]
    results = host.ask(INFER_BATCH, batch(FAIL_ITEM, items))["results"]

    assert [result.get("code") for result in results] == [None, "inference_failed", "decode_failed", None]
    assert results[0]["detections"] == results[3]["detections"] == []
    if protocol == 3:
        assert set(results[1]) == set(results[2]) == {"error", "code"}
