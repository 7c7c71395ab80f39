"""Models for LiteRT through the worker: what is in the data's pictures is found."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from raw_host import RawHost
from wire import INFER_JPEG, jpeg

YOLO = ("yolov8n_int8_dynamic_floatio", "yolov8n_full_integer_quant")
SSD, CLASSIFIER = "ssd_mobilenet_v1_coco_quant", "mobilenet_v1_0.25_224_quant"

# Name and x1, y1, x2, y2 as the data's manifest has them for each model.
OBJECTS: dict[str, list[tuple[str, tuple[int, int, int, int]]]] = {
    "yolov8n_int8_dynamic_floatio": [
        ("person", (671, 375, 810, 876)),
        ("person", (50, 398, 243, 904)),
        ("person", (221, 408, 342, 856)),
        ("bus", (32, 230, 797, 768)),
    ],
    "yolov8n_full_integer_quant": [
        ("person", (678, 383, 807, 873)),
        ("person", (220, 413, 336, 860)),
        ("bus", (26, 230, 797, 751)),
        ("person", (54, 396, 235, 904)),
    ],
    SSD: [
        ("person", (54, 391, 223, 894)),
        ("person", (210, 397, 350, 855)),
        ("bus", (20, 243, 784, 771)),
        ("person", (669, 315, 809, 868)),
    ],
}


@pytest.fixture(scope="module")
def host(shared_host: Callable[[Mapping[str, Any]], RawHost], shared_data: Path) -> RawHost:
    folder = shared_data / "models/tflite"
    models: list[dict[str, Any]] = [{"path": str(folder / f"{name}.tflite")} for name in YOLO]
    models.append({"path": str(folder / f"{SSD}.tflite"), "postprocessor": "ssd"})
    models.append({"path": str(folder / f"{CLASSIFIER}.tflite"), "postprocessor": "raw"})
    models.append({"path": str(folder / f"{SSD}.tflite"), "device": "edgetpu"})
    return shared_host({"protocol": 3, "runtime": "auto", "concurrency": 2, "models": models})


def overlap(bbox: Sequence[float], corners: Sequence[float]) -> float:
    x, y, width, height = bbox
    wide = max(0.0, min(x + width, corners[2]) - max(x, corners[0]))
    high = max(0.0, min(y + height, corners[3]) - max(y, corners[1]))
    both = width * height + (corners[2] - corners[0]) * (corners[3] - corners[1])
    return wide * high / (both - wide * high)


@pytest.mark.parametrize(("index", "name", "least"), [(0, YOLO[0], 0.9), (1, YOLO[1], 0.9), (2, SSD, 0.6)])
def test_the_named_objects_are_found(
    host: RawHost, shared_data: Path, index: int, name: str, least: float
) -> None:
    answer = host.ask(INFER_JPEG, jpeg(index, (shared_data / "images/bus.jpg").read_bytes()))
    for label, corners in OBJECTS[name]:
        same = [each["bbox"] for each in answer["detections"] if each["className"] == label]
        assert max((overlap(bbox, corners) for bbox in same), default=0) > least, (label, corners)


def test_a_classifier_gives_its_scores_undecoded(host: RawHost, shared_data: Path) -> None:
    answer = host.ask(INFER_JPEG, jpeg(3, (shared_data / "images/coffee.png").read_bytes()))
    [tensor] = answer["tensors"].values()
    assert (tensor["shape"], tensor["dtype"]) == ([1, 1001], "float32")
    assert len(host.ready["slots"][3]["labels"]) == 1001


def test_slots_say_what_runs_them(host: RawHost) -> None:
    slots = host.ready["slots"]
    assert [(slot["runtime"], slot["device"]) for slot in slots[:4]] == [("litert", "cpu")] * 4
    assert [slot["family"] for slot in slots[:2]] == ["yolov8"] * 2
    assert slots[2]["inputs"][0]["dtype"] == "uint8"
    assert "not a YOLO detector" in slots[4]["error"]
