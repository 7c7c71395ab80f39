"""What runs together in each batch mode, as `batchSize` tells, and what a bad item does to the others."""

import pytest
from wire import (
    CACHE_FRAME,
    ENCODED,
    INFER_BATCH,
    INFER_CACHED,
    INFER_JPEG,
    INFER_RAW,
    RGB,
    any_item,
    any_raw,
    batch,
    cache,
    cached,
    jpeg,
    pixels,
)

from runtimes.picture_ids import draw_id

NOOP = {"path": "fake:noop?size=32"}
FAIL_ITEM = {"path": "fake:fail_item?size=32"}
SMALL_BATCHES = {"path": "fake:noop?size=32&batch=2"}
ONE_BY_ONE = {"path": "fake:noop?size=32&batch=1"}
MODELS = [NOOP, FAIL_ITEM, SMALL_BATCHES, ONE_BY_ONE]
LONG_MS = 60_000
WHITE = 255


def config(mode: str, **settings) -> dict:
    return {"protocol": 3, "runtime": "fake", "models": MODELS, "batch_mode": mode, **settings}


NONE = config("none", max_batch_size=4)
LIST = config("list", max_batch_size=2)
WINDOW_BY_SIZE = config("window", window_ms=LONG_MS, max_batch_size=4)
WINDOW_BY_TIME = config("window", window_ms=250, max_batch_size=50)
ADAPTIVE = config("adaptive")


def sizes(answers) -> list[int | str]:
    return [answer.get("code", answer.get("batchSize")) for answer in answers]


def many(count: int, model: int = 0):
    return [(INFER_RAW, any_raw(model))] * count


def infer_batch(host, count: int, model: int = 0):
    return host.ask(INFER_BATCH, batch(model, [any_item()] * count))["results"]


@pytest.mark.parametrize("unknown", ["none", "what", None, ""])
def test_none_runs_every_item_by_itself(shared_host, unknown):
    host = shared_host(NONE | {"batch_mode": unknown})
    assert sizes(infer_batch(host, 5)) == [1] * 5
    assert sizes(host.together(*many(5))) == [1] * 5


@pytest.mark.parametrize("model", range(4))
@pytest.mark.parametrize("count", [1, 5, 40])
def test_list_runs_a_batch_as_one_whatever_the_limits(shared_host, model, count):
    results = infer_batch(shared_host(LIST), count, model)
    assert sizes(results) == [count] * count
    assert len({result["predictMs"] for result in results}) == 1
    assert len({result["timings"]["predict"] for result in results}) == 1


def test_list_does_not_touch_single_requests(shared_host):
    assert sizes(shared_host(LIST).together(*many(6))) == [1] * 6


def test_a_window_closes_when_it_is_full(shared_host):
    answers = shared_host(WINDOW_BY_SIZE).together(*many(8))
    assert sizes(answers) == [4] * 8
    assert len({answer["predictMs"] for answer in answers[:4]}) == 1


def test_a_window_closes_when_its_time_is_over(shared_host):
    host = shared_host(WINDOW_BY_TIME)
    assert sizes(host.together(*many(3))) == [3] * 3
    assert sizes(host.together(*many(1))) == [1]


def test_a_window_takes_single_requests_of_every_kind(shared_host, encode_picture):
    host = shared_host(WINDOW_BY_SIZE)
    png = encode_picture(draw_id(1, 32, 32), ".png")
    _, *answers = host.together(
        (CACHE_FRAME, cache(1, 16, 16, RGB, pixels(16, 16))),
        (INFER_CACHED, cached(0, 1)),
        (INFER_JPEG, jpeg(0, png)),
        *many(2),
    )
    assert sizes(answers) == [4] * 4
    # Once the tensor is in the cache, prepare is skipped: the window is the same.
    assert sizes(host.together(*many(3), (INFER_CACHED, cached(0, 1)))) == [4] * 4


def test_each_model_has_a_window_of_its_own(shared_host):
    host = shared_host(WINDOW_BY_SIZE)
    mixed = [request for pair in zip(many(4), many(4, 2), strict=True) for request in pair]
    assert sizes(host.together(*mixed)) == [4] * 8


def test_a_batch_runs_by_itself_beside_an_open_window(shared_host):
    host = shared_host(WINDOW_BY_SIZE)
    waiting = [host.request(*request) for request in many(3)]
    assert sizes(infer_batch(host, 7)) == [7] * 7
    assert not any(host.is_answered(request_id) for request_id in waiting)
    assert sizes([host.ask(*many(1)[0]), *map(host.answer, waiting)]) == [4] * 4


def test_a_request_that_fails_to_decode_does_not_hold_up_its_window(shared_host):
    host = shared_host(WINDOW_BY_SIZE)
    answers = host.together(*many(2), (INFER_JPEG, jpeg(0, b"garbage")), *many(1))
    assert sizes(answers) == [3, 3, "decode_failed", 3]


def test_a_window_counts_what_arrived(spawn):
    """What fails while the window is open was one of those that it waited for."""
    host = spawn(config("window", window_ms=LONG_MS, max_batch_size=3))
    assert host.ask(INFER_JPEG, jpeg(0, b"garbage"))["code"] == "decode_failed"
    good = [host.request(*request) for request in many(2)]
    assert [host.answer(request_id, deadline_s=15)["batchSize"] for request_id in good] == [2, 2]


def test_a_window_of_nothing_but_garbage(shared_host):
    host = shared_host(WINDOW_BY_SIZE)
    answers = host.together(*[(INFER_JPEG, jpeg(0, b"garbage"))] * 4)
    assert sizes(answers) == ["decode_failed"] * 4
    assert sizes(host.together(*many(4))) == [4] * 4


@pytest.mark.parametrize("settings", [{"max_batch_size": 1, "window_ms": LONG_MS}, {"max_batch_size": 8}])
def test_a_window_of_one_or_of_no_time_waits_for_nothing(spawn, settings):
    host = spawn(config("window", **settings))
    assert sizes(host.together(*many(3))) == [1] * 3


def test_the_end_closes_windows(spawn):
    host = spawn(config("window", window_ms=LONG_MS, max_batch_size=8))
    waiting = [host.request(*request) for request in many(3)]
    assert host.finish() == 0
    assert sizes(map(host.answer, waiting)) == [3] * 3


def test_unload_and_replace_close_windows(spawn):
    host = spawn(config("window", window_ms=LONG_MS, max_batch_size=8))
    for after in ({"cmd": "unload", "index": 0}, {"cmd": "load", "index": 0, "config": NOOP}):
        if after["cmd"] == "unload":
            assert sizes(host.together(*many(2), (0, after))[:2]) == [2, 2]
            host.command("load", index=0, config=NOOP)
        else:
            first = [host.request(*request) for request in many(2)]
            assert host.ask(0, after)["status"] == "ok"
            assert sizes(map(host.answer, first)) == [2, 2]


def test_adaptive_merges_what_came_while_the_lane_was_busy(spawn):
    host = spawn(config("adaptive") | {"models": [{"path": "fake:sleep?size=32&ms=500"}]})
    requests = [host.request(INFER_RAW, any_raw()) for _ in range(7)]

    together = sizes(map(host.answer, requests))
    assert max(together) > 1


def test_adaptive_takes_batches_and_single_requests_together(spawn):
    host = spawn(config("adaptive") | {"models": [{"path": "fake:sleep?size=32&ms=700"}]})
    busy = host.request(INFER_RAW, any_raw())
    host.command("ping")
    answers = host.together(
        (INFER_BATCH, batch(0, [any_item()] * 3)),
        (INFER_RAW, any_raw()),
        (INFER_BATCH, batch(0, [any_item()])),
    )
    assert "error" not in host.answer(busy)
    assert sum(sizes(answers[0]["results"])) + sizes([answers[1]])[0] > 4


@pytest.mark.parametrize(("asked", "most"), [(None, 8), (3, 3), (20, 20)])
def test_adaptive_batches_have_a_limit(spawn, asked, most):
    host = spawn(
        config("adaptive", max_batch_size=asked) | {"models": [{"path": "fake:sleep?size=32&ms=60"}]}
    )
    together = sizes(host.together(*many(60)))
    assert max(together) <= most
    assert max(together) > 1


def test_adaptive_never_exceeds_what_the_model_takes(shared_host):
    host = shared_host(ADAPTIVE)
    assert max(sizes(host.together(*many(30, 2)))) <= 2
    assert sizes(host.together(*many(30, 3))) == [1] * 30


BAD_ITEMS = [any_item(), (0, 0, ENCODED, b"garbage"), any_item(WHITE), any_item(), any_item()]
BAD_OUTCOMES = [None, "decode_failed", "inference_failed", None, None]


@pytest.mark.parametrize("mode", [NONE, LIST, WINDOW_BY_SIZE, ADAPTIVE], ids=lambda mode: mode["batch_mode"])
def test_one_bad_item_never_fails_its_neighbours(shared_host, mode):
    host = shared_host(mode)
    results = host.ask(INFER_BATCH, batch(1, BAD_ITEMS))["results"]
    assert [result.get("code") for result in results] == BAD_OUTCOMES

    results = host.ask(INFER_BATCH, batch(1, [(0, 0, ENCODED, b"garbage")] * 3))["results"]
    assert [result["code"] for result in results] == ["decode_failed"] * 3


@pytest.mark.parametrize("mode", [WINDOW_BY_SIZE, ADAPTIVE], ids=lambda mode: mode["batch_mode"])
def test_one_bad_request_never_fails_those_that_it_runs_with(shared_host, mode):
    requests = [*many(3, 1), (INFER_RAW, any_raw(1, value=WHITE))]
    answers = shared_host(mode).together(*requests)
    assert [answer.get("code") for answer in answers] == [None] * 3 + ["inference_failed"]


def test_a_large_batch_does_not_hold_up_another_model(spawn):
    """Shares are fair: a single request does not wait for all of another slot's batch."""
    slow = {"path": "fake:sleep?size=32&ms=50"}
    host = spawn({"protocol": 3, "runtime": "fake", "models": [slow, NOOP]})
    long = host.request(INFER_BATCH, batch(0, [any_item()] * 40))
    short = host.request(INFER_RAW, any_raw(1))
    host.answer(short)
    assert not host.is_answered(long)
    host.answer(long)
