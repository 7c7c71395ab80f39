"""Real detectors on real pictures: the objects that MANIFEST.md names, where a plain reference sees them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import reference_yolo
from numpy.typing import NDArray
from wire import (
    BGR,
    BGRA,
    CACHE_FRAME,
    ENCODED,
    I420,
    INFER_BATCH,
    INFER_CACHED,
    INFER_JPEG,
    INFER_RAW,
    NV12,
    RGB,
    RGBA,
    batch,
    cache,
    cached,
    jpeg,
    raw,
)

Picture = NDArray[np.uint8]

MODELS = {
    "yolov8n_float32": "yolov8",
    "yolov8n_int8_dynamic": "yolov8",
    "yolov10n_end2end_int8": "yolov10",
    "yolox_nano": "yolox",
}

COCO = {"0": "person", "1": "bicycle", "2": "car", "5": "bus", "16": "dog", "17": "horse", "79": "toothbrush"}
"""Labels of the file that brings none."""

# As MANIFEST.md has them: at least so many of each.
NAMED = {
    "bus.jpg": {"person": 3, "bus": 1},
    "zidane.jpg": {"person": 2},
    "dog.jpg": {"dog": 1, "bicycle": 1},
    "person.jpg": {"person": 1, "horse": 1, "dog": 1},
    "coco_000000040083_gray.jpg": {"person": 2},
}
NAMED_BY_YOLOV8N = {
    "horses.jpg": {"horse": 4},
    "street_peds_1080p.jpg": {"person": 4, "car": 3, "tie": 1},
    "cat.jpg": {"cat": 1},
    "coffee.png": {"cup": 1},
}
CASES = [(model, picture, found) for model in MODELS for picture, found in NAMED.items()]
CASES += [("yolov8n_float32", picture, found) for picture, found in NAMED_BY_YOLOV8N.items()]

WITHIN_PX = 2.0


@pytest.fixture(scope="module")
def detect(shared_host, shared_data):
    """Ask a worker with all of the models."""
    models = [{"path": str(shared_data / "models/onnx" / f"{name}.onnx")} for name in MODELS]
    models[-1]["labels"] = COCO
    config = {"protocol": 3, "runtime": "onnxruntime", "models": models}
    host = shared_host(config | {"batch_mode": "list"})
    assert host.ready["models"] == len(MODELS), host.ready["slots"]
    assert [slot["family"] for slot in host.ready["slots"]] == list(MODELS.values())
    return host.ask


@pytest.fixture(scope="module")
def reference(shared_data):
    """Return what the plain reference sees; sessions are kept."""
    sessions = {}

    def see(model: str, rgb: Picture) -> list[reference_yolo.ReferenceBox]:
        if model not in sessions:
            sessions[model] = reference_yolo.open_model(shared_data / "models/onnx" / f"{model}.onnx")
        return reference_yolo.detect(sessions[model], MODELS[model], rgb)

    return see


def off_by(found: dict, box: reference_yolo.ReferenceBox) -> float:
    x, y, width, height = found["bbox"]
    ours = np.array([x, y, x + width, y + height])
    return float(np.abs(ours - [box.x1, box.y1, box.x2, box.y2]).max())


def compare(found: list[dict], expected: list[reference_yolo.ReferenceBox]) -> None:
    """Each object of one list is in the other: its class, its score, its place.

    What scores so close to the threshold that rounding decides may be on one side only.
    """
    for entry in found:
        same = [box for box in expected if box.class_id == entry["classId"]]
        near = [
            box for box in same if off_by(entry, box) <= WITHIN_PX and abs(box.score - entry["score"]) < 0.03
        ]
        assert near or entry["score"] < 0.28, (entry, expected)
    for box in expected:
        near = [
            entry for entry in found if entry["classId"] == box.class_id and off_by(entry, box) <= WITHIN_PX
        ]
        assert near or box.score < 0.28, (box, found)


def names(detections: list[dict]) -> dict[str, int]:
    found = [entry["className"] for entry in detections]
    return {name: found.count(name) for name in found}


@pytest.mark.parametrize(("model", "picture", "named"), CASES)
def test_the_named_objects_are_found_where_the_reference_sees_them(
    detect, reference, shared_data, model, picture, named
):
    path = shared_data / "images" / picture
    answer = detect(INFER_JPEG, jpeg(list(MODELS).index(model), path.read_bytes()))

    found = answer["detections"]
    counts = names(found)
    assert all(counts.get(name, 0) >= count for name, count in named.items()), counts
    rgb = reference_yolo.load_rgb(path)
    compare(found, reference(model, rgb))
    height, width = rgb.shape[:2]
    assert answer["frameSize"] == f"{width}x{height}"
    scores = [entry["score"] for entry in found]
    assert scores == sorted(scores, reverse=True)
    for x, y, box_width, box_height in (entry["bbox"] for entry in found):
        assert min(x, y, box_width, box_height) >= 0
        assert x + box_width <= width + 0.01
        assert y + box_height <= height + 0.01


def nv12(rgb: Picture) -> bytes:
    height, width = rgb.shape[:2]
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).reshape(-1)
    return planar[: width * height].tobytes() + planar[width * height :].reshape(2, -1).T.tobytes()


EXACT = {
    RGB: lambda rgb: rgb.tobytes(),
    BGR: lambda rgb: rgb[..., ::-1].tobytes(),
    RGBA: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).tobytes(),
    BGRA: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA).tobytes(),
}
SUBSAMPLED = {NV12: nv12, I420: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).tobytes()}


@pytest.fixture(scope="module", params=["bus.jpg", "dog.jpg"])
def file(request, shared_data) -> Path:
    return shared_data / "images" / request.param


@pytest.fixture(scope="module")
def rgb(file: Path) -> Picture:
    picture = reference_yolo.load_rgb(file)
    height, width = picture.shape[:2]
    assert (height | width) % 2 == 0
    return picture


@pytest.fixture(scope="module")
def from_jpeg(detect, file: Path) -> list[dict]:
    detections = detect(INFER_JPEG, jpeg(0, file.read_bytes()))["detections"]
    assert len(detections) >= 4
    return detections


@pytest.mark.parametrize("pixel_format", EXACT)
def test_the_same_picture_in_other_bytes_gives_the_same_objects(detect, rgb, from_jpeg, pixel_format):
    height, width = rgb.shape[:2]
    data = EXACT[pixel_format](rgb)
    payload = raw(0, width, height, pixel_format, data)
    assert detect(INFER_RAW, payload)["detections"] == from_jpeg

    frame = cache(pixel_format, width, height, pixel_format, data)
    assert detect(CACHE_FRAME, frame)["status"] == "cached"
    for _ in range(2):  # the second time from the prepared tensor
        assert detect(INFER_CACHED, cached(0, pixel_format))["detections"] == from_jpeg


@pytest.mark.parametrize("pixel_format", SUBSAMPLED)
def test_subsampled_pictures_give_the_same_objects_nearly(detect, rgb, from_jpeg, pixel_format):
    """Half the colours are gone: boxes and scores move a little."""
    height, width = rgb.shape[:2]
    answer = detect(INFER_RAW, raw(0, width, height, pixel_format, SUBSAMPLED[pixel_format](rgb)))

    sure = [entry for entry in from_jpeg if entry["score"] > 0.6]
    for entry in sure:
        x, y, box_width, box_height = entry["bbox"]
        box = reference_yolo.ReferenceBox(
            x, y, x + box_width, y + box_height, entry["score"], entry["classId"]
        )
        assert any(
            found["classId"] == box.class_id
            and off_by(found, box) < 8
            and abs(found["score"] - box.score) < 0.1
            for found in answer["detections"]
        ), entry


def test_a_batch_and_a_cached_file_give_the_same_objects(detect, rgb, file, from_jpeg):
    height, width = rgb.shape[:2]
    data = file.read_bytes()
    items = [
        (0, 0, ENCODED, data),
        (width, height, RGB, rgb.tobytes()),
        (64, 64, RGB, bytes(64 * 64 * 3)),
        (width, height, BGR, rgb[..., ::-1].tobytes()),
    ]
    results = detect(INFER_BATCH, batch(0, items))["results"]
    assert [result["detections"] for result in results] == [from_jpeg, from_jpeg, [], from_jpeg]
    assert [result["batchSize"] for result in results] == [4] * 4

    assert detect(CACHE_FRAME, cache(99, 0, 0, ENCODED, data))["width"] == width
    assert detect(INFER_CACHED, cached(0, 99))["detections"] == from_jpeg


def test_a_png_with_alpha(detect, reference, shared_data):
    """Alpha is dropped; the colours under it are the picture."""
    path = shared_data / "images/thumb_up_rgba.png"
    answer = detect(INFER_JPEG, jpeg(0, path.read_bytes()))
    compare(answer["detections"], reference("yolov8n_float32", reference_yolo.load_rgb(path)))
