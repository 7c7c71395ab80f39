"""Measures an exported detector on scenes that it was not trained on, through onnxruntime and pycocotools.

`python -m tools.detector.evaluate models/shapes.onnx`
"""

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tools.detector.data import scene_size
from tools.scenes import CLASS_NAMES, Scene, render_scene

SIDE = 640
PAD = 114
EVALUATION_SEEDS = range(9_000_000, 9_000_500)
LEAST_SCORE = 0.001
NMS_IOU = 0.65
MOST_BOXES = 100


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the detector achieves."""

    scenes: int
    objects: int
    map50: float
    map50_95: float
    by_class: dict[str, tuple[float, float]]
    """AP at IoU 0.5, and AP averaged over 0.5..0.95."""
    by_size: dict[str, float]
    """AP 0.5..0.95 of COCO's small (under 32 x 32 pixels of the source), medium and large (over 96 x 96)."""


def letterbox(picture: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float, int, int]:
    """Scales a picture into the model's square: tensor (1, 3, 640, 640), scale, left and top padding."""
    height, width = picture.shape[:2]
    scale = min(SIDE / width, SIDE / height)
    size = (round(width * scale), round(height * scale))
    left, top = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
    square = np.full((SIDE, SIDE, 3), PAD, np.uint8)
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    square[top : top + size[1], left : left + size[0]] = resized
    tensor = square.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(tensor), scale, left, top


def _suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], most: int) -> list[int]:
    """Indices that non-maximum suppression keeps, best first; boxes are x, y, w, h."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    area = boxes[:, 2] * boxes[:, 3]
    kept: list[int] = []
    order = np.argsort(-scores, kind="stable")
    while len(order) and len(kept) < most:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        sides = np.minimum(high[best], high[rest]) - np.maximum(low[best], low[rest])
        shared = sides.clip(0).prod(axis=1)
        order = rest[shared <= NMS_IOU * (area[best] + area[rest] - shared)]
    return kept


def detect(
    session: onnxruntime.InferenceSession, picture: NDArray[np.uint8], least_score: float = LEAST_SCORE
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Boxes x, y, w, h in the picture's pixels (n, 4), scores (n,) and classes (n,), best first."""
    tensor, scale, left, top = letterbox(picture)
    output = session.run(None, {"images": tensor})[0][0]
    likely = least_score <= output[4:].T
    cells, classes = np.nonzero(likely)
    scores = output[4 + classes, cells]
    centre, size = output[:2, cells].T, output[2:4, cells].T
    boxes = np.concatenate([(centre - size / 2 - (left, top)) / scale, size / scale], axis=1).astype(
        np.float32
    )
    away = boxes.copy()
    away[:, 0] += classes * 1e5  # boxes of different classes never meet
    kept = _suppress(away, scores, MOST_BOXES)
    return boxes[kept], scores[kept], classes[kept]


def _truth(scenes: dict[int, Scene]) -> COCO:
    annotations = [
        {
            "image_id": seed,
            "category_id": int(name),
            "bbox": box.tolist(),
            "area": float(box[2] * box[3]),
            "iscrowd": 0,
        }
        for seed, scene in scenes.items()
        for box, name in zip(scene.boxes, scene.classes, strict=True)
    ]
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": seed} for seed in scenes],
        "categories": [{"id": index, "name": name} for index, name in enumerate(CLASS_NAMES)],
        "annotations": [
            annotation | {"id": number} for number, annotation in enumerate(annotations, start=1)
        ],
    }
    truth.createIndex()
    return truth


def _found(session: onnxruntime.InferenceSession, scenes: dict[int, Scene]) -> Iterator[dict[str, Any]]:
    for seed, scene in scenes.items():
        for box, score, name in zip(*detect(session, scene.picture), strict=True):
            yield {"image_id": seed, "category_id": int(name), "bbox": box.tolist(), "score": float(score)}


def evaluate(model: Path, seeds: range = EVALUATION_SEEDS) -> Evaluation:
    """Renders the scenes of all seeds and scores the model on them by COCO's rules."""
    scenes = {seed: render_scene(seed, *scene_size(seed)) for seed in seeds}
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress there
        truth = _truth(scenes)
        scorer = COCOeval(truth, truth.loadRes(list(_found(session, scenes))), "bbox")
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    precision = scorer.eval["precision"][
        :, :, :, 0, 2
    ]  # (IoU, recall, class), all sizes, 100 boxes a picture
    each = [(float(p[0][p[0] >= 0].mean()), float(p[p >= 0].mean())) for p in np.moveaxis(precision, 2, 0)]
    return Evaluation(
        scenes=len(scenes),
        objects=len(truth.anns),
        map50=float(scorer.stats[1]),
        map50_95=float(scorer.stats[0]),
        by_class=dict(zip(CLASS_NAMES, each, strict=True)),
        by_size=dict(zip(("small", "medium", "large"), map(float, scorer.stats[3:6]), strict=True)),
    )


def latency_ms(model: Path, runs: int = 60) -> float:
    """Median time of one picture on one thread, in milliseconds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    tensor = letterbox(render_scene(EVALUATION_SEEDS[0], 640, 480).picture)[0]
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        session.run(None, {"images": tensor})
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def report(result: Evaluation) -> str:
    """The figures as a Markdown table."""
    lines = [f"| all | {result.map50:.3f} | {result.map50_95:.3f} |"]
    lines += [f"| {name} | {ap50:.3f} | {ap:.3f} |" for name, (ap50, ap) in result.by_class.items()]
    sizes = ", ".join(f"{size} {ap:.3f}" for size, ap in result.by_size.items())
    head = ["| class | AP50 | AP50-95 |", "|---|---|---|"]
    return "\n".join([*head, *lines, "", f"AP50-95 by size of the object: {sizes}."])


def main() -> None:
    """Evaluates the given file and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--scenes", type=int, default=len(EVALUATION_SEEDS))
    arguments = parser.parse_args()
    result = evaluate(arguments.model, EVALUATION_SEEDS[: arguments.scenes])
    print(f"{result.scenes} scenes, {result.objects} objects\n\n{report(result)}")
    print(f"\n{latency_ms(arguments.model):.1f} ms a picture on one thread")


if __name__ == "__main__":
    main()
