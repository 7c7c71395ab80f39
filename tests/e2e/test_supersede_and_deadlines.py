"""What is given up before predict: older pictures of a camera, and requests whose deadline has passed."""

import pytest
from e2e.queues import (
    HANG,
    cancel,
    codes,
    config,
    fill,
    metrics,
    send_all,
    send_pictures,
    sleeper,
    slot_metrics,
    wait_queue,
)
from raw_host import RawHost
from wire import (
    CACHE_FRAME,
    INFER_BATCH,
    INFER_CACHED,
    INFER_JPEG,
    INFER_RAW,
    RGB,
    SMALL,
    any_item,
    any_raw,
    batch,
    cache,
    cached,
    jpeg,
    pixels,
)

from runtimes.picture_ids import draw_id

NEWEST = {"source": "yard", "supersede": True}
LATE = {"deadlineMs": 50}
PATIENT = {"deadlineMs": 600_000}
PICTURE = (INFER_RAW, any_raw())
TWO = (INFER_BATCH, batch(0, [any_item()] * 2))

SUPERSEDED, LATE_CODE = "superseded", "deadline_exceeded"


@pytest.fixture
def stuck(spawn) -> RawHost:
    """A worker with two slots; nothing ever comes out of the first, whose lane and places ahead are taken."""
    host = spawn(config(HANG, HANG, limits={"drainTimeoutMs": 1}))
    fill(host, *PICTURE)
    return host


def test_only_the_newest_of_a_source_and_slot_is_left(stuck):
    given = [{"source": "yard"}] * 3 + [{"source": "gate"}, {"source": ""}, None]
    *yard, gate, unnamed, plain = send_pictures(stuck, given)
    other_slot = send_pictures(stuck, [{"source": "yard"}] * 2, 1)
    newest = send_pictures(stuck, [NEWEST])

    assert codes(map(stuck.answer, yard)) == [SUPERSEDED] * 3
    stuck.command("ping")
    untouched = [gate, unnamed, plain, *other_slot, *newest]
    assert not any(map(stuck.is_answered, untouched))
    assert slot_metrics(stuck)["queue"] == {"waiting": 4, "preparing": 0, "ready": 2, "predicting": 1}
    newer = send_pictures(stuck, [NEWEST])
    assert codes(map(stuck.answer, newest)) == [SUPERSEDED]
    assert not any(map(stuck.is_answered, newer))


def test_the_newer_request_decides_and_not_the_older_one(stuck):
    flagged = send_pictures(stuck, [NEWEST])
    plain = send_pictures(stuck, [{"source": "yard"}, {"source": "yard", "supersede": False}])
    stuck.command("ping")
    assert not any(map(stuck.is_answered, flagged + plain))


def test_requests_without_a_source_are_one_source(stuck):
    named = send_pictures(stuck, [{"source": "yard"}, {"source": ""}])
    older = send_pictures(stuck, [None, {"supersede": True}, None])
    assert codes([stuck.answer(older[0])]) == [SUPERSEDED]
    send_pictures(stuck, [{"supersede": True}])
    assert codes(map(stuck.answer, older[1:])) == [SUPERSEDED] * 2
    assert not any(map(stuck.is_answered, named))


def test_what_is_prepared_already_is_superseded_too(spawn):
    host = spawn(config(HANG))
    running, *prepared = fill(host, *PICTURE)  # none of them names a source
    host.request(*PICTURE, {"supersede": True})
    assert codes(map(host.answer, prepared)) == [SUPERSEDED] * 2
    host.command("ping")
    assert not host.is_answered(running)
    wait_queue(host, waiting=0, preparing=0, ready=1, predicting=1)


def test_what_is_in_predict_is_finished_and_the_newest_served(spawn):
    host = spawn(config(sleeper(500)))
    running = host.request(*PICTURE, {"source": "yard"})
    wait_queue(host, predicting=1)
    *older, newest = send_pictures(host, [NEWEST] * 12)
    assert codes(map(host.answer, older)) == [SUPERSEDED] * 11
    assert codes(map(host.answer, [running, newest])) == ["ok"] * 2
    slot = slot_metrics(host)
    assert (slot["items"], slot["batchSizes"]) == (2, {"1": 2})
    assert slot["errors"] == {SUPERSEDED: 11}


def test_items_of_an_older_batch_are_superseded_one_by_one(spawn):
    """The item that is in predict has a result; the others are error objects in their places."""
    host = spawn(config(sleeper(500)))
    older = host.request(INFER_BATCH, batch(0, [any_item()] * 5), {"source": "yard"})
    wait_queue(host, predicting=1)
    assert "error" not in host.ask(*PICTURE, NEWEST)
    results = codes(host.answer(older)["results"])
    assert sorted(results) == ["ok"] + [SUPERSEDED] * 4
    assert slot_metrics(host)["items"] == 2


def test_a_batch_supersedes_older_ones_and_not_itself(stuck):
    single, pair = send_all(stuck, [PICTURE, TWO], [{"source": "yard"}] * 2)
    newest = stuck.request(*TWO, NEWEST)
    assert stuck.answer(single)["code"] == SUPERSEDED
    assert codes(stuck.answer(pair)["results"]) == [SUPERSEDED] * 2
    stuck.command("ping")
    assert not stuck.is_answered(newest)
    assert slot_metrics(stuck)["queue"]["waiting"] == 2


def test_superseding_takes_requests_of_every_kind(stuck, encode_picture):
    assert "error" not in stuck.ask(CACHE_FRAME, cache(1, SMALL, SMALL, RGB, pixels(SMALL, SMALL)))
    kinds = [
        PICTURE,
        (INFER_JPEG, jpeg(0, encode_picture(draw_id(1, 32, 32)))),
        (INFER_CACHED, cached(0, 1)),
        PICTURE,
    ]
    for kind in kinds:
        older = send_all(stuck, kinds, [{"source": "yard"}] * len(kinds))
        stuck.request(*kind, NEWEST)
        assert codes(map(stuck.answer, older)) == [SUPERSEDED] * len(kinds)


def test_keeping_a_frame_supersedes_nothing_and_is_not_superseded(stuck):
    older = stuck.request(*PICTURE, {"source": "yard"})
    frame = cache(2, SMALL, SMALL, RGB, pixels(SMALL, SMALL))
    assert stuck.ask(CACHE_FRAME, frame, NEWEST)["status"] == "cached"
    assert not stuck.is_answered(older)


def test_what_waits_for_a_load_is_superseded(spawn):
    host = spawn(config())
    load = host.request(0, {"cmd": "load", "index": 0, "config": {"path": "fake:slowload?size=32&ms=1500"}})
    given = [{"source": "yard"}, {"source": "gate"}, {"source": "yard"}, NEWEST]
    first, gate, second, newest = send_pictures(host, given)
    assert codes(map(host.answer, [first, second])) == [SUPERSEDED] * 2
    assert not host.is_answered(load)
    assert codes(map(host.answer, [gate, newest])) == ["ok"] * 2


@pytest.mark.parametrize("mode", ["none", "list", "window", "adaptive"])
def test_with_cameras_that_send_on_every_request_has_one_answer(spawn, mode):
    """The last of each camera is served whatever happens in between."""
    model = {"path": "fake:sleep?size=32&ms=3"}
    host = spawn(config(model, batch_mode=mode, window_ms=2, max_batch_size=4))
    given = [{"source": f"camera {turn % 4}", "supersede": True} for turn in range(400)]
    ids = [request_id for start in range(0, 400, 8) for request_id in send_pictures(host, given[start:][:8])]
    found = codes(map(host.answer, ids))
    assert found[-4:] == ["ok"] * 4
    assert set(found) == {"ok", SUPERSEDED}
    told = metrics(host)["requests"]
    assert (told["ok"], told[SUPERSEDED]) == (found.count("ok"), found.count(SUPERSEDED))
    assert host.finish() == 0
    assert host.untaken() == {}


# Deadlines


def test_nothing_is_spent_on_what_is_late(stuck):
    """Unprepared, and prepared but not in predict."""
    late = send_pictures(stuck, [LATE] * 20)
    late.append(stuck.request(*TWO, LATE))
    patient = send_pictures(stuck, [PATIENT] * 2)
    answers = list(map(stuck.answer, late))
    assert codes(answers[:-1]) == [LATE_CODE] * 20
    assert codes(answers[-1]["results"]) == [LATE_CODE] * 2
    # Only what was there before, and what has time, waits for predict still.
    assert slot_metrics(stuck)["queue"] == {"waiting": 2, "preparing": 0, "ready": 2, "predicting": 1}
    assert slot_metrics(stuck)["errors"] == {LATE_CODE: 21}
    assert not any(map(stuck.is_answered, patient))


def test_what_is_prepared_and_late_makes_room_for_others(spawn):
    host = spawn(config(HANG))
    host.request(*PICTURE)
    wait_queue(host, predicting=1)
    late = send_pictures(host, [LATE] * 6)
    patient = send_pictures(host, [None] * 4)
    assert codes(map(host.answer, late)) == [LATE_CODE] * 6
    wait_queue(host, waiting=2, preparing=0, ready=2, predicting=1)
    assert not any(map(host.is_answered, patient))


def test_late_items_of_a_batch_are_error_objects_in_their_places(spawn):
    host = spawn(config(sleeper(600)))
    [results] = [host.ask(INFER_BATCH, batch(0, [any_item()] * 4), {"deadlineMs": 400})["results"]]
    assert sorted(codes(results)) == [LATE_CODE] * 3 + ["ok"]
    assert slot_metrics(host)["items"] == 1


def test_late_ones_leave_the_batch_that_they_would_have_been_in(spawn):
    """What is merged into one call holds only those that somebody waits for."""
    host = spawn(config(sleeper(600), batch_mode="adaptive", max_batch_size=8))
    running = host.request(*PICTURE)
    wait_queue(host, predicting=1)
    ids = send_pictures(host, [LATE, PATIENT] * 3)
    answers = list(map(host.answer, ids))
    assert codes(answers) == [LATE_CODE, "ok"] * 3
    assert [answer["batchSize"] for answer in answers[1::2]] == [3] * 3
    assert "error" not in host.answer(running)


def test_a_deadline_passes_while_announced_requests_wait_for_a_busy_lane(spawn):
    host = spawn(config(HANG, max_batch_size=4))
    host.request(*PICTURE)
    wait_queue(host, predicting=1)
    hint = {"batchHint": 3, "batchHintMs": 60_000}
    late, patient = send_pictures(host, [hint | LATE, hint])
    assert host.answer(late)["code"] == LATE_CODE
    assert not host.is_answered(patient)
    assert cancel(host, patient) == 1


def test_deadlines_pass_while_a_model_loads_and_are_counted(spawn):
    host = spawn(config())
    load = host.request(0, {"cmd": "load", "index": 0, "config": {"path": "fake:slowload?size=32&ms=1200"}})
    late = send_pictures(host, [LATE] * 20)
    patient = send_pictures(host, [PATIENT])
    assert codes(map(host.answer, late)) == [LATE_CODE] * 20
    assert not host.is_answered(load)
    assert "error" not in host.answer(patient[0])
    slot = slot_metrics(host)
    assert (slot["errors"], slot["items"], slot["batchSizes"]) == ({LATE_CODE: 20}, 1, {"1": 1})


def test_a_late_batch_that_waits_for_its_load_is_answered_as_one_that_waits_its_turn(spawn):
    """Its items are error objects in their places, wherever it waited."""
    host = spawn(config())
    host.request(0, {"cmd": "load", "index": 0, "config": {"path": "fake:slowload?size=32&ms=800"}})
    late = host.ask(*TWO, LATE)
    assert codes(late.get("results", [])) == [LATE_CODE] * 2, late


def test_a_deadline_that_has_passed_holds_however_quick_the_picture_is_prepared(spawn):
    host = spawn(config({"path": "fake:noop?size=32"}))
    late = send_pictures(host, [{"deadlineMs": 0.000001}] * 50)
    assert codes(map(host.answer, late)) == [LATE_CODE] * 50
    assert slot_metrics(host)["batchSizes"] == {}
