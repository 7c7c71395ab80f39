"""The renderer keeps its promises, and the committed model knows the committed demo scenes."""

import json

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from models import DEFAULT_MODEL, LABELS, SCENES
from tools.scenes import CLASS_NAMES, Scene, render_scene

SIZES = [(640, 480), (480, 640), (320, 200), (1280, 720)]
LEAST_RECALL = 0.8
LEAST_SCORE = 0.25
NMS_IOU = 0.6


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(DEFAULT_MODEL, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_same_seed_same_scene(width: int, height: int) -> None:
    first, second = render_scene(5, width, height), render_scene(5, width, height)
    for one, other in zip(_arrays(first), _arrays(second), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first.picture, render_scene(6, width, height).picture)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_boxes_are_inside_and_tight(width: int, height: int) -> None:
    for seed in range(8):
        scene = render_scene(seed, width, height)
        assert scene.picture.shape == (height, width, 3)
        assert scene.picture.dtype == np.uint8
        assert scene.boxes.shape == (len(scene.classes), 4)
        low, high = scene.boxes[:, :2], scene.boxes[:, :2] + scene.boxes[:, 2:]
        assert (low >= 0).all()
        assert (high <= (width, height)).all()
        for label, (x, y, w, h) in enumerate(scene.boxes.astype(int), start=1):
            seen = scene.instances == label
            assert seen[y : y + h, x : x + w].sum() == seen.sum() > 0
            assert all(edge.any() for edge in (seen[y], seen[y + h - 1], seen[:, x], seen[:, x + w - 1]))


def test_every_class_appears() -> None:
    seen = np.concatenate([render_scene(seed, 320, 240).classes for seed in range(40)])
    assert set(seen.tolist()) == set(range(len(CLASS_NAMES)))


def test_metadata(session: onnxruntime.InferenceSession) -> None:
    properties = session.get_modelmeta().custom_metadata_map
    assert properties["names"] == str(dict(enumerate(CLASS_NAMES)))
    assert properties["task"] == "detect"
    assert properties["stride"] == "32"
    assert properties["imgsz"] == "[640, 640]"
    assert LABELS.read_text().split() == list(CLASS_NAMES)


def test_file_is_small_and_standard() -> None:
    assert DEFAULT_MODEL.stat().st_size < 2_000_000
    model = pytest.importorskip("onnx").load(DEFAULT_MODEL)
    assert {entry.domain for entry in model.opset_import} == {""}
    assert {node.domain for node in model.graph.node} == {""}


def test_inputs_and_outputs(session: onnxruntime.InferenceSession) -> None:
    (images,), (output,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape) == ("images", ["batch", 3, 640, 640])
    assert (output.name, output.shape) == ("output0", ["batch", 4 + len(CLASS_NAMES), 8400])


def test_batch_of_any_size(session: onnxruntime.InferenceSession) -> None:
    pictures = np.random.default_rng(0).random((3, 3, 640, 640), dtype=np.float32)
    together = session.run(None, {"images": pictures})[0]
    alone = np.concatenate([session.run(None, {"images": picture[None]})[0] for picture in pictures])
    np.testing.assert_allclose(together, alone, atol=1e-2)
    assert (together[:, 4:] >= 0).all()
    assert (together[:, 4:] <= 1).all()


def test_finds_the_objects_of_the_demo_scenes(session: onnxruntime.InferenceSession) -> None:
    truth = json.loads((SCENES / "truth.json").read_text())
    assert set(truth) == {path.name for path in SCENES.glob("*.jpg")}
    hits = [hit for name, objects in truth.items() for hit in _hits(session, name, objects)]
    assert np.mean(hits) >= LEAST_RECALL


def _arrays(scene: Scene) -> tuple[NDArray[np.generic], ...]:
    return scene.picture, scene.boxes, scene.classes, scene.instances


def _hits(session: onnxruntime.InferenceSession, name: str, objects: list[dict[str, object]]) -> list[bool]:
    """For each object of a demo scene whether it was found: its class, at an IoU of at least 0.5."""
    picture = cv2.cvtColor(cv2.imread(str(SCENES / name)), cv2.COLOR_BGR2RGB)
    boxes, classes = _detect(session, picture)
    wanted = [(np.array(entry["bbox"]), CLASS_NAMES.index(str(entry["className"]))) for entry in objects]
    return [bool((_overlap(box, boxes[classes == index]) >= 0.5).any()) for box, index in wanted]


def _detect(
    session: onnxruntime.InferenceSession, picture: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes x, y, w, h in the picture's pixels, and classes; letterbox and suppression in plain steps."""
    height, width = picture.shape[:2]
    scale = min(640 / width, 640 / height)
    wide, high = round(width * scale), round(height * scale)
    left, top = (640 - wide) // 2, (640 - high) // 2
    square = np.full((640, 640, 3), 114, np.uint8)
    square[top : top + high, left : left + wide] = cv2.resize(picture, (wide, high))
    tensor = square.transpose(2, 0, 1)[None].astype(np.float32) / 255
    rows = session.run(None, {"images": tensor})[0][0].T
    rows = rows[rows[:, 4:].max(axis=1) >= LEAST_SCORE]
    classes, scores = rows[:, 4:].argmax(axis=1), rows[:, 4:].max(axis=1)
    boxes = np.concatenate([(rows[:, :2] - rows[:, 2:4] / 2 - (left, top)), rows[:, 2:4]], axis=1) / scale
    kept = cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), classes.tolist(), LEAST_SCORE, NMS_IOU)
    chosen = np.array(kept, np.int64).reshape(-1)
    return boxes[chosen].astype(np.float32), classes[chosen]


def _overlap(box: NDArray[np.float64], boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    shared = (high - low).clip(0).prod(axis=1)
    return shared / (box[2:].prod() + boxes[:, 2:].prod(axis=1) - shared)
