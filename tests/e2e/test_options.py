"""Options of single requests: what each changes, on every kind of request, and what is refused."""

import base64
import json
import struct

import numpy as np
import pytest
from contract import tiny_onnx
from e2e.queues import wait_queue
from wire import (
    CACHE_FRAME,
    ENCODED,
    I420,
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
    pixels,
    raw,
)

from runtimes.picture_ids import draw_id

ECHO = {"path": "fake:echo?size=64"}
CONFIG = {"protocol": 3, "runtime": "fake", "models": [ECHO]}


@pytest.fixture
def host(shared_host):
    return shared_host(CONFIG)


def busy_worker(spawn, ms: int = 500, **settings):
    """A worker with one lane, whose every predict call takes long."""
    model = {"path": f"fake:sleep?size=32&ms={ms}"}
    return spawn({"protocol": 3, "runtime": "fake", "models": [model], **settings})


def occupy(host) -> int:
    """Send a request, and wait until its predict call has begun."""
    request_id = host.request(INFER_RAW, any_raw())
    wait_queue(host, predicting=1)
    return request_id


def seen(answer: dict) -> list[tuple[int, list[float]]]:
    return [(found["classId"], found["bbox"]) for found in answer["detections"]]


REQUESTS = {
    "encoded": lambda png: (INFER_JPEG, jpeg(0, png)),
    "raw": lambda png: (INFER_RAW, raw(0, 0, 0, ENCODED, png)),
    "batch": lambda png: (INFER_BATCH, batch(0, [(0, 0, ENCODED, png)])),
    "cache": lambda png: (CACHE_FRAME, cache(1, 0, 0, ENCODED, png)),
    "cached": lambda png: (INFER_CACHED, cached(0, 1)),
}


@pytest.fixture
def png(encode_picture):
    return encode_picture(draw_id(6, 32, 32), ".png")


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize(
    "given", [{}, {"confidence": 0.5}, {"maxDetections": 3.0, "classes": None, "roi": None}]
)
def test_every_data_request_takes_options(host, png, kind, given):
    host.ask(*REQUESTS["cache"](png))
    answer = host.ask(*REQUESTS[kind](png), given)
    assert "error" not in answer


BAD_OPTIONS = {
    "unknown": ({"confidense": 1}, ["confidense", "confidence"]),
    "of a later version": ({"nonsense": 1}, ["nonsense"]),
    "of another case": ({"maxdetections": 1}, ["maxdetections", "maxDetections"]),
    "confidence of words": ({"confidence": "high"}, ["confidence"]),
    "confidence too high": ({"confidence": 1.5}, ["confidence"]),
    "iou below 0": ({"iou": -0.1}, ["iou"]),
    "maxDetections 0": ({"maxDetections": 0}, ["maxDetections"]),
    "maxDetections of a half": ({"maxDetections": 1.5}, ["maxDetections"]),
    "classes as one": ({"classes": 5}, ["classes"]),
    "roi of three": ({"roi": [0, 0, 5]}, ["roi"]),
    "roi of no width": ({"roi": [0, 0, 0, 5]}, ["roi"]),
    "roi below 0": ({"roi": [-1, 0, 5, 5]}, ["roi"]),
    "exif of a number": ({"exif": 1}, ["exif"]),
    "colorSpace": ({"colorSpace": "bt2020"}, ["colorSpace"]),
    "deadline 0": ({"deadlineMs": 0}, ["deadlineMs"]),
    "deadline below 0": ({"deadlineMs": -5}, ["deadlineMs"]),
    "no object": (b"[]", ["options"]),
    "no JSON": (b"{confidence}", ["options"]),
    "nothing": (b"", ["options"]),
    "not UTF-8": (b'{"a":"\xff"}', ["options"]),
    "NaN": (b'{"confidence":NaN}', ["options"]),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_options_that_cannot_be_read_are_bad_requests_that_name_them(host, case):
    given, words = BAD_OPTIONS[case]
    answer = host.ask(INFER_RAW, any_raw(), given)

    assert answer["code"] == "bad_request"
    assert set(answer) == {"error", "code"}
    for word in words:
        assert word in answer["error"]
    assert "error" not in host.ask(INFER_RAW, any_raw(), {"confidence": 0.5})


@pytest.mark.parametrize("kind", REQUESTS)
def test_an_unknown_option_is_a_bad_request_of_every_kind(host, png, kind):
    assert host.ask(*REQUESTS[kind](png), {"unheardOf": True})["code"] == "bad_request"


def test_options_longer_than_their_packet_are_bad_requests(host):
    for payload in (b"", b"\x05", b"\xff\xff{}", b"\x02\x00{"):
        assert host.ask(INFER_RAW | 0x80, payload)["code"] == "bad_request"


def test_a_region_is_inferred_alone_and_answered_in_pixels_of_the_whole_frame(host):
    left, right = draw_id(111, 64, 64), draw_id(222, 64, 64)
    frame = np.hstack([left, right]).tobytes()
    payload = raw(0, 128, 64, RGB, frame)

    assert seen(host.ask(INFER_RAW, payload, {"roi": [0, 0, 64, 64]})) == [(111, [0, 0, 64, 64])]
    answer = host.ask(INFER_RAW, payload, {"roi": [64, 0, 64, 64]})
    assert seen(answer) == [(222, [64, 0, 64, 64])]
    assert answer["frameSize"] == "128x64"

    host.ask(CACHE_FRAME, cache(1, 128, 64, RGB, frame))
    for roi, expected in (([64, 0, 64, 64], 222), ([0, 0, 64, 64], 111), ([64, 0, 64, 64], 222)):
        assert seen(host.ask(INFER_CACHED, cached(0, 1), {"roi": roi}))[0][0] == expected


@pytest.mark.parametrize("roi", [[10, 0, 60, 64], [0, 10, 64, 60], [64, 64, 1, 1], [0, 0, 0xFFFF_FFFF, 1]])
def test_a_region_that_leaves_the_picture_is_a_bad_request(host, roi):
    answer = host.ask(INFER_RAW, raw(0, 64, 64, RGB, pixels(64, 64)), {"roi": roi})
    assert answer["code"] == "bad_request"
    assert "roi" in answer["error"]
    (item,) = host.ask(INFER_BATCH, batch(0, [(64, 64, RGB, pixels(64, 64))]), {"roi": roi})["results"]
    assert item["code"] == "bad_request"


def turned(data: bytes, orientation: int) -> bytes:
    """Return a JPEG with an EXIF orientation."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def test_exif_turns_a_picture_only_where_it_is_asked_for(host, encode_picture):
    rgb = draw_id(0b0000_0000_0000_1011, 96, 64)
    # Orientation 6: the first row is the right-hand side of the picture.
    upright = np.rot90(rgb, -1)
    expected = seen(host.ask(INFER_RAW, raw(0, 64, 96, RGB, np.ascontiguousarray(upright).tobytes())))
    data = turned(encode_picture(rgb), 6)

    plain, asked = host.ask(INFER_JPEG, jpeg(0, data)), host.ask(INFER_JPEG, jpeg(0, data), {"exif": True})
    assert (plain["frameSize"], seen(plain)[0][0]) == ("96x64", 0b1011)
    assert (asked["frameSize"], seen(asked)) == ("64x96", expected)

    answer = host.ask(CACHE_FRAME, cache(2, 0, 0, ENCODED, data), {"exif": True})
    assert (answer["width"], answer["height"]) == (64, 96)


def means(answer: dict) -> list[float]:
    entry = answer["tensors"]["means"]
    return (np.frombuffer(base64.b64decode(entry["data"]), np.float32) * 255).tolist()


def test_the_color_space_of_yuv_pictures(spawn, tmp_path):
    model = {"path": str(tiny_onnx.means(tmp_path / "m.onnx")), "postprocessor": "raw"}
    host = spawn({"protocol": 3, "runtime": "onnxruntime", "models": [model]})
    luma, u, v = 120, 90, 200
    expected = {}
    for name, kr, kb in (("bt601", 0.299, 0.114), ("bt709", 0.2126, 0.0722)):
        y, pb, pr = (luma - 16) / 219, (u - 128) / 224, (v - 128) / 224
        red, blue = y + 2 * (1 - kr) * pr, y + 2 * (1 - kb) * pb
        green = (y - kr * red - kb * blue) / (1 - kr - kb)
        expected[name] = [255 * channel for channel in (red, green, blue)]
    pictures = {
        NV12: bytes([luma]) * 64 + bytes([u, v]) * 16,
        I420: bytes([luma]) * 64 + bytes([u]) * 16 + bytes([v]) * 16,
    }

    for pixel_format, data in pictures.items():
        payload = raw(0, 8, 8, pixel_format, data)
        assert means(host.ask(INFER_RAW, payload)) == pytest.approx(expected["bt601"], abs=3)
        for name, values in expected.items():
            assert means(host.ask(INFER_RAW, payload, {"colorSpace": name})) == pytest.approx(values, abs=3)


def test_a_deadline_that_passes_is_answered_though_the_lane_is_busy(spawn):
    host = busy_worker(spawn, ms=1000)
    busy = occupy(host)
    late = [host.request(INFER_RAW, any_raw(), {"deadlineMs": 50}) for _ in range(10)]
    behind = host.request(INFER_RAW, any_raw())

    assert {host.answer(request_id)["code"] for request_id in late} == {"deadline_exceeded"}
    assert not host.is_answered(busy)
    # Ten predict calls that nobody waits for would have taken ten seconds.
    assert host.answer(behind)["timings"]["wait"] < 6000
    assert "error" not in host.answer(busy)


def test_a_deadline_far_off_changes_nothing(host):
    assert "error" not in host.ask(INFER_RAW, any_raw(), {"deadlineMs": 600_000})


def test_a_deadline_passes_while_a_model_loads(spawn):
    host = spawn({"protocol": 3, "runtime": "fake"})
    load = host.request(0, {"cmd": "load", "index": 0, "config": {"path": "fake:slowload?size=32&ms=1500"}})
    late = host.request(INFER_RAW, any_raw(), {"deadlineMs": 100})
    patient = host.request(INFER_RAW, any_raw(), {"deadlineMs": 600_000})

    assert host.answer(late)["code"] == "deadline_exceeded"
    assert not host.is_answered(load)
    assert host.answer(patient)["detections"] == []


@pytest.mark.parametrize("mode", ["none", "list", "adaptive"])
def test_a_batch_past_its_deadline_is_answered_once(spawn, mode):
    host = busy_worker(spawn, ms=900, batch_mode=mode)
    busy = occupy(host)
    late = host.ask(INFER_BATCH, batch(0, [any_item()] * 3), {"deadlineMs": 50})

    assert [result["code"] for result in late["results"]] == ["deadline_exceeded"] * 3
    assert not host.is_answered(busy)
    assert "error" not in host.ask(INFER_RAW, any_raw())
    assert "error" not in host.answer(busy)
    assert host.untaken() == {}


def test_a_deadline_in_an_open_window(spawn):
    host = spawn(
        {
            "protocol": 3,
            "runtime": "fake",
            "batch_mode": "window",
            "window_ms": 60_000,
            "max_batch_size": 3,
            "models": [ECHO],
        }
    )
    patient = host.request(INFER_RAW, any_raw())
    assert host.ask(INFER_RAW, any_raw(), {"deadlineMs": 50})["code"] == "deadline_exceeded"
    # It counts as one of the three, as one that cannot be decoded does.
    last = host.request(INFER_RAW, any_raw())
    assert [host.answer(request_id)["batchSize"] for request_id in (patient, last)] == [2, 2]


@pytest.fixture(scope="module")
def detector(shared_host, shared_data):
    """YOLOv8n, and what it sees in a picture under some options."""
    model = {"path": str(shared_data / "models/onnx/yolov8n_float32.onnx")}
    host = shared_host({"protocol": 3, "runtime": "onnxruntime", "models": [model]})

    def detect(name: str = "bus.jpg", **options) -> list[dict]:
        data = (shared_data / "images" / name).read_bytes()
        answer = host.ask(INFER_JPEG, jpeg(0, data), options)
        return answer.get("detections", [answer])

    return detect


def names(detections: list[dict]) -> list[str]:
    return sorted(found["className"] for found in detections)


def test_confidence_moves_the_threshold(detector):
    assert names(detector()) == ["bus", *["person"] * 4]
    assert names(detector(confidence=0.6)) == ["bus", *["person"] * 3]
    assert len(detector(confidence=0.05)) > 5
    assert detector(confidence=1.0) == []


@pytest.mark.parametrize("classes", [["bus"], [5], ["bus", 5], [5.0]])
def test_classes_by_name_or_number(detector, classes):
    assert names(detector(classes=classes)) == ["bus"]


def test_classes_of_none_and_of_unknown_ones(detector):
    assert detector(classes=[]) == []
    (answer,) = detector(classes=["unicorn"])
    assert answer["code"] == "bad_request"
    assert "unicorn" in answer["error"]
    (answer,) = detector(classes=[80])
    assert answer.get("code") == "bad_request"


def test_max_detections_keeps_the_best(detector):
    everything = detector()
    assert detector(maxDetections=2) == everything[:2]


def test_agnostic_suppression_leaves_one_of_two_names_for_a_thing(detector):
    assert {"car", "truck"} <= set(names(detector("dog.jpg")))
    assert len({"car", "truck"} & set(names(detector("dog.jpg", agnostic=True)))) == 1


def test_iou_decides_what_is_a_double(detector):
    assert len(detector(iou=0.99)) > len(detector()) >= len(detector(iou=0.01))


def test_a_region_of_a_real_picture(detector):
    """The two people in front of the bus; boxes are clipped to the frame, not to the region."""
    found = detector(roi=[0, 200, 400, 800])
    assert names(found).count("person") >= 2
    for entry in found:
        x, y, width, height = entry["bbox"]
        assert x >= 0
        assert y >= 200 - 10
        assert x + width <= 400 + 10
        assert y + height <= 1000 + 10
    whole = [entry["bbox"] for entry in detector() if entry["className"] == "person"]
    left = min(whole, key=lambda box: abs(box[0] - 50))
    assert any(np.allclose(entry["bbox"], left, atol=12) for entry in found)


def test_the_default_confidence_is_the_slots(shared_host, shared_data):
    model = {"path": str(shared_data / "models/onnx/yolov8n_float32.onnx"), "confidence": 0.6}
    host = shared_host({"protocol": 3, "runtime": "onnxruntime", "models": [model]})
    data = jpeg(0, (shared_data / "images/bus.jpg").read_bytes())
    assert names(host.ask(INFER_JPEG, data)["detections"]) == ["bus", *["person"] * 3]
    assert names(host.ask(INFER_JPEG, data, {"iou": 0.45})["detections"]) == ["bus", *["person"] * 3]
    assert len(host.ask(INFER_JPEG, data, {"confidence": 0.25})["detections"]) == 5


def test_options_are_remembered_by_their_bytes_and_not_mixed_up(host):
    payload = raw(0, 64, 64, RGB, draw_id(7, 64, 64).tobytes())
    for turn in range(200):
        classes = [7] if turn % 2 else [8]
        text = json.dumps({"classes": classes, "deadlineMs": 600_000 + turn}).encode()
        assert len(host.ask(INFER_RAW, payload, text)["detections"]) == turn % 2
