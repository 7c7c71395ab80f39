"""`cancel` at each stage of a request's way: what is stopped, what goes on; and each has its one answer."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
from e2e.queues import (
    HANG,
    cancel,
    codes,
    config,
    fill,
    metrics,
    send_pictures,
    sleeper,
    slot_metrics,
    wait_queue,
)
from raw_host import RawHost
from wire import (
    CACHE_FRAME,
    COMMAND,
    ENCODED,
    INFER_BATCH,
    INFER_CACHED,
    INFER_JPEG,
    INFER_RAW,
    INFER_SHARED,
    RGB,
    SMALL,
    any_item,
    any_raw,
    batch,
    cache,
    cached,
    command,
    jpeg,
    packet,
    pixels,
    shared,
)

from runtimes.picture_ids import draw_id

PICTURE = (INFER_RAW, any_raw())
FRAME = pixels(SMALL, SMALL)
CANCELLED = "cancelled"


def load(ms: int) -> dict:
    return {"cmd": "load", "index": 0, "config": {"path": f"fake:slowload?size=32&ms={ms}"}}


def cancelling(request_id: int) -> dict:
    return {"cmd": "cancel", "requestId": request_id}


@pytest.fixture(scope="module")
def stuck_worker() -> Iterator[RawHost]:
    host = RawHost.spawn(config(HANG))
    fill(host, *PICTURE)
    yield host
    host.destroy()


@pytest.fixture
def stuck(stuck_worker) -> Iterator[RawHost]:
    """A worker of one slot, of which nothing ever comes out; its lane and its places ahead are taken."""
    first = stuck_worker.next_id()
    yield stuck_worker
    for request_id in range(first + 1, stuck_worker.next_id()):
        cancel(stuck_worker, request_id)
    wait_queue(stuck_worker, waiting=0, preparing=0, ready=2, predicting=1)


@pytest.fixture(scope="module")
def large_jpeg(encode_picture) -> bytes:
    """A file that takes some ten milliseconds to decode."""
    return encode_picture(np.random.default_rng(1).integers(0, 255, (1200, 1600, 3), np.uint8))


def test_what_waits_for_a_load_is_cancelled(spawn):
    host = spawn(config())
    loading = host.request(COMMAND, load(1200))
    first, second, third = (host.request(*PICTURE) for _ in range(3))
    assert cancel(host, second) == 1
    assert host.answer(second)["code"] == CANCELLED
    assert not host.is_answered(loading)
    assert cancel(host, second) == 0
    assert codes(map(host.answer, [first, third])) == ["ok"] * 2
    assert slot_metrics(host)["items"] == 2


def test_a_batch_that_waits_for_a_load_has_its_items_cancelled(spawn):
    """They are error objects in their places, wherever it waited."""
    host = spawn(config())
    host.request(COMMAND, load(600))
    request_id = host.request(INFER_BATCH, batch(0, [any_item()] * 3))
    assert cancel(host, request_id) == 1
    answer = host.answer(request_id)
    assert codes(answer.get("results", [])) == [CANCELLED] * 3, answer


def test_what_waits_unprepared_is_cancelled(stuck):
    waiting = send_pictures(stuck, [None] * 30)
    for request_id in waiting[10:20]:
        assert cancel(stuck, request_id) == 1
        assert stuck.answer(request_id)["code"] == CANCELLED
    assert slot_metrics(stuck)["queue"] == {"waiting": 20, "preparing": 0, "ready": 2, "predicting": 1}
    assert not any(map(stuck.is_answered, waiting[:10] + waiting[20:]))


def test_what_is_prepared_is_cancelled_and_makes_room(spawn):
    host = spawn(config(HANG))
    running, *prepared = fill(host, *PICTURE)
    waiting = send_pictures(host, [None] * 3)
    assert [cancel(host, request_id) for request_id in prepared] == [1, 1]
    assert codes(map(host.answer, prepared)) == [CANCELLED] * 2
    wait_queue(host, waiting=1, preparing=0, ready=2, predicting=1)
    assert not any(map(host.is_answered, [running, *waiting]))


def test_what_is_being_prepared_is_cancelled_and_makes_room(spawn, large_jpeg):
    host = spawn(config(HANG))
    host.request(*PICTURE)
    wait_queue(host, predicting=1)
    for _ in range(10):
        request_id = host.next_id()
        picture = packet(request_id, INFER_JPEG, jpeg(0, large_jpeg))
        asked = host.next_id()
        host.send(picture + command(asked, cancelling(request_id)))
        assert host.answer(asked)["cancelled"] == 1
        assert host.answer(request_id)["code"] == CANCELLED
    for _ in range(4):  # of the ten none keeps a place
        host.request(*PICTURE)
    wait_queue(host, waiting=2, preparing=0, ready=2, predicting=1)


def test_what_is_in_predict_goes_on_and_is_answered(spawn):
    host = spawn(config(sleeper(500)))
    running = host.request(*PICTURE)
    wait_queue(host, predicting=1)
    assert cancel(host, running) == 0
    assert host.answer(running)["detections"] == []
    assert cancel(host, running) == 0
    assert metrics(host)["requests"] == {"ok": 1}


@pytest.mark.parametrize("request_id", [0, 12_345, 0xFFFF_FFFF])
def test_what_nothing_has_is_no_error(stuck, request_id):
    assert cancel(stuck, request_id) == 0


@pytest.mark.parametrize("given", [None, -1, 1 << 32, "seven", [7], True])
def test_what_is_no_id_is_a_bad_request(stuck, given):
    answer = stuck.ask(COMMAND, {"cmd": "cancel", "requestId": given})
    assert (answer["status"], answer["code"]) == ("error", "bad_request")


def test_an_id_that_is_in_flight_twice_is_cancelled_twice(stuck):
    request_id = stuck.next_id()
    stuck.send(packet(request_id, *PICTURE) + packet(request_id, INFER_BATCH, batch(0, [any_item()] * 2)))
    assert cancel(stuck, request_id) == 2
    answers = [stuck.answer(request_id) for _ in range(2)]
    assert sorted(codes(answers)) == [CANCELLED, "ok"]
    [results] = [answer["results"] for answer in answers if "results" in answer]
    assert codes(results) == [CANCELLED] * 2


def test_a_batch_is_cancelled_in_part(spawn):
    """The item that is in predict has its result; the others are error objects in their places."""
    host = spawn(config(sleeper(500)))
    request_id = host.request(INFER_BATCH, batch(0, [any_item()] * 6))
    wait_queue(host, predicting=1)
    assert cancel(host, request_id) == 1
    assert not host.is_answered(request_id)
    assert cancel(host, request_id) == 0
    assert sorted(codes(host.answer(request_id)["results"])) == [CANCELLED] * 5 + ["ok"]
    slot = slot_metrics(host)
    assert (slot["items"], slot["failedItems"]) == (1, 5)


def test_what_was_cancelled_leaves_the_batch_that_it_would_have_been_in(spawn):
    host = spawn(config(sleeper(500), batch_mode="adaptive", max_batch_size=8))
    running = host.request(*PICTURE)
    wait_queue(host, predicting=1)
    ids = send_pictures(host, [None] * 8)
    for request_id in ids[::2]:
        assert cancel(host, request_id) == 1
    answers = list(map(host.answer, ids))
    assert codes(answers) == [CANCELLED, "ok"] * 4
    assert [answer["batchSize"] for answer in answers[1::2]] == [4] * 4
    assert "error" not in host.answer(running)


def test_a_request_that_waits_for_its_region_is_cancelled(spawn, tmp_path):
    path = tmp_path / "region"
    path.write_bytes(FRAME)
    host = spawn(config({"path": "fake:echo?size=32"}))
    attach = {"cmd": "region_attach", "regionId": 7, "path": str(path), "size": len(FRAME)}
    asked, (first, data) = host.next_id(), host.packet(COMMAND, attach)
    requests = [host.packet(INFER_SHARED, shared(0, 7, 0, SMALL, SMALL, RGB, len(FRAME))) for _ in range(2)]
    (cancelled, _), (kept, _) = requests
    host.send(data + b"".join(one for _, one in requests) + command(asked, cancelling(cancelled)))
    assert host.answer(asked)["cancelled"] == 1
    assert host.answer(cancelled)["code"] == CANCELLED
    assert host.answer(first)["status"] == "ok"
    assert host.received.index(cancelled) < host.received.index(first)
    assert "error" not in host.answer(kept)
    assert host.command("region_detach", regionId=7)["status"] == "ok"


@pytest.mark.parametrize("trusted", [True, False])
def test_a_shared_picture_that_waits_is_cancelled_and_lets_go_of_its_region(stuck, tmp_path, trusted):
    path = tmp_path / "region"
    path.write_bytes(FRAME)
    stuck.command("region_attach", regionId=7, path=str(path), size=len(FRAME), trusted=trusted)
    payload = shared(0, 7, 0, SMALL, SMALL, RGB, len(FRAME))
    waiting = [stuck.request(INFER_SHARED, payload) for _ in range(3)]
    detached = stuck.request(COMMAND, {"cmd": "region_detach", "regionId": 7})
    for request_id in waiting:
        stuck.command("ping")
        assert not stuck.is_answered(detached)
        assert cancel(stuck, request_id) == 1
    assert codes(map(stuck.answer, waiting)) == [CANCELLED] * 3
    assert stuck.answer(detached)["status"] == "ok"


def test_a_cached_picture_is_cancelled_and_its_frame_stays(stuck):
    assert "error" not in stuck.ask(CACHE_FRAME, cache(1, SMALL, SMALL, RGB, FRAME))
    waiting = [stuck.request(INFER_CACHED, cached(0, 1)) for _ in range(4)]
    for request_id in waiting:
        assert cancel(stuck, request_id) == 1
        assert stuck.answer(request_id)["code"] == CANCELLED
    assert metrics(stuck)["cache"]["frames"] == 1


def test_commands_and_frames_are_never_cancelled(spawn, large_jpeg):
    host = spawn(config())
    ids = {name: host.next_id() for name in ("load", "drain", "frame")}
    host.send(command(ids["load"], load(600)))
    host.send(packet(ids["frame"], CACHE_FRAME, cache(1, 0, 0, ENCODED, large_jpeg)))
    asked = host.next_id()
    host.send(command(asked, cancelling(ids["frame"])))
    assert host.answer(asked)["cancelled"] == 0
    assert host.answer(ids["frame"])["status"] == "cached"
    host.send(command(ids["drain"], {"cmd": "drain"}))
    for name in ("load", "drain"):
        assert cancel(host, ids[name]) == 0
        assert host.answer(ids[name])["status"] == "ok"


class Load:
    """Sends requests of every kind at random, and cancels some of them, at once or later."""

    def __init__(self, host: RawHost, png: bytes, seed: int) -> None:
        self._host = host
        self._random = random.Random(seed)
        picture = shared(0, 7, 0, SMALL, SMALL, RGB, len(FRAME))
        self._kinds = [
            PICTURE,
            (INFER_JPEG, jpeg(0, png)),
            (INFER_BATCH, batch(0, [any_item()] * 3)),
            (INFER_CACHED, cached(0, 1)),
            (INFER_SHARED, picture),
        ]
        self.ids: list[int] = []
        self.asked: list[int] = []

    def step(self) -> None:
        request_id, data = self._host.packet(*self._random.choice(self._kinds))
        self.ids.append(request_id)
        for _ in range(self._random.choice([0, 0, 1, 2])):
            self.asked.append(self._host.next_id())
            chosen = self._random.choice([request_id, self._random.choice(self.ids[-20:])])
            data += command(self.asked[-1], cancelling(chosen))
        self._host.send(data)

    def settle(self) -> tuple[int, list[dict]]:
        """Wait for all answers; returns the sum of `cancelled`, and the answers to the requests."""
        answers = list(map(self._host.answer, self.ids))
        return sum(self._host.answer(asked)["cancelled"] for asked in self.asked), answers


@pytest.mark.parametrize("mode", ["none", "list", "window", "adaptive"])
def test_under_load_every_request_has_one_answer_and_the_counts_add_up(spawn, encode_picture, tmp_path, mode):
    path = tmp_path / "region"
    path.write_bytes(FRAME)
    model = {"path": "fake:sleep?size=32&ms=1"}
    settings = {"batch_mode": mode, "window_ms": 2, "max_batch_size": 4, "limits": {"maxInFlight": 64}}
    host = spawn(config(model, **settings, concurrency=2))
    host.command("region_attach", regionId=7, path=str(path), size=len(FRAME))
    host.ask(CACHE_FRAME, cache(1, SMALL, SMALL, RGB, FRAME))
    under_load = Load(host, encode_picture(draw_id(3, 96, 96), ".png"), seed=len(mode))
    for _ in range(400):
        under_load.step()
    told, answers = under_load.settle()

    stopped = [answer for answer in answers if CANCELLED in codes([answer, *answer.get("results", [])])]
    assert told == len(stopped) > 20
    wholly = sum(set(codes(answer.get("results", [answer]))) == {CANCELLED} for answer in stopped)
    counted = metrics(host)["requests"]
    assert counted == {"ok": len(answers) + 1 - wholly} | ({CANCELLED: wholly} if wholly else {})
    assert {code for answer in answers for code in codes([answer, *answer.get("results", [])])} == {
        "ok",
        CANCELLED,
    }
    wait_queue(host, waiting=0, preparing=0, ready=0, predicting=0)
    assert metrics(host)["inFlight"]["requests"] == 0
    assert host.command("region_detach", regionId=7)["status"] == "ok"
    assert host.finish() == 0
    assert host.untaken() == {}
