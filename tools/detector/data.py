"""Training data: a pool of rendered scenes kept compressed in memory, and random windows of them."""

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.camera import tone_curve
from tools.clutter import Picture
from tools.scenes import render_scene

LONGER_SIDE = 640
"""The pool keeps scenes at the size at which the model will see them."""
SCENE_SIZES = (
    (640, 480),
    (480, 640),
    (640, 640),
    (800, 600),
    (960, 540),
    (1280, 720),
    (720, 1280),
    (1920, 1080),
)
_SIZE_ODDS = (0.2, 0.14, 0.2, 0.14, 0.12, 0.12, 0.05, 0.03)
PAD = 114
LARGEST_ZOOM = 2.0
CELL = 8
"""Pixels between the places at which a window says what is seen there."""
Map = NDArray[np.uint8]
"""For each pixel an object's number in its scene, or 0, (h, w)."""
LEAST_SEEN = 0.25
"""An object of which a window cuts off more than the rest of this share is not asked for."""
LEAST_SIDE = 4.0
"""Pixels; what is thinner after cropping is not asked for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One scene of the pool."""

    picture: bytes
    """JPEG, longer side `LONGER_SIDE`."""
    instances: bytes
    """PNG of the scene's instance map at the same size."""
    boxes: NDArray[np.float32]
    """x1, y1, x2, y2 in the stored picture's pixels, (n, 4)."""
    classes: NDArray[np.int64]
    """(n,)."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training: how large the windows are, and how far the scenes are zoomed into."""

    steps: int
    batch: int
    size: int
    """Side of the square window, pixels."""
    zoom: tuple[float, float]
    """Least and greatest scale of the stored picture in the window."""
    per_scene: int = 1
    """How many windows are taken from a scene, for to decode one takes longer than to cut a small window."""
    focus: bool = False
    """Windows around single objects; the zoom is then the share of the window that the object takes up."""


class Window(NamedTuple):
    """A part of a scene, as it is trained on; the fields are those of `Batch` for one picture."""

    picture: Picture
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    regions: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step is trained on."""

    pictures: NDArray[np.uint8]
    """RGB, (batch, size, size, 3)."""
    boxes: NDArray[np.float32]
    """x1, y1, x2, y2 in pixels, (batch, most, 4), zeros where there is no object."""
    classes: NDArray[np.int64]
    """(batch, most)."""
    present: NDArray[np.bool_]
    """Which of the rows stand for an object, (batch, most)."""
    regions: NDArray[np.int64]
    """What is seen amid each cell of stride 8: a class plus one, or 0. (batch, size / 8, size / 8)."""


def scene_size(seed: int) -> tuple[int, int]:
    """Width and height of the scene of this seed, for training and for evaluation alike."""
    return SCENE_SIZES[np.random.default_rng([seed, 1]).choice(len(SCENE_SIZES), p=_SIZE_ODDS)]


def make_sample(seed: int) -> Sample:
    """Renders a scene, shrinks it as the worker would, and compresses it."""
    width, height = scene_size(seed)
    scene = render_scene(seed, width, height)
    ratio = LONGER_SIDE / max(width, height)
    size = (round(width * ratio), round(height * ratio))
    picture = cv2.resize(scene.picture, size, interpolation=cv2.INTER_LINEAR)
    instances = cv2.resize(scene.instances, size, interpolation=cv2.INTER_NEAREST)
    quality = int(np.random.default_rng([seed, 2]).integers(70, 97))
    x, y, w, h = (scene.boxes * ratio).T
    return Sample(
        picture=cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes(),
        instances=cv2.imencode(".png", instances)[1].tobytes(),
        boxes=np.stack([x, y, x + w, y + h], axis=1),
        classes=scene.classes,
    )


def render_pool(seeds: range) -> list[Sample]:
    """Renders the scenes of all seeds on every core."""
    with ProcessPoolExecutor(os.cpu_count(), initializer=cv2.setNumThreads, initargs=(1,)) as workers:
        return list(workers.map(make_sample, seeds, chunksize=32))


def _turn(rng: np.random.Generator) -> NDArray[np.float64]:
    """A random flip and quarter turn, (2, 2)."""
    axes = np.eye(2)[rng.permutation(2)] if rng.random() < 0.5 else np.eye(2)
    return axes * rng.choice([-1.0, 1.0], (2, 1))


def _anywhere(rng: np.random.Generator, width: int, height: int, phase: Phase) -> NDArray[np.float64]:
    """A random flip, turn, zoom and shift of a picture into the window, as a (2, 3) matrix on pixel edges."""
    matrix = _turn(rng) * np.exp(rng.uniform(*np.log(phase.zoom)))
    spanned = matrix @ np.array([[0, width, 0, width], [0, 0, height, height]])
    room = phase.size - np.ptp(spanned, axis=1)
    shift = rng.uniform(np.minimum(room, 0), np.maximum(room, 0)) - spanned.min(axis=1)
    return np.concatenate([matrix, shift[:, None]], axis=1)


def _around(rng: np.random.Generator, box: NDArray[np.float32], phase: Phase) -> NDArray[np.float64]:
    """The same, but so that one object takes up a share of the window, in the phase's range of zooms."""
    share = np.exp(rng.uniform(*np.log(phase.zoom)))
    matrix = _turn(rng) * min(share * phase.size / float((box[2:] - box[:2]).max()), LARGEST_ZOOM)
    middle = phase.size * rng.uniform(0.4, 0.6, 2)
    shift = middle - matrix @ ((box[:2] + box[2:]) / 2)
    return np.concatenate([matrix, shift[:, None]], axis=1)


def _recolour(rng: np.random.Generator, picture: Picture) -> Picture:
    """Changes colours, for no class is known by its colour."""
    if rng.random() < 0.6:
        picture = cv2.LUT(picture, tone_curve(rng, 0.6))
    if rng.random() < 0.1:
        picture = cv2.bitwise_not(picture)
    return picture[:, :, rng.permutation(3)] if rng.random() < 0.5 else picture


def _seen(
    sample: Sample, on_edges: NDArray[np.float64], whole: Map, part: Map
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes in the window, (n, 4), and which of them are to be found; cut ones are measured anew.

    `whole` and `part` are the instance maps of the scene and of the window.
    """
    points = sample.boxes.reshape(-1, 2, 2) @ on_edges[:, :2].T + on_edges[:, 2]
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).astype(np.float32)
    size, area = len(part), abs(float(np.linalg.det(on_edges[:, :2])))
    cut = (boxes[:, :2] < -0.5).any(axis=1) | (boxes[:, 2:] > size + 0.5).any(axis=1)
    keep = np.ones(len(boxes), np.bool_)
    for index in np.flatnonzero(cut):
        inside = (part == index + 1).view(np.uint8)
        x, y, w, h = cv2.boundingRect(inside)
        boxes[index] = (x, y, x + w, y + h)
        expected = area * np.count_nonzero(whole == index + 1)
        keep[index] = cv2.countNonZero(inside) >= LEAST_SEEN * expected
    keep &= (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= LEAST_SIDE
    return boxes.clip(0, size), keep


def take_windows(sample: Sample, rng: np.random.Generator, phase: Phase) -> list[Window]:
    """Takes as many random windows of a scene as the phase asks for."""
    stored = cv2.imdecode(np.frombuffer(sample.picture, np.uint8), cv2.IMREAD_COLOR_RGB)
    whole = cv2.imdecode(np.frombuffer(sample.instances, np.uint8), cv2.IMREAD_GRAYSCALE)
    return [_take(sample, stored, whole, rng, phase) for _ in range(phase.per_scene)]


def _take(sample: Sample, stored: Picture, whole: Map, rng: np.random.Generator, phase: Phase) -> Window:
    if phase.focus and len(sample.boxes):
        on_edges = _around(rng, sample.boxes[rng.integers(len(sample.boxes))], phase)
    else:
        on_edges = _anywhere(rng, stored.shape[1], stored.shape[0], phase)
    on_centres = on_edges.copy()
    on_centres[:, 2] += 0.5 * on_edges[:, :2].sum(axis=1) - 0.5  # OpenCV counts from the middle of a pixel
    size = (phase.size, phase.size)
    picture = _recolour(rng, cv2.warpAffine(stored, on_centres, size, borderValue=(PAD, PAD, PAD)))
    part = cv2.warpAffine(whole, on_centres, size, flags=cv2.INTER_NEAREST)
    boxes, keep = _seen(sample, on_edges, whole, part)
    regions = np.append(0, sample.classes + 1)[part[CELL // 2 :: CELL, CELL // 2 :: CELL]]
    return Window(picture, boxes[keep], sample.classes[keep], regions)


def make_batch(pool: Sequence[Sample], phase: Phase, seed: tuple[int, int]) -> Batch:
    """The batch of a step, a pure function of the pool and the seed."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(pool), size=phase.batch // phase.per_scene)
    taken = [window for index in chosen for window in take_windows(pool[index], rng, phase)]
    most = max(1, *(len(window.boxes) for window in taken))
    batch = Batch(
        pictures=np.stack([window.picture for window in taken]),
        boxes=np.zeros((phase.batch, most, 4), np.float32),
        classes=np.zeros((phase.batch, most), np.int64),
        present=np.zeros((phase.batch, most), np.bool_),
        regions=np.stack([window.regions for window in taken]),
    )
    for row, window in enumerate(taken):
        batch.boxes[row, : len(window.boxes)] = window.boxes
        batch.classes[row, : len(window.boxes)] = window.classes
        batch.present[row, : len(window.boxes)] = True
    return batch


def _produce(
    pool: Sequence[Sample], phases: Sequence[Phase], seed: int, ready: "queue.Queue[Batch | None]"
) -> None:
    step = 0
    for phase in phases:
        for _ in range(phase.steps):
            ready.put(make_batch(pool, phase, (seed, step)))
            step += 1
    ready.put(None)


def batches(pool: Sequence[Sample], phases: Sequence[Phase], seed: int) -> Iterator[Batch]:
    """All batches of all phases in order, made one thread ahead of their use."""
    ready: queue.Queue[Batch | None] = queue.Queue(maxsize=4)
    threading.Thread(target=_produce, args=(pool, phases, seed, ready), daemon=True).start()
    while (batch := ready.get()) is not None:
        yield batch
