"""Real videos through the real pipe, with a real detector: what the test data's list says must be seen."""

import pytest
from e2e.queues import config
from e2e.streams import HostStream
from raw_host import Answer, RawHost

SEEN = [
    ("people_1080p_moov_at_end.mp4", 99, "person", 0.79, (961, 123, 1026, 288)),
    ("one_by_one_person_faststart.mp4", 99, "person", 0.93, (381, 14, 517, 391)),
    ("asl_person_h264.mkv", 99, "person", 0.97, (200, 86, 425, 475)),
    ("traffic_vp8.webm", 29, "car", 0.82, (148, 10, 205, 60)),
    ("pose_squats.mp4", 29, "person", 0.94, (206, 267, 545, 1026)),
    ("mot_mpeg4part2_8frames.mp4", 0, "person", 0.83, (371, 406, 450, 643)),
]
"""Clip, frame from 0 (the list counts from 1), and its best object: class, score, x1, y1, x2, y2."""


@pytest.fixture(scope="module")
def host(shared_host, shared_data) -> RawHost:
    model = shared_data / "models/onnx/yolov8n_float32.onnx"
    return shared_host(config({"path": str(model), "runtime": "onnxruntime"}))


@pytest.mark.parametrize(("clip", "number", "name", "score", "box"), SEEN, ids=[row[0] for row in SEEN])
def test_objects_are_found_in_the_frame_that_they_are_in(host, shared_data, clip, number, name, score, box):
    path = shared_data / "videos" / clip
    source = {"type": "file", "path": str(path), "startFrame": number, "endFrame": number + 1}
    [frame], end = HostStream(host, source).frames()
    assert (frame["frameNumber"], end["reason"]) == (number, "eof")
    best = frame["results"][0]["detections"][0]
    assert best["className"] == name
    assert best["score"] == pytest.approx(score, abs=0.02)
    assert corners(best) == pytest.approx(box, abs=3)


def corners(detection: Answer) -> tuple[float, ...]:
    x, y, width, height = detection["bbox"]
    return x, y, x + width, y + height
