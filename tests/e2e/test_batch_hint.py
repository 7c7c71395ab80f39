"""`batchHint`: requests that announce each other run together, in every batch mode; `batchSize` tells."""

import pytest
from e2e.queues import cancel, codes, config, send_all, send_pictures, sleeper, wait_queue
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

NOOP = {"path": "fake:noop?size=32"}
LONG_MS = 60_000
PICTURE = (INFER_RAW, any_raw())

CAP = 4
MODES = {
    "none": config(NOOP, batch_mode="none", max_batch_size=CAP),
    "list": config(NOOP, batch_mode="list", max_batch_size=CAP),
    "window": config(NOOP, batch_mode="window", window_ms=LONG_MS, max_batch_size=CAP),
    "adaptive": config(NOOP, batch_mode="adaptive", max_batch_size=CAP),
}


@pytest.fixture(params=MODES)
def host(request, shared_host) -> RawHost:
    return shared_host(MODES[request.param])


@pytest.fixture(params=["none", "list", "window"])
def exact(request, shared_host) -> RawHost:
    """In the mode adaptive a lane may take two batches at once."""
    return shared_host(MODES[request.param])


def hint(count: int, for_ms: float = LONG_MS, **more) -> dict:
    return {"batchHint": count, "batchHintMs": for_ms, **more}


def sizes(host: RawHost, ids: list[int]) -> list[int | str]:
    return [answer.get("code", answer.get("batchSize")) for answer in map(host.answer, ids)]


def test_announced_requests_run_as_one_as_soon_as_all_have_come(host):
    first = send_pictures(host, [hint(3)] * 2)
    host.command("ping")
    assert not any(map(host.is_answered, first))
    ids = first + send_pictures(host, [hint(3)])
    answers = list(map(host.answer, ids))
    assert [answer["batchSize"] for answer in answers] == [3] * 3
    assert len({answer["predictMs"] for answer in answers}) == 1


def test_one_batch_after_another(exact):
    assert sizes(exact, send_pictures(exact, [hint(2)] * 6)) == [2] * 6


def test_adaptive_never_makes_a_batch_beyond_the_limit_of_announced_ones(spawn):
    host = spawn(config(sleeper(400), batch_mode="adaptive", max_batch_size=CAP))
    busy = send_pictures(host, [None])
    wait_queue(host, predicting=1)
    ids = send_pictures(host, [hint(CAP - 1)] * 3 * (CAP - 1))
    found = sizes(host, busy + ids)
    assert max(found) <= CAP, found


def test_more_than_a_batch_holds_are_capped(host):
    assert sizes(host, send_pictures(host, [hint(65_535)] * 2 * CAP)) == [CAP] * 2 * CAP


def test_what_never_comes_is_waited_for_until_the_time_is_over(host):
    assert sizes(host, send_pictures(host, [hint(CAP, 150)] * 2)) == [2] * 2


def test_the_time_is_short_where_none_is_named(host):
    assert sizes(host, send_pictures(host, [{"batchHint": CAP}])) == [1]


def test_the_batch_starts_before_the_earliest_deadline(host):
    given = [hint(CAP), hint(CAP, deadlineMs=500), hint(CAP, deadlineMs=LONG_MS)]
    assert sizes(host, send_pictures(host, given)) == [3] * 3


def test_requests_of_every_kind_are_announced_together(host, encode_picture):
    assert "error" not in host.ask(CACHE_FRAME, cache(1, SMALL, SMALL, RGB, pixels(SMALL, SMALL)))
    kinds = [PICTURE, (INFER_JPEG, jpeg(0, encode_picture(draw_id(1, 32, 32)))), (INFER_CACHED, cached(0, 1))]
    for _ in range(2):  # the second time the cached tensor is there already
        assert sizes(host, send_all(host, kinds, [hint(3)] * 3)) == [3] * 3


def test_what_was_cancelled_counts_as_arrived(host):
    gone, other = send_pictures(host, [hint(3)] * 2)
    assert cancel(host, gone) == 1
    last = send_pictures(host, [hint(3)])
    assert sizes(host, [gone, other, *last]) == ["cancelled", 2, 2]


def test_where_the_first_was_cancelled_the_others_are_waited_for_still(host):
    [gone] = send_pictures(host, [hint(3)])
    assert cancel(host, gone) == 1
    assert sizes(host, [gone, *send_pictures(host, [hint(3)] * 2)]) == ["cancelled", 2, 2]


def test_what_cannot_be_decoded_counts_as_arrived(host):
    broken = send_all(host, [(INFER_JPEG, jpeg(0, b"garbage"))], [hint(3)])
    assert sizes(host, broken) == ["decode_failed"]
    assert sizes(host, send_pictures(host, [hint(3)] * 2)) == [2] * 2


def test_a_batch_of_nothing_but_cancelled_ones_holds_up_nobody(host):
    gone = send_pictures(host, [hint(3)] * 2)
    assert [cancel(host, request_id) for request_id in gone] == [1, 1]
    last = send_pictures(host, [hint(3)])
    assert sizes(host, last) == [1]
    assert sizes(host, send_pictures(host, [hint(2)] * 2)) == [2] * 2


def test_superseded_ones_count_as_arrived(host):
    named = {"source": "yard"}
    older = send_pictures(host, [hint(3, **named)])
    newer = send_pictures(host, [hint(3, supersede=True, **named), hint(3)])
    assert sizes(host, older + newer) == ["superseded", 2, 2]


def test_priorities_have_batches_apart(exact):
    given = [hint(2, priority=name) for name in ("high", "low", "high", "low")]
    answers = list(map(exact.answer, send_pictures(exact, given)))
    assert [answer["batchSize"] for answer in answers] == [2] * 4
    took = [answer["predictMs"] for answer in answers]
    assert took[:2] == took[2:]


def test_announced_ones_of_several_sources_run_together(host):
    ids = send_pictures(host, [hint(3, source=name) for name in ("yard", "gate", "")])
    assert sizes(host, ids) == [3] * 3


def test_an_infer_batch_is_not_waited_for(host):
    results = host.ask(INFER_BATCH, batch(0, [any_item()] * 2), hint(CAP))["results"]
    assert codes(results) == ["ok"] * 2


@pytest.mark.parametrize("mode", ["none", "list", "window"])
def test_without_a_batch_size_the_hint_says_nothing(spawn, mode):
    host = spawn(config(NOOP, batch_mode=mode, window_ms=1))
    assert sizes(host, send_pictures(host, [hint(3)] * 2)) == [1] * 2


def test_adaptive_caps_hints_at_what_the_model_takes(spawn):
    host = spawn(config({"path": "fake:noop?size=32&batch=2"}, NOOP, batch_mode="adaptive"))
    assert sizes(host, send_pictures(host, [hint(50)] * 4)) == [2] * 4
    assert sizes(host, send_pictures(host, [hint(50)] * 8, 1)) == [8] * 8


def test_an_open_batch_takes_nobody_elses_place(spawn):
    """What waits for its host does not keep others from being prepared and served."""
    host = spawn(config(NOOP, max_batch_size=4))
    announced = [send_pictures(host, [hint(4, priority=name)] * 3) for name in ("high", "normal", "low")]
    assert codes(map(host.answer, send_pictures(host, [None] * 50))) == ["ok"] * 50
    for name, ids in zip(("high", "normal", "low"), announced, strict=True):
        assert not any(map(host.is_answered, ids))
        assert sizes(host, ids + send_pictures(host, [hint(4, priority=name)])) == [4] * 4


def test_a_batch_whose_slot_is_busy_collects_meanwhile(spawn):
    host = spawn(config(sleeper(500), max_batch_size=4))
    busy = send_pictures(host, [None] * 2)
    wait_queue(host, predicting=1)
    ids = [send_pictures(host, [hint(4)])[0] for _ in range(4)]
    assert sizes(host, busy + ids) == [1, 1, 4, 4, 4, 4]


@pytest.mark.parametrize("end", ["drain", "unload", "end of the stream"])
def test_the_end_starts_what_has_come(spawn, end):
    host = spawn(config(NOOP, max_batch_size=4))
    ids = send_pictures(host, [hint(4)] * 3)
    if end == "end of the stream":
        assert host.finish() == 0
    else:
        assert host.command(end, index=0)["status"] == "ok"
    assert sizes(host, ids) == [3] * 3


@pytest.mark.parametrize(
    "given",
    [{"batchHint": 0}, {"batchHint": 65_536}, {"batchHint": 1.5}, {"batchHint": "3"}]
    + [{"batchHint": 3, "batchHintMs": ms} for ms in (0, -1, 60_001, "20")],
)
def test_a_hint_out_of_range_is_a_bad_request(shared_host, given):
    host = shared_host(MODES["none"])
    answer = host.ask(*PICTURE, given)
    assert answer["code"] == "bad_request"
    assert list(given)[-1] in answer["error"]
