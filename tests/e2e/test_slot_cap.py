"""`maxQueued`: a slot that has too much waiting refuses at once, and no other slot is held up by it."""

import pytest
from e2e.queues import (
    AHEAD,
    HANG,
    cancel,
    codes,
    config,
    fill,
    send_all,
    send_pictures,
    sleeper,
    slot_metrics,
    wait_queue,
)
from wire import (
    CACHE_FRAME,
    INFER_BATCH,
    INFER_CACHED,
    INFER_RAW,
    RGB,
    SMALL,
    any_item,
    any_raw,
    batch,
    cache,
    cached,
    pixels,
)

PICTURE = (INFER_RAW, any_raw())
NOOP = {"path": "fake:noop?size=32"}
CAP = 4


def infer_batch(count: int) -> tuple[int, bytes]:
    return INFER_BATCH, batch(0, [any_item()] * count)


@pytest.mark.parametrize("overload", ["wait", "reject"])
def test_what_comes_beyond_the_cap_is_overloaded_at_once(spawn, overload):
    host = spawn(config(HANG | {"maxQueued": CAP}, limits={"overload": overload, "maxInFlight": 16}))
    filled = fill(host, *PICTURE)
    waiting = send_pictures(host, [None] * CAP)
    beyond = send_pictures(host, [None] * 100)
    assert codes(map(host.answer, beyond)) == ["overloaded"] * 100
    assert host.command("ping")["status"] == "ok"
    assert not any(map(host.is_answered, filled + waiting))
    assert slot_metrics(host)["errors"] == {"overloaded": 100}
    assert slot_metrics(host)["queue"]["waiting"] == CAP


def test_the_error_says_which_limit_it_is(spawn):
    host = spawn(config(HANG | {"maxQueued": 1}))
    fill(host, *PICTURE)
    answers = [host.answer(request_id) for request_id in send_pictures(host, [None] * 2)[1:]]
    assert codes(answers) == ["overloaded"]
    assert "maxQueued" in answers[0]["error"]


def test_items_of_batches_count_each(spawn):
    host = spawn(config(HANG | {"maxQueued": CAP}))
    fill(host, *PICTURE)
    three, two, one, more = send_all(host, [infer_batch(3), infer_batch(2), PICTURE, PICTURE])
    assert codes(map(host.answer, [two, more])) == ["overloaded"] * 2
    host.command("ping")
    assert not any(map(host.is_answered, [three, one]))


def test_a_batch_beyond_the_cap_is_taken_where_nothing_waits(spawn):
    host = spawn(config(sleeper() | {"maxQueued": CAP}))
    assert codes(host.ask(*infer_batch(20))["results"]) == ["ok"] * 20


def test_what_is_cancelled_makes_room(spawn):
    host = spawn(config(HANG | {"maxQueued": CAP}))
    fill(host, *PICTURE)
    waiting = send_pictures(host, [None] * CAP)
    assert host.ask(*PICTURE)["code"] == "overloaded"
    assert cancel(host, waiting[1]) == 1
    taken = host.request(*PICTURE)
    assert host.ask(*PICTURE)["code"] == "overloaded"
    assert not host.is_answered(taken)


def test_what_is_superseded_makes_room_for_what_supersedes_it(spawn):
    """A host that wants the newest picture always gets it in."""
    host = spawn(config(HANG | {"maxQueued": 1}))
    fill(host, *PICTURE)
    ids = send_pictures(host, [{"source": "yard", "supersede": True}] * 20)
    assert codes(map(host.answer, ids[:-1])) == ["superseded"] * 19
    host.command("ping")
    assert not host.is_answered(ids[-1])


def test_what_waits_for_a_load_is_capped_when_that_is_done(spawn):
    host = spawn(config())
    path = "fake:sleep?size=32&ms=300"
    host.request(0, {"cmd": "load", "index": 0, "config": {"path": path, "maxQueued": CAP}})
    found = codes(map(host.answer, send_pictures(host, [None] * 30)))
    assert found[: AHEAD + CAP] == ["ok"] * (AHEAD + CAP)
    assert set(found[AHEAD + CAP + 1 :]) == {"overloaded"}


def test_a_request_for_what_is_full_is_overloaded_and_its_frame_stays(spawn):
    host = spawn(config(HANG | {"maxQueued": 1}, NOOP))
    host.ask(CACHE_FRAME, cache(1, SMALL, SMALL, RGB, pixels(SMALL, SMALL)))
    fill(host, *PICTURE)
    host.request(*PICTURE)
    assert host.ask(INFER_CACHED, cached(0, 1))["code"] == "overloaded"
    assert host.ask(CACHE_FRAME, cache(2, SMALL, SMALL, RGB, pixels(SMALL, SMALL)))["status"] == "cached"


def test_another_slot_goes_on_beside_a_slow_one(spawn):
    host = spawn(config(sleeper(150, maxQueued=CAP), NOOP, limits={"maxInFlight": 16}))
    slow = send_pictures(host, [None] * 100)
    quick = send_pictures(host, [None] * 8, 1)
    assert codes(map(host.answer, quick)) == ["ok"] * 8
    found = codes(map(host.answer, slow))
    assert found.count("ok") <= 1 + AHEAD + CAP + 1
    assert set(found) == {"ok", "overloaded"}


def test_another_slot_goes_on_beside_one_that_hangs(spawn):
    """When the call has hung for five seconds its share of the device is another's."""
    host = spawn(config(HANG | {"maxQueued": CAP}, NOOP, limits={"maxInFlight": 16}))
    fill(host, *PICTURE)
    stuck = send_pictures(host, [None] * 100)
    quick = send_pictures(host, [None] * 4, 1)
    assert codes(map(host.answer, stuck[CAP:])) == ["overloaded"] * (100 - CAP)
    assert codes(map(host.answer, quick)) == ["ok"] * 4
    wait_queue(host, waiting=CAP, ready=AHEAD, predicting=1)
