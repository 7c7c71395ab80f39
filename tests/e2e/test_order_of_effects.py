"""Packets take effect in the order of arrival, though the host waits for nothing in between."""

import threading

import pytest
from wire import (
    CACHE_FRAME,
    COMMAND,
    ENCODED,
    INFER_BATCH,
    INFER_CACHED,
    INFER_RAW,
    RGB,
    any_item,
    any_raw,
    batch,
    cache,
    cached,
    pixels,
)

from runtimes.picture_ids import draw_id

NOOP = {"path": "fake:noop?size=32"}
SLOWLOAD = {"path": "fake:slowload?size=32"}
LOADFAIL = {"path": "fake:loadfail"}
ECHO = {"path": "fake:echo?size=32"}

OK = "ok"
NOT_LOADED = "model_not_loaded"


def load(config, index=0, cmd="load"):
    return COMMAND, {"cmd": cmd, "index": index, "config": config}


def unload(index=0):
    return COMMAND, {"cmd": "unload", "index": index}


INFER = (INFER_RAW, any_raw())
INFER_TWO = (INFER_BATCH, batch(0, [any_item(), any_item()]))


def outcome(answer: dict) -> str:
    return answer.get("code", OK)


# Requests in one write to a worker without models, and how each comes out.
SEQUENCES = {
    "load, infer, unload, infer": (
        [load(NOOP), INFER, INFER_TWO, unload(), INFER, INFER_TWO],
        [OK, OK, OK, OK, NOT_LOADED, NOT_LOADED],
    ),
    "a slow load": ([load(SLOWLOAD), INFER, unload(), INFER], [OK, OK, OK, NOT_LOADED]),
    "replace on an empty slot": ([load(SLOWLOAD, cmd="replace"), INFER, INFER_TWO], [OK, OK, OK]),
    "a load that fails": ([load(LOADFAIL), INFER, INFER_TWO], [NOT_LOADED] * 3),
    "a load that fails, then one that does not": (
        [load(LOADFAIL), INFER, load(NOOP), INFER],
        [NOT_LOADED, NOT_LOADED, OK, OK],
    ),
    "a load that does not fail, then one that does": (
        [load(SLOWLOAD), INFER, load(LOADFAIL), INFER],
        [OK, OK, NOT_LOADED, NOT_LOADED],
    ),
    "unload before anything": ([unload(), INFER, load(NOOP), INFER], [OK, NOT_LOADED, OK, OK]),
    "unload, load, unload, load": (
        [load(NOOP), unload(), load(SLOWLOAD), INFER, unload(), INFER, load(NOOP), INFER],
        [OK, OK, OK, OK, OK, NOT_LOADED, OK, OK],
    ),
    "another slot's load": ([load(SLOWLOAD, 1), INFER, (INFER_RAW, any_raw(1))], [OK, NOT_LOADED, OK]),
    "a config that cannot be read": ([load({}), INFER], ["bad_request", NOT_LOADED]),
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", SEQUENCES)
def test_models(shared_host, protocol, name):
    host = shared_host({"runtime": "fake", "protocol": protocol})
    host.command("unload", index=0)
    host.command("unload", index=1)
    requests, outcomes = SEQUENCES[name]

    assert [outcome(answer) for answer in host.together(*requests)] == outcomes


def test_a_load_that_a_later_unload_cut_still_serves_what_came_before(spawn):
    host = spawn({"runtime": "fake", "protocol": 3})
    first, served, cut, refused, status = host.together(
        load(SLOWLOAD), INFER, unload(), INFER, (COMMAND, {"cmd": "status"})
    )
    assert [outcome(answer) for answer in (first, served, cut, refused)] == [OK, OK, OK, NOT_LOADED]
    assert status["models"][0]["loaded"] is False
    assert host.command("status")["models"][0]["loaded"] is False


def test_during_a_replace_the_old_model_serves(spawn):
    host = spawn({"runtime": "fake", "protocol": 3, "models": [NOOP]})
    replace, during = host.packet(*load({"path": "fake:slowload?size=32&ms=1500"})), host.packet(*INFER)
    host.send(replace[1] + during[1])

    host.answer(during[0])
    host.answer(replace[0])
    assert host.received.index(during[0]) < host.received.index(replace[0])


def frame(frame_id: int, picture_id: int):
    return CACHE_FRAME, cache(frame_id, 32, 32, RGB, draw_id(picture_id, 32, 32).tobytes())


def infer_cached(frame_id: int):
    return INFER_CACHED, cached(0, frame_id)


def uncache(frame_id: int):
    return COMMAND, {"cmd": "uncache_frame", "frameId": frame_id}


def seen(answer: dict) -> int | str:
    return answer["code"] if "code" in answer else answer["detections"][0]["classId"]


@pytest.fixture
def echo(shared_host):
    limits = {"maxPacketBytes": 100_000, "frameCacheBytes": 4 << 20}
    return shared_host({"runtime": "fake", "protocol": 3, "models": [ECHO], "limits": limits})


def test_cache_infer_uncache_infer(echo):
    answers = echo.together(frame(1, 41), infer_cached(1), uncache(1), infer_cached(1))
    assert seen(answers[1]) == 41
    assert seen(answers[3]) == "frame_not_cached"


def test_a_frame_id_that_is_used_again_never_gives_the_older_picture(echo):
    requests = []
    for picture_id in range(1, 101):
        requests += [frame(2, picture_id), infer_cached(2), infer_cached(2)]
    answers = echo.together(*requests)

    assert [seen(answer) for answer in answers[1::3]] == list(range(1, 101))
    assert [seen(answer) for answer in answers[2::3]] == list(range(1, 101))
    echo.command("uncache_frame", frameId=2)


def test_encoded_frames_are_seen_at_once_though_they_are_decoded_later(echo, encode_picture):
    requests = []
    for picture_id in range(1, 21):
        data = encode_picture(draw_id(picture_id, 128, 128), ".png")
        requests += [(CACHE_FRAME, cache(3, 0, 0, ENCODED, data)), infer_cached(3)]
    answers = echo.together(*requests)

    assert [answer["status"] for answer in answers[::2]] == ["cached"] * 20
    assert [seen(answer) for answer in answers[1::2]] == list(range(1, 21))
    echo.command("uncache_frame", frameId=3)


BROKEN = b"\x89PNG\r\n\x1a\n no picture at all"
FAILING_FRAMES = {
    "too few pixels": (CACHE_FRAME, cache(4, 32, 32, RGB, b"few")),
    "unknown format": (CACHE_FRAME, cache(4, 32, 32, 99, pixels(32, 32))),
    "no header but an id": (CACHE_FRAME, cache(4, 32, 32, RGB, b"")[:8]),
    "excess bytes": (CACHE_FRAME, cache(4, 32, 32, RGB, pixels(32, 32) + b"x")),
    "too large a packet": (CACHE_FRAME, cache(4, 300, 300, RGB, pixels(300, 300))),
    "unknown option": (CACHE_FRAME | 0x80, b"\x07\0" + b'{"x":1}' + cache(4, 32, 32, RGB, pixels(32, 32))),
    "a broken file": (CACHE_FRAME, cache(4, 0, 0, ENCODED, BROKEN)),
    "too large a packet with options": (
        CACHE_FRAME | 0x80,
        b"\x02\0{}" + cache(4, 300, 300, RGB, pixels(300, 300)),
    ),
}


@pytest.mark.parametrize("case", FAILING_FRAMES)
def test_a_cache_frame_that_fails_leaves_its_id_empty(echo, case):
    kept, before, failed, after = echo.together(
        frame(4, 51), infer_cached(4), FAILING_FRAMES[case], infer_cached(4)
    )
    assert kept["status"] == "cached"
    assert seen(before) == 51
    assert "error" in failed
    # Also where the broken file has not been decoded yet: whoever meets it first finds it out.
    assert seen(after) == "frame_not_cached"
    assert seen(echo.ask(*infer_cached(4))) == "frame_not_cached"


def test_a_frame_too_large_for_the_cache_leaves_its_id_empty(spawn):
    limits = {"frameCacheBytes": 10_000}
    host = spawn({"runtime": "fake", "protocol": 3, "models": [ECHO], "limits": limits})
    answers = host.together(
        frame(5, 61), infer_cached(5), (CACHE_FRAME, cache(5, 64, 64, RGB, pixels(64, 64))), infer_cached(5)
    )
    assert [seen(answer) for answer in answers[1:]] == [61, "too_large", "frame_not_cached"]


def test_a_frame_serves_several_models_and_the_newest_one(spawn):
    """A prepared tensor belongs to one load of one slot: neither a neighbour nor a successor gets it."""
    host = spawn({"runtime": "fake", "protocol": 3, "models": [ECHO, {"path": "fake:echo?size=64"}]})
    requests = [frame(6, 71), (INFER_CACHED, cached(0, 6)), (INFER_CACHED, cached(1, 6))]
    assert [seen(answer) for answer in host.together(*requests)[1:]] == [71, 71]

    host.command("replace", index=0, config={"path": "fake:echo?size=128"})
    answers = host.together((INFER_CACHED, cached(0, 6)), (INFER_CACHED, cached(1, 6)))
    assert [seen(answer) for answer in answers] == [71, 71]


@pytest.mark.parametrize("mode", ["none", "adaptive"])
def test_under_load_no_request_fails_while_the_model_is_replaced(spawn, mode):
    host = spawn({"runtime": "fake", "protocol": 3, "concurrency": 2, "batch_mode": mode, "models": [ECHO]})
    stop = threading.Event()
    wrong: list[object] = []
    count = [0]

    def ask_on() -> None:
        while not stop.is_set():
            answers = host.together(*((INFER_RAW, any_raw()) for _ in range(8)))
            wrong.extend(answer for answer in answers if "error" in answer)
            count[0] += len(answers)

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        for turn in range(12):
            size = 32 if turn % 2 else 64
            path = "fake:loadfail" if turn % 4 == 3 else f"fake:slowload?size={size}&ms=30"
            answer = host.command("replace", index=0, config={"path": path})
            assert answer["status"] == ("error" if turn % 4 == 3 else "ok")
    finally:
        stop.set()
        asking.join()
    assert wrong == []
    assert count[0] > 0
