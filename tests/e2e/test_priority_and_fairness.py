"""Whose turn it is: priorities, turns among the sources of one priority, and time shared among slots.

What is prepared ahead can no longer be overtaken, and two pictures may change places while they are
prepared: orders are asked for with a few places of tolerance.
"""

import time
from collections.abc import Sequence

import pytest
from e2e.queues import (
    AHEAD,
    arrival_order,
    codes,
    config,
    send_all,
    send_pictures,
    sleeper,
    slot_metrics,
    wait_queue,
)
from raw_host import RawHost
from wire import INFER_BATCH, INFER_RAW, any_item, any_raw, batch

ITEM_MS = 5
SLACK = AHEAD + 2

LIST = config(sleeper(ms_per_item=ITEM_MS), batch_mode="list", limits={"maxInFlight": 1000})
"""A worker whose slot can be kept busy for as long as a batch is large."""


@pytest.fixture
def host(shared_host) -> RawHost:
    return shared_host(LIST)


def block(host: RawHost, items: int = 80) -> int:
    """Keep the slot's only lane busy, and have pictures prepared ahead: what comes now waits its turn."""
    request_id = host.request(INFER_BATCH, batch(0, [any_item()] * items))
    wait_queue(host, predicting=1, ready=0)
    send_pictures(host, [None] * AHEAD)
    return request_id


def in_order(host: RawHost, ids: Sequence[int]) -> list[int]:
    """Wait for all answers, without an error, and return the ids in the order of their arrival."""
    assert codes(map(host.answer, ids)) == ["ok"] * len(ids)
    return arrival_order(host, ids)


def places(order: Sequence[int], ids: Sequence[int]) -> list[int]:
    return [order.index(request_id) for request_id in ids]


def test_high_goes_before_normal_and_normal_before_low(host):
    block(host)
    given = [{"priority": name} for name in ("low", "normal", "high") for _ in range(10)]
    ids = send_pictures(host, given)
    order = in_order(host, ids)

    low, normal, high = ids[:10], ids[10:20], ids[20:]
    assert max(places(order, high)) < 10 + SLACK
    assert max(places(order, normal)) < 20 + SLACK
    assert min(places(order, low)) >= 20 - SLACK


def test_no_priority_is_the_normal_one(host):
    block(host)
    given = [{"priority": "low"}] * 8 + [None] * 4 + [{"priority": "normal"}] * 4
    order = in_order(host, ids := send_pictures(host, given))
    assert max(places(order, ids[8:])) < 8 + SLACK


def test_what_comes_later_and_is_urgent_overtakes_what_has_waited(host):
    blocking = block(host, 40)
    waiting = send_pictures(host, [{"priority": "low"}] * 40)
    host.answer(blocking)
    late = send_pictures(host, [{"priority": "high"}] * 3)
    order = in_order(host, waiting + late)
    # Some were served before the urgent ones came; of the others no more than are prepared ahead.
    assert min(places(order, late)) < 40 - 10
    first = min(places(order, late))
    assert places(order, late)[-1] <= first + len(late) + SLACK


def test_batches_have_a_priority_too(host):
    block(host)
    requests = [(INFER_BATCH, batch(0, [any_item()] * 2))] * 10 + [(INFER_BATCH, batch(0, [any_item()] * 4))]
    ids = send_all(host, requests, [None] * 10 + [{"priority": "high"}])
    [host.answer(request_id) for request_id in ids]
    assert arrival_order(host, ids).index(ids[-1]) < SLACK


def test_what_came_first_goes_first_within_a_source(host):
    block(host)
    given = [{"source": name} for _ in range(15) for name in ("yard", "gate")] + [None] * 15
    ids = send_pictures(host, given)
    order = in_order(host, ids)
    for own in (ids[0:30:2], ids[1:30:2], ids[30:]):
        found = [request_id for request_id in order if request_id in own]
        assert all(abs(found.index(one) - own.index(one)) <= SLACK for one in own)


@pytest.mark.parametrize("flood", ["yard", None, ""], ids=["named", "without a name", "of an empty name"])
@pytest.mark.parametrize("priority", ["high", "normal"])
def test_a_flood_of_one_source_does_not_hold_up_another(host, flood, priority):
    block(host, 60)
    given = [{"priority": priority} | ({} if flood is None else {"source": flood})] * 100
    given += [{"source": "gate", "priority": priority}] * 5
    ids = send_pictures(host, given)
    order = in_order(host, ids)
    assert max(places(order, ids[100:])) < 2 * 5 + SLACK


def test_many_sources_take_turns(host):
    block(host)
    counts = {"a": 20, "b": 10, "c": 5, "d": 5}
    given = [{"source": name} for name, count in counts.items() for _ in range(count)]
    ids = send_pictures(host, given)
    order = in_order(host, ids)
    named = dict(zip(ids, (one["source"] for one in given), strict=True))
    for end in range(1, 20):  # all four wait until each has had five
        served = [sum(named[one] == name for one in order[:end]) for name in counts]
        assert max(served) - min(served) <= 1 + SLACK
    for end in range(20, 30):
        served = [sum(named[one] == name for one in order[:end]) for name in "ab"]
        assert served[0] - served[1] <= 1 + SLACK


def test_a_call_takes_one_turn_and_counts_by_its_items(host):
    """Batches of eight from one camera, single pictures from another: picture for picture."""
    block(host)
    requests = [(INFER_BATCH, batch(0, [any_item()] * 8))] * 6 + [(INFER_RAW, any_raw())] * 32
    given = [{"source": "crops"}] * 6 + [{"source": "gate"}] * 32
    ids = send_all(host, requests, given)
    for request_id in ids:
        assert "error" not in host.answer(request_id)
    crops, gate = 0, 0
    for request_id in arrival_order(host, ids):
        if crops < 32 and gate < 32:
            assert abs(crops - gate) <= 8 + SLACK
        crops, gate = (crops + 8, gate) if request_id in ids[:6] else (crops, gate + 1)
    assert (crops, gate) == (48, 32)


def test_a_source_that_was_idle_has_saved_up_nothing(host):
    block(host, 20)
    busy = send_pictures(host, [{"source": "busy"}] * 60)
    while sum(host.is_answered(request_id) for request_id in busy) < 20:
        time.sleep(0.005)
    both = send_pictures(host, [{"source": "idle"}] * 10)
    order = in_order(host, busy + both)
    first, last = places(order, both)[0], places(order, both)[-1]
    # It takes turns with the other from now on, and does not first make up for twenty pictures.
    assert last - first >= 2 * 9 - 2 * SLACK
    assert last - first <= 2 * 9 + 2 * SLACK


def test_sources_of_ever_new_names_do_not_starve_the_others(host):
    """A host that gives each request a source of its own: the others take their turns all the same."""
    block(host)
    plain = send_pictures(host, [None] * 4)
    fresh: list[int] = []
    while not all(map(host.is_answered, plain)) and len(fresh) < 200:
        if len(fresh) - sum(map(host.is_answered, fresh)) < 20:
            fresh += send_pictures(host, [{"source": f"track {len(fresh) + more}"} for more in range(10)])
        time.sleep(0.003)
    order = in_order(host, plain + fresh)
    assert max(places(order, plain)) < 120


@pytest.mark.parametrize("first", [0, 1])
def test_two_slots_get_the_same_time_of_one_device(spawn, first):
    """A quick model and a slow one, both with too much to do: equal shares of time, not of calls."""
    quick, slow = sleeper(3), sleeper(30)
    host = spawn(config(quick, slow, limits={"maxInFlight": 1000}))
    counts = {0: 500, 1: 40}
    for slot in (first, 1 - first):
        send_pictures(host, [None] * counts[slot], slot)
    shares = [0.0, 0.0]
    while min(shares) < 400:
        time.sleep(0.02)
        found = [slot_metrics(host, slot) for slot in (0, 1)]
        assert all(slot["queue"]["waiting"] for slot in found), (
            f"{shares} ms of predict until one had no more"
        )
        predicts = [slot["stages"]["predict"] for slot in found]
        shares = [predict["count"] * predict.get("meanMs", 0.0) for predict in predicts]
    assert 0.5 < shares[0] / shares[1] < 2.0


def test_a_priority_is_among_what_waits_for_one_slot(spawn):
    """High ones of one slot do not keep another slot from its share."""
    host = spawn(config(sleeper(10), sleeper(10), limits={"maxInFlight": 1000}))
    urgent = send_pictures(host, [{"priority": "high"}] * 100, 0)
    others = send_pictures(host, [{"priority": "low"}] * 10, 1)
    order = in_order(host, urgent + others)
    assert max(places(order, others)) < 60
