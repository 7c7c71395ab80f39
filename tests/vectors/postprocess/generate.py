"""Writes the postprocessors' vectors beside itself; run with PYTHONPATH=tests.

Each is NAME.npz, the outputs of an imagined model, and NAME.json: the model as its file
describes it, the geometry, the options, and what comes out. The expected boxes are those of
the plain reference in `reference_yolo`, not of the product.
"""

import base64
import json
from pathlib import Path

import numpy as np
from reference_yolo import Letterboxed, ReferenceBox, decode, suppress, to_source, yolox_cells

HERE = Path(__file__).parent
TENSOR = (96, 64)
SOURCE = (300, 150)
SCALE = 0.32
PAD_Y = 8
CELLS = yolox_cells(*TENSOR)
NAMES = ["cat", "dog", "bird"]
OBJECTS = (
    ((30, 30, 24, 20), 0, 0.9),
    ((34, 31, 24, 22), 1, 0.8),
    ((70, 40, 12, 30), 1, 0.7),
    ((90, 12, 20, 16), 2, 0.6),
)


def scene(random, per_cell=1):
    """Centre boxes (n, 4), and class scores (n, 3), of a head that sees `OBJECTS`, each many times."""
    cells = np.repeat(np.array(CELLS, np.float64), per_cell, axis=0)
    boxes = np.concatenate(
        (cells[:, :2] * cells[:, 2:] + cells[:, 2:] / 2, cells[:, 2:] * 3, cells[:, 2:] * 2), axis=1
    )
    scores = random.uniform(0, 0.02, (len(cells), len(NAMES)))
    for box, class_id, score in OBJECTS:
        for index in random.choice(len(cells), 7, replace=False):
            boxes[index] = np.array(box) + random.normal(0, 1.2, 4)
            scores[index, class_id] = score - random.uniform(0, 0.3)
    return boxes, scores


def yolov8(random):
    boxes, scores = scene(random)
    return np.concatenate((boxes, scores), axis=1).T


def yolov5(random):
    boxes, scores = scene(random, per_cell=3)
    objectness = np.maximum(scores.max(axis=1, keepdims=True), 0.01) ** 0.5
    return np.concatenate((boxes, objectness, scores / objectness), axis=1)


def yolox(random):
    boxes, scores = scene(random)
    cells = np.array(CELLS, np.float64)
    boxes[:, :2] = boxes[:, :2] / cells[:, 2:] - cells[:, :2]
    boxes[:, 2:] = np.log(boxes[:, 2:] / cells[:, 2:])
    return np.concatenate((boxes, np.full((len(boxes), 1), 0.95), scores), axis=1)


def yolov10(random):
    boxes, scores = scene(random)
    corners = np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), axis=1)
    rows = np.concatenate((corners, scores.max(axis=1)[:, None], scores.argmax(axis=1)[:, None]), axis=1)
    return rows[np.argsort(-rows[:, 4])][:40]


MODELS = {"yolov5": yolov5, "yolov8": yolov8, "yolov10": yolov10, "yolox": yolox}

# name: family, options, source pixels of the region of interest's left top corner
CASES = {
    "yolov5": ("yolov5", {}, (0, 0)),
    "yolov8": ("yolov8", {}, (0, 0)),
    "yolov8_low_confidence": ("yolov8", {"confidence": 0.001, "iou": 0.7}, (0, 0)),
    "yolov8_agnostic": ("yolov8", {"agnostic": True}, (0, 0)),
    "yolov8_roi": ("yolov8", {}, (200, 100)),
    "yolov10": ("yolov10", {}, (0, 0)),
    "yolox": ("yolox", {}, (0, 0)),
}

SSD_CASES = {"ssd": ({}, (0, 0)), "ssd_roi": ({}, (200, 100))}


def expected(family, output, options, offset):
    found = decode(family, output, options.get("confidence", 0.25), TENSOR)
    if family != "yolov10":
        found = suppress(found, options.get("iou", 0.45), options.get("agnostic", False))
    # A pad that is the less by the region's offset leads back to the whole picture.
    boxed = Letterboxed(np.empty(0), SCALE, -offset[0] * SCALE, PAD_Y - offset[1] * SCALE)
    kept = [to_source(box, boxed, *source(offset)) for box in sorted(found, key=lambda box: -box.score)]
    return [as_detection(box) for box in kept if box.x2 - box.x1 > 0.01 and box.y2 - box.y1 > 0.01][:300]


def as_detection(box: ReferenceBox):
    return {
        "bbox": [round(float(number), 2) for number in box.bbox],
        "score": round(box.score, 4),
        "classId": box.class_id,
        "className": NAMES[box.class_id],
    }


def source(offset):
    """A picture, or a larger one of which a part of that size is prepared, clear of its borders."""
    return SOURCE[0] + 2 * offset[0], SOURCE[1] + 2 * offset[1]


def describe(outputs, metadata):
    return {
        "inputs": [{"name": "images", "shape": [1, 3, TENSOR[1], TENSOR[0]], "dtype": "float32"}],
        "outputs": [
            {"name": name, "shape": list(each.shape), "dtype": each.dtype.name}
            for name, each in outputs.items()
        ],
        "metadata": metadata,
    }


def geometry(offset):
    return {
        "source": list(source(offset)),
        "roi": [*offset, *SOURCE],
        "scale": [SCALE, SCALE],
        "pad": [0, PAD_Y],
        "tensor": list(TENSOR),
    }


def write(name, postprocessor, outputs, metadata, options, offset, result):
    np.savez_compressed(HERE / f"{name}.npz", **outputs)
    vector = {
        "postprocessor": postprocessor,
        "model": describe(outputs, metadata),
        "transform": geometry(offset),
        "options": options,
        "result": result,
    }
    (HERE / f"{name}.json").write_text(json.dumps(vector, indent=1) + "\n")


def ssd_rows():
    """Six rows of fractions of the input, best first, one of them outside the picture and one weak."""
    boxes = [ReferenceBox(*corners(box), score, class_id) for box, class_id, score in OBJECTS]
    outside = ReferenceBox(5, 1, 20, 6, 0.5, 2)
    weak = ReferenceBox(10, 12, 30, 40, 0.1, 0)
    return sorted((*boxes, outside, weak), key=lambda box: -box.score)


def corners(box):
    x, y, width, height = box
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def write_ssd(name, options, offset):
    """The operator writes as many rows as `count` says; what is behind them is whatever was there."""
    rows = ssd_rows()
    width, height = TENSOR
    boxes = [[box.y1 / height, box.x1 / width, box.y2 / height, box.x2 / width] for box in rows]
    garbage = [[np.nan, 1e30, -1e30, 0.5]]
    outputs = {
        "b": np.array([boxes + garbage], np.float32),
        "c": np.array([[box.class_id for box in rows] + [1e9]], np.float32),
        "s": np.array([[box.score for box in rows] + [0.99]], np.float32),
        "n": np.array([len(rows)], np.float32),
    }
    metadata = {"names": str(["???", *NAMES]), "detectionOutputs": "b\nc\ns\nn"}
    boxed = Letterboxed(np.empty(0), SCALE, -offset[0] * SCALE, PAD_Y - offset[1] * SCALE)
    kept = [to_source(box, boxed, *source(offset)) for box in rows if box.score >= 0.25]
    seen = [as_detection(box) for box in kept if box.x2 - box.x1 > 0.01 and box.y2 - box.y1 > 0.01]
    write(name, "ssd", outputs, metadata, options, offset, {"kind": "detections", "detections": seen})


def main():
    for seed, (name, (family, options, offset)) in enumerate(CASES.items()):
        output = MODELS[family](np.random.default_rng(seed)).astype(np.float32)
        result = {"kind": "detections", "detections": expected(family, output, options, offset)}
        write(name, family, {"output0": output[None]}, {"names": str(NAMES)}, options, offset, result)
    for name, (options, offset) in SSD_CASES.items():
        write_ssd(name, options, offset)
    raw = np.array([[[0.5, -1.0], [2.0, 65504.0]]], np.float16)
    data = base64.b64encode(raw.astype("<f2").tobytes()).decode()
    tensors = {"output0": {"shape": [1, 2, 2], "dtype": "float16", "data": data}}
    write("raw", "raw", {"output0": raw}, {}, {}, (0, 0), {"kind": "raw", "tensors": tensors})


if __name__ == "__main__":
    main()
