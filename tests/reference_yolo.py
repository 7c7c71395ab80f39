"""A plain reference for YOLO detectors: one box at a time, nothing shared with the product.

Letterboxes with OpenCV, runs the model with onnxruntime, decodes each row by itself and
suppresses in a double loop. Slow and obvious; other tests compare with it.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

PAD = 114
COCO_PERSON, COCO_BUS = 0, 5


@dataclass(frozen=True)
class ReferenceBox:
    """Corners in source pixels, clipped to the picture."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float
    class_id: int

    @property
    def bbox(self):
        return [self.x1, self.y1, self.x2 - self.x1, self.y2 - self.y1]


@dataclass(frozen=True)
class Letterboxed:
    tensor: np.ndarray
    scale: float
    pad_x: int
    pad_y: int


def load_rgb(path: Path) -> np.ndarray:
    """Read a picture as uint8 (height, width, 3), RGB."""
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def open_model(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def letterbox(rgb: np.ndarray, family: str, width: int, height: int) -> Letterboxed:
    """Centred, RGB, 0 to 1; for YOLOX at the top left, BGR, 0 to 255."""
    source_height, source_width = rgb.shape[:2]
    scale = min(width / source_width, height / source_height)
    new_width, new_height = round(source_width * scale), round(source_height * scale)
    if (new_width, new_height) == (source_width, source_height):
        small = rgb
    else:
        small = cv2.resize(rgb, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    pad_x, pad_y = round((width - new_width) / 2 - 0.1), round((height - new_height) / 2 - 0.1)
    if family == "yolox":
        small, pad_x, pad_y = small[:, :, ::-1], 0, 0
    canvas = np.full((height, width, 3), PAD, np.uint8)
    canvas[pad_y : pad_y + new_height, pad_x : pad_x + new_width] = small
    tensor = canvas.transpose(2, 0, 1)[None].astype(np.float32)
    return Letterboxed(
        np.ascontiguousarray(tensor if family == "yolox" else tensor / 255), scale, pad_x, pad_y
    )


def infer(
    session: onnxruntime.InferenceSession, family: str, rgb: np.ndarray
) -> tuple[np.ndarray, Letterboxed]:
    """Return the first output, (1, …), and how the picture was letterboxed."""
    _, _, height, width = session.get_inputs()[0].shape
    boxed = letterbox(rgb, family, width, height)
    return session.run(None, {session.get_inputs()[0].name: boxed.tensor})[0], boxed


def detect(
    session: onnxruntime.InferenceSession,
    family: str,
    rgb: np.ndarray,
    confidence: float = 0.25,
    iou: float = 0.45,
) -> list[ReferenceBox]:
    """Find a picture's objects, best first."""
    output, boxed = infer(session, family, rgb)
    return objects(family, output, boxed, rgb, confidence, iou)


def objects(
    family: str,
    output: np.ndarray,
    boxed: Letterboxed,
    rgb: np.ndarray,
    confidence: float = 0.25,
    iou: float = 0.45,
) -> list[ReferenceBox]:
    """Find the objects in what `infer` returned, best first."""
    height, width = rgb.shape[:2]
    size = boxed.tensor.shape[3], boxed.tensor.shape[2]
    found = decode(family, output[0], confidence, size)
    kept = found if family == "yolov10" else suppress(found, iou)
    return [to_source(box, boxed, width, height) for box in sorted(kept, key=lambda box: -box.score)]


def decode(family: str, output: np.ndarray, confidence: float, size: tuple[int, int]) -> list[ReferenceBox]:
    """Return the boxes of a picture's output in tensor pixels, row by row."""
    rows = output.T if family == "yolov8" else output
    cells = yolox_cells(*size) if family == "yolox" else [None] * len(rows)
    decoded = (DECODERS[family](row, cell) for row, cell in zip(rows, cells, strict=True))
    return [box for box in decoded if box.score >= confidence]


def decode_v8(row: np.ndarray, _cell: None) -> ReferenceBox:
    return centred(row[:4], row[4:].max(), row[4:].argmax())


def decode_v5(row: np.ndarray, _cell: None) -> ReferenceBox:
    return centred(row[:4], row[4] * row[5:].max(), row[5:].argmax())


def decode_v10(row: np.ndarray, _cell: None) -> ReferenceBox:
    return ReferenceBox(*map(float, row[:5]), int(row[5]))


def decode_x(row: np.ndarray, cell: tuple[int, int, int]) -> ReferenceBox:
    column, line, stride = cell
    x, y = (float(row[0]) + column) * stride, (float(row[1]) + line) * stride
    width, height = math.exp(row[2]) * stride, math.exp(row[3]) * stride
    return centred((x, y, width, height), row[4] * row[5:].max(), row[5:].argmax())


DECODERS = {"yolov5": decode_v5, "yolov8": decode_v8, "yolov10": decode_v10, "yolox": decode_x}


def centred(box, score, class_id) -> ReferenceBox:
    x, y, width, height = map(float, box)
    half_width, half_height = width / 2, height / 2
    return ReferenceBox(
        x - half_width, y - half_height, x + half_width, y + half_height, float(score), int(class_id)
    )


def yolox_cells(width: int, height: int) -> list[tuple[int, int, int]]:
    return [
        (column, line, stride)
        for stride in (8, 16, 32)
        for line in range(height // stride)
        for column in range(width // stride)
    ]


def suppress(boxes: list[ReferenceBox], iou: float, agnostic: bool = False) -> list[ReferenceBox]:
    kept: list[ReferenceBox] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        rivals = [other for other in kept if agnostic or other.class_id == box.class_id]
        if all(overlap(box, other) <= iou for other in rivals):
            kept.append(box)
    return kept


def overlap(a: ReferenceBox, b: ReferenceBox) -> float:
    """Return intersection over union."""
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    if width <= 0 or height <= 0:
        return 0.0
    areas = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1)
    return width * height / (areas - width * height)


def to_source(box: ReferenceBox, boxed: Letterboxed, width: int, height: int) -> ReferenceBox:
    def back(value: float, pad: int, limit: int) -> float:
        return min(max((value - pad) / boxed.scale, 0), limit)

    return ReferenceBox(
        back(box.x1, boxed.pad_x, width),
        back(box.y1, boxed.pad_y, height),
        back(box.x2, boxed.pad_x, width),
        back(box.y2, boxed.pad_y, height),
        box.score,
        box.class_id,
    )
