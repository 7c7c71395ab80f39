"""INFER_SHARED: pictures that lie in a file in memory, of every format, in place and copied."""

import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from e2e.queues import HANG, codes, config, fill, metrics, sleeper, wait_queue
from e2e.region_files import KINDS, REGION, SIDE, SIZE, Regions, attached, found, infer, numbered
from wire import (
    BGR,
    BGRA,
    COMMAND,
    ENCODED,
    GRAY,
    I420,
    INFER_JPEG,
    INFER_RAW,
    INFER_SHARED,
    NV12,
    RGB,
    RGBA,
    any_raw,
    jpeg,
    packet,
    raw,
    shared,
)

ROOT = Path(__file__).resolve().parents[2]
SCENES = sorted((ROOT / "models" / "scenes").glob("scene-*.jpg"))[:3]

ECHO = {"path": "fake:echo?size=64"}


@pytest.fixture
def make_region(tmp_path) -> Iterator[Regions]:
    regions = Regions(tmp_path)
    yield regions
    regions.close()


def nv12(rgb) -> bytes:
    height, width = rgb.shape[:2]
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).reshape(-1)
    luma, chroma = planar[: width * height], planar[width * height :].reshape(2, -1)
    return luma.tobytes() + chroma.T.tobytes()


FORMATS: dict[int, Callable[..., bytes]] = {
    RGB: lambda rgb: rgb.tobytes(),
    BGR: lambda rgb: rgb[..., ::-1].tobytes(),
    GRAY: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).tobytes(),
    RGBA: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).tobytes(),
    BGRA: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA).tobytes(),
    NV12: nv12,
    I420: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).tobytes(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_what_the_same_picture_gives_in_a_packet(shared_host, make_region, kind):
    """With the model of the house and its scenes."""
    host = shared_host({"protocol": 3, "runtime": "onnxruntime", "models": [{"path": "models/shapes.onnx"}]})
    assert host.ready["models"] == 1
    seen = 0
    for scene in SCENES:
        file = scene.read_bytes()
        bgr = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        rgb = np.ascontiguousarray(bgr[..., ::-1])
        height, width = rgb.shape[:2]
        pictures = {pixel_format: make(rgb) for pixel_format, make in FORMATS.items()}
        region = make_region(kind, sum(map(len, pictures.values())) + len(file))
        attached = host.ask(COMMAND, region.attach())
        assert attached == {
            "cmd": "region_attach",
            "regionId": REGION,
            "status": "ok",
            "mapped": kind != "plain",
        }
        offset = 0
        for pixel_format, data in pictures.items():
            region.write(data, offset)
            there = host.ask(INFER_RAW, raw(0, width, height, pixel_format, data))
            here = host.ask(INFER_SHARED, shared(0, REGION, offset, width, height, pixel_format, len(data)))
            assert here["detections"] == there["detections"]
            assert here["frameSize"] == there["frameSize"] == f"{width}x{height}"
            offset += len(data)
        region.write(file, offset)
        encoded = host.ask(INFER_SHARED, shared(0, REGION, offset, 0, 0, ENCODED, len(file)))
        assert encoded["detections"] == host.ask(INFER_JPEG, jpeg(0, file))["detections"]
        seen += len(encoded["detections"])
        assert host.command("region_detach", regionId=REGION)["status"] == "ok"
    assert seen > 0


@pytest.mark.parametrize("kind", KINDS)
def test_attach_infer_and_detach_in_one_go(spawn, make_region, kind):
    host = spawn(config(ECHO))
    regions = [make_region(kind) for _ in range(20)]
    requests: list[tuple[int, Any]] = []
    for turn, region in enumerate(regions):  # always under the same id
        region.write(numbered(turn))
        requests += [
            (COMMAND, region.attach()),
            (INFER_SHARED, infer()),
            (INFER_SHARED, infer()),
            (COMMAND, {"cmd": "region_detach", "regionId": REGION}),
        ]
    answers = host.together(*requests)
    for turn in range(len(regions)):
        attached, one, other, detached = answers[4 * turn : 4 * turn + 4]
        assert (attached["status"], detached["status"]) == ("ok", "ok")
        assert found(one) == found(other) == [turn]


@pytest.mark.parametrize("kind", KINDS)
def test_detaching_is_answered_behind_the_requests_that_use_the_region(spawn, make_region, kind):
    host = spawn(config(sleeper(20)))
    region = make_region(kind)
    for _ in range(5):
        packets = [
            host.packet(COMMAND, region.attach()),
            *(host.packet(INFER_SHARED, infer()) for _ in range(3)),
            host.packet(COMMAND, {"cmd": "region_detach", "regionId": REGION}),
        ]
        host.send(b"".join(data for _, data in packets))
        ids = [request_id for request_id, _ in packets]
        assert not any("error" in host.answer(request_id) for request_id in ids)
        order = [host.received.index(request_id) for request_id in ids]
        assert order[0] == min(order)
        assert order[-1] == max(order), "the host would take the memory for its own while a request is open"


@pytest.mark.parametrize("kind", KINDS)
def test_detaching_waits_for_those_that_use_the_region_and_frees_its_id_at_once(spawn, make_region, kind):
    host = spawn(config(sleeper(150), ECHO))
    old, new = make_region(kind), make_region(kind)
    new.write(numbered(77))
    slow = [host.packet(INFER_SHARED, infer()) for _ in range(3)]
    host.ask(COMMAND, old.attach())
    host.send(b"".join(data for _, data in slow))
    detached = host.request(COMMAND, {"cmd": "region_detach", "regionId": REGION})
    assert host.ask(INFER_SHARED, infer(model=1))["code"] == "bad_request"
    assert host.ask(COMMAND, new.attach())["status"] == "ok"
    assert found(host.ask(INFER_SHARED, infer(model=1))) == [77]
    assert host.answer(detached)["status"] == "ok"
    assert codes(host.answer(request_id) for request_id, _ in slow) == ["ok"] * 3


def test_detaching_waits_for_what_waits_unread(spawn, make_region):
    host = spawn(config(HANG))
    region = make_region()
    host.ask(COMMAND, region.attach())
    fill(host, INFER_RAW, any_raw())
    waiting = host.request(INFER_SHARED, infer(), {"deadlineMs": 700})
    detached = host.request(COMMAND, {"cmd": "region_detach", "regionId": REGION})
    assert host.answer(waiting)["code"] == "deadline_exceeded"
    assert host.answer(detached)["status"] == "ok"
    assert host.received.index(waiting) < host.received.index(detached)


def test_a_request_that_was_given_up_lets_go_of_its_region_though_its_model_still_loads(spawn, make_region):
    host = spawn(config())
    host.ask(COMMAND, make_region().attach())
    load = {"cmd": "load", "index": 0, "config": {"path": "fake:slowload?size=32&ms=1500"}}
    loading = host.request(COMMAND, load)
    waiting = host.request(INFER_SHARED, infer(), {"deadlineMs": 100})
    detached = host.request(COMMAND, {"cmd": "region_detach", "regionId": REGION})
    assert host.answer(waiting)["code"] == "deadline_exceeded"
    assert host.answer(detached, deadline_s=10)["status"] == "ok"
    assert not host.is_answered(loading)


@pytest.mark.parametrize("kind", KINDS)
def test_what_waits_for_its_region_keeps_the_model_that_it_came_for(spawn, make_region, kind):
    host = spawn(config())
    for number in range(1, 6):
        region = make_region(kind)
        region.write(numbered(number))
        answers = host.together(
            (COMMAND, {"cmd": "load", "index": 0, "config": ECHO}),
            (COMMAND, region.attach()),
            (INFER_SHARED, infer()),
            (COMMAND, {"cmd": "unload", "index": 0}),
            (INFER_SHARED, infer()),
        )
        assert found(answers[2]) == [number]
        assert answers[4]["code"] == "model_not_loaded"
        detached = host.request(COMMAND, {"cmd": "region_detach", "regionId": REGION})
        assert host.answer(detached, deadline_s=10)["status"] == "ok"


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_may_be_overwritten_once_it_is_answered(spawn, make_region, kind):
    host = spawn(config(ECHO))
    region = make_region(kind)
    host.ask(COMMAND, region.attach())
    for number in range(200):
        region.write(numbered(number))
        assert found(host.ask(INFER_SHARED, infer())) == [number]


# Under load


@pytest.mark.parametrize("mode", ["none", "list", "window", "adaptive"])
def test_two_thousand_requests_each_have_their_own_picture(spawn, make_region, mode):
    """Places in several regions are written again as soon as their answer is there, and no sooner."""
    host = spawn(config(ECHO, ECHO, batch_mode=mode, window_ms=1, max_batch_size=4))
    regions = {number: make_region(kind, 4 * SIZE) for number, kind in enumerate(KINDS)}
    for number, region in regions.items():
        assert host.ask(COMMAND, region.attach(number))["status"] == "ok"
    chance = random.Random(len(mode))
    free = [(number, place) for number in regions for place in range(4)]
    in_flight: dict[int, tuple[int, tuple[int, int] | None]] = {}
    wrong = []

    def take_one() -> None:
        request_id = next(iter(in_flight))
        expected, place = in_flight.pop(request_id)
        answer = host.answer(request_id)
        if answer.get("code") or found(answer) != [expected]:
            wrong.append((expected, answer))
        if place is not None:
            free.append(place)

    for _ in range(500):
        picture = chance.randrange(1, 1 << 16)
        if chance.random() < 0.2:
            request_id = host.request(INFER_RAW, raw(0, SIDE, SIDE, RGB, numbered(picture)))
            in_flight[request_id] = picture, None
        else:
            number, place = free.pop(chance.randrange(len(free)))
            regions[number].write(numbered(picture), place * SIZE)
            payload = infer(place * SIZE, number, chance.randrange(2))
            in_flight[host.request(INFER_SHARED, payload)] = picture, (number, place)
        while not free or len(in_flight) > 16:
            take_one()
    while in_flight:
        take_one()
    assert wrong == []
    for number in regions:
        assert host.command("region_detach", regionId=number)["status"] == "ok"
    assert host.finish() == 0
    assert host.untaken() == {}


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
def test_regions_that_come_and_go_leave_nothing_behind(spawn, make_region):
    host = spawn(config(ECHO))
    regions = [make_region(kind) for kind in KINDS]

    def come_and_go() -> None:
        requests: list[tuple[int, Any]] = []
        for region in regions * 10:
            requests += [
                (COMMAND, region.attach()),
                (INFER_SHARED, infer()),
                (COMMAND, {"cmd": "region_detach", "regionId": REGION}),
            ]
        assert not any("error" in answer for answer in host.together(*requests))

    come_and_go()
    before = metrics(host)["process"]["openFiles"]
    for _ in range(5):
        come_and_go()
    wait_queue(host, waiting=0, preparing=0, ready=0)
    until = time.monotonic() + 10
    while metrics(host)["process"]["openFiles"] > before + 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert metrics(host)["process"]["openFiles"] <= before + 2


def test_a_thousand_regions_at_most(spawn, make_region):
    host = spawn(config(ECHO))
    region = make_region("trusted")
    region.write(numbered(8))
    for start in range(0, 1024, 128):
        answers = host.together(*((COMMAND, region.attach(start + one)) for one in range(128)))
        assert {answer["status"] for answer in answers} == {"ok"}
    assert host.ask(COMMAND, region.attach(5000))["code"] == "overloaded"
    assert found(host.ask(INFER_SHARED, infer(region_id=1000))) == [8]
    assert host.command("region_detach", regionId=3)["status"] == "ok"
    assert host.ask(COMMAND, region.attach(5000))["status"] == "ok"


def test_an_id_that_is_in_flight_twice_is_answered_twice(spawn, make_region):
    host = spawn(config(ECHO))
    region = make_region("plain", 2 * SIZE)
    region.write(numbered(1) + numbered(2))
    attached(host, region)
    host.send(packet(900, INFER_SHARED, infer()) + packet(900, INFER_SHARED, infer(SIZE)))
    assert sorted(found(host.answer(900))[0] for _ in range(2)) == [1, 2]
