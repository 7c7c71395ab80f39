"""The limits: what waits, what is refused at once, and that memory stays bounded whatever the host does."""

import json

import pytest
from wire import (
    CACHE_FRAME,
    COMMAND,
    INFER_BATCH,
    INFER_CACHED,
    INFER_RAW,
    RGB,
    any_item,
    any_raw,
    batch,
    cache,
    cached,
    packet,
    pixels,
    raw,
)

NOOP = {"path": "fake:noop?size=32"}
MEBI = 1 << 20


def sleeper(ms: int) -> dict:
    return {"path": f"fake:sleep?size=32&ms={ms}"}


def config(model: dict, protocol: int = 3, **limits) -> dict:
    return {"protocol": protocol, "runtime": "fake", "models": [model], "limits": limits}


def codes(answers) -> list[str | None]:
    return [answer.get("code") for answer in answers]


@pytest.mark.parametrize("limits", [{"maxInFlight": 2}, {"maxInFlight": 1}, {"maxInFlightBytes": 1500}])
def test_wait_answers_all_in_the_end(spawn, limits):
    host = spawn(config(sleeper(20), **limits))
    requests = [host.packet(INFER_RAW, any_raw()) for _ in range(12)]
    host.send(b"".join(data for _, data in requests))

    ids = [request_id for request_id, _ in requests]
    assert codes(map(host.answer, ids)) == [None] * 12
    if limits == {"maxInFlight": 1}:  # of several in flight, any may be prepared first
        assert [request_id for request_id in host.received if request_id in ids] == ids
    assert host.ready["limits"].items() >= limits.items()


def test_wait_holds_back_commands_too_and_serves_them_in_their_turn(spawn):
    host = spawn(config(sleeper(200), maxInFlight=1))
    answers = host.together((INFER_RAW, any_raw()), (INFER_RAW, any_raw()), (COMMAND, {"cmd": "ping"}))
    assert codes(answers) == [None] * 3


@pytest.mark.parametrize(
    "limits", [{"maxInFlight": 2}, {"maxInFlightBytes": 2000}], ids=["requests", "bytes"]
)
@pytest.mark.parametrize("protocol", [2, 3])
def test_reject_answers_overloaded_at_once(spawn, protocol, limits):
    host = spawn(config(sleeper(300), protocol, overload="reject", **limits))
    for _ in range(2):  # what was refused is booked off again
        requests = [host.packet(INFER_RAW, any_raw()) for _ in range(6)]
        host.send(b"".join(data for _, data in requests))
        assert host.command("ping")["status"] == "ok"

        answers = [host.answer(request_id) for request_id, _ in requests]
        assert codes(answers) == [None, None, *["overloaded"] * 4]
        assert ("detections" in answers[-1]) is (protocol == 2)
        arrived = [host.received.index(request_id) for request_id, _ in requests]
        assert min(arrived[:2]) > max(arrived[2:])


def test_reject_refuses_batches_and_frames_and_forgets_the_frame(spawn):
    host = spawn(config(sleeper(500), overload="reject", maxInFlight=1))
    host.ask(CACHE_FRAME, cache(1, 16, 16, RGB, pixels(16, 16)))
    busy, batched, kept = host.together(
        (INFER_RAW, any_raw()),
        (INFER_BATCH, batch(0, [any_item()] * 100)),
        (CACHE_FRAME, cache(1, 200, 200, RGB, pixels(200, 200))),
    )
    assert codes([busy, batched, kept]) == [None, "overloaded", "overloaded"]
    assert host.ask(INFER_CACHED, cached(0, 1))["code"] == "frame_not_cached"


@pytest.mark.parametrize("overload", ["wait", "reject"])
def test_one_packet_is_always_admitted_when_nothing_is_in_flight(spawn, overload):
    host = spawn(config(NOOP, overload=overload, maxInFlightBytes=10))
    for _ in range(3):
        assert host.ask(INFER_RAW, any_raw())["detections"] == []


def test_failed_requests_are_booked_off(spawn):
    host = spawn(config(NOOP, maxInFlight=2, overload="reject"))
    bad = [
        (INFER_RAW, b""),
        (INFER_RAW, any_raw(9)),
        (INFER_CACHED, cached(0, 9)),
        (0x42, b""),
        (INFER_BATCH, batch(0, [])),
        (INFER_BATCH, batch(0, [], 3)),
        (INFER_RAW, raw(0, 0, 0, 0x7F, b"no picture")),
    ]
    for type_byte, payload in bad * 3:
        assert host.ask(type_byte, payload).get("code") != "overloaded"
    assert host.ask(INFER_RAW, any_raw())["detections"] == []


LIMIT = 4096
LONGER = pixels(64, 64)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_packet_over_max_packet_bytes_is_too_large_and_the_connection_lives(spawn, protocol):
    host = spawn(config(NOOP, protocol, maxPacketBytes=LIMIT))
    for type_byte, payload in (
        (INFER_RAW, raw(0, 64, 64, RGB, LONGER)),
        (INFER_BATCH, batch(0, [(64, 64, RGB, LONGER)])),
        (CACHE_FRAME, cache(1, 64, 64, RGB, LONGER)),
        (COMMAND, b'{"cmd":"ping"}' + b" " * LIMIT),
        (0x42, bytes(LIMIT)),
    ):
        answer = host.ask(type_byte, payload)
        assert answer["code"] == "too_large"
        assert answer["error"]
        assert host.ask(INFER_RAW, any_raw())["detections"] == []


def test_the_limit_is_the_length_field_and_reaching_it_is_allowed(spawn):
    host = spawn(config(NOOP, maxPacketBytes=LIMIT))
    ping = b'{"cmd":"ping"}'
    assert host.ask(COMMAND, ping.ljust(LIMIT - 5))["status"] == "ok"
    assert host.ask(COMMAND, ping.ljust(LIMIT - 4))["code"] == "too_large"


def test_a_huge_packet_is_skipped_without_being_stored(spawn):
    host = spawn(config(NOOP, maxPacketBytes=MEBI))
    host.ask(INFER_RAW, any_raw())
    before = host.resident_bytes
    size = 200 * MEBI
    host.send((5 + size).to_bytes(4, "little") + (77_777).to_bytes(4, "little") + bytes([INFER_RAW]))
    chunk = bytes(4 * MEBI)
    for _ in range(size // len(chunk)):
        host.send(chunk)

    assert host.answer(77_777)["code"] == "too_large"
    assert host.ask(INFER_RAW, any_raw())["detections"] == []
    assert host.resident_bytes - before < 32 * MEBI


def test_a_packet_that_only_claims_to_be_huge_takes_no_memory(spawn):
    host = spawn(config(NOOP))
    before = host.resident_bytes
    size = 255 * MEBI
    host.send((5 + size).to_bytes(4, "little") + (3).to_bytes(4, "little") + bytes([INFER_RAW]) + bytes(1000))
    assert host.process.poll() is None
    assert host.resident_bytes - before < 64 * MEBI
    assert host.finish() == 2


FRAME = pixels(100, 100)  # 30,000 bytes; its tensor for a 32x32 model has 12,288


def keep(host, frame_id: int) -> None:
    assert host.ask(CACHE_FRAME, cache(frame_id, 100, 100, RGB, FRAME))["status"] == "cached"


def is_kept(host, frame_id: int) -> bool:
    answer = host.ask(INFER_CACHED, cached(0, frame_id))
    assert answer.get("code") in (None, "frame_not_cached")
    return "error" not in answer


def test_the_frame_cache_forgets_what_was_used_longest_ago(spawn):
    host = spawn(config(NOOP, frameCacheBytes=100_000))
    for frame_id in (1, 2, 3):
        keep(host, frame_id)
    assert is_kept(host, 1)  # with its tensor there is one too many: the second goes
    assert is_kept(host, 1)
    assert not is_kept(host, 2)
    assert is_kept(host, 3)
    keep(host, 4)
    assert [is_kept(host, frame_id) for frame_id in (4, 2)] == [True, False]


def test_thousands_of_frames_stay_within_the_budget(spawn):
    host = spawn(config(NOOP, frameCacheBytes=4 * MEBI))
    keep(host, 0)
    before = host.resident_bytes
    for start in range(0, 3000, 50):
        host.together(
            *((CACHE_FRAME, cache(start + turn, 100, 100, RGB, FRAME)) for turn in range(50)),
        )
    assert host.resident_bytes - before < 100 * MEBI  # 86 MiB of frames were sent
    assert is_kept(host, 2999)
    assert not is_kept(host, 0)


@pytest.mark.parametrize("transport", ["pipe", "socket"])
def test_a_host_that_does_not_read_is_waited_for_in_bounded_memory(spawn, transport):
    host = spawn(reads=False, transport=transport)
    model = {**NOOP, "postprocessor": "raw"}  # 9.6 KB an answer
    host.send(packet(0, COMMAND, json.dumps(config(model, maxInFlight=64)).encode()))
    requests = b"".join(packet(1 + turn, INFER_RAW, raw(0, 64, 64, RGB, LONGER)) for turn in range(4000))
    sent = host.send_some(requests, patience_s=3.0)
    resident = host.resident_bytes

    assert sent < len(requests)
    assert resident < 300 * MEBI
    host.read()
    assert host.answer(0)["status"] == "ready"
    host.send(requests[sent:])
    for turn in range(4000):
        assert "tensors" in host.answer(1 + turn)
    assert host.finish() == 0
