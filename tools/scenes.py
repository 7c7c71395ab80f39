"""Renders scenes: coloured, textured shapes over clutter, with the box and class of each.

A scene is a pure function of its seed and size: nothing is read from files, clocks or global random state.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.camera import photograph
from tools.clutter import Picture, background, draw_clutter, draw_strands, random_colour
from tools.shapes import CLASS_NAMES, SHAPES, Colour, Outline, fill, pose

__all__ = ["CLASS_NAMES", "Scene", "render_scene"]

SMALLEST_PX = 16
SMALLEST_SHARE = 0.026
"""Least size of an object, as a share of the longer side: about 16 pixels where that is 640."""
LARGEST_SHARE = 0.6
"""Greatest size of an object, as a share of the shorter side."""
LEAST_VISIBLE = 0.55
"""An object that would leave less than this of another one (or of itself) in sight is not placed."""
LEAST_CONTRAST = 48.0
"""Least distance in RGB between an object's colour and what is under it."""
_FRACTION_BITS = 4  # of OpenCV's fixed-point coordinates


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and what is in it."""

    picture: NDArray[np.uint8]
    """RGB, (height, width, 3)."""
    boxes: NDArray[np.float32]
    """x, y, w, h in pixels, (n, 4): tight around the part of each object that is in sight."""
    classes: NDArray[np.int64]
    """Indices into `CLASS_NAMES`, (n,)."""
    instances: NDArray[np.uint8]
    """For each pixel the object seen there, as its index in `boxes` plus one; 0 = none. (height, width)."""


@dataclass(slots=True)
class _Canvas:
    """A scene while it is drawn."""

    picture: Picture
    instances: NDArray[np.uint8]
    classes: list[int] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    """Pixels of each object if nothing hid it, the part beyond the picture's edge included."""
    visible: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """An outline's pixels: where they go and how far each is covered."""

    window: tuple[slice, slice]
    alpha: NDArray[np.uint8]
    outline: list[NDArray[np.int32]]
    """Contours in the window's fixed-point coordinates."""


def render_scene(seed: int, width: int, height: int) -> Scene:
    """Renders the scene that `seed` stands for, at `width` x `height` pixels."""
    rng = np.random.default_rng([seed, width, height])
    canvas = _Canvas(background(rng, height, width), np.zeros((height, width), np.uint8))
    draw_clutter(rng, canvas.picture)
    for _ in range(int(rng.integers(1, 13))):
        _try_place(rng, canvas)
    draw_strands(rng, canvas.picture)
    boxes = [_extent(canvas.instances, index + 1) for index in range(len(canvas.classes))]
    return Scene(
        picture=photograph(rng, canvas.picture),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        classes=np.array(canvas.classes, np.int64),
        instances=canvas.instances,
    )


def _try_place(rng: np.random.Generator, canvas: _Canvas, tries: int = 4) -> None:
    """Draws one more object where it hides no other one too far, or gives up."""
    kind = int(rng.integers(len(CLASS_NAMES)))
    for _ in range(tries):
        outline = _random_outline(rng, CLASS_NAMES[kind], canvas.picture)
        stamp, whole = _stamp(outline, *canvas.instances.shape)
        if stamp is None or not _leaves_enough(canvas, stamp, whole):
            continue
        _paint(rng, canvas.picture[stamp.window], stamp)
        _record(canvas, stamp, kind, whole)
        return


def _random_outline(rng: np.random.Generator, name: str, picture: Picture) -> Outline:
    height, width = picture.shape[:2]
    low = max(SMALLEST_PX, SMALLEST_SHARE * max(width, height))
    high = max(LARGEST_SHARE * min(width, height), low + 1)
    size = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    margin = 0.35 * size  # so that some objects reach over the edge
    centre = rng.uniform(margin, np.maximum((width - margin, height - margin), margin + 1))
    return pose(SHAPES[name](rng), rng, size, (float(centre[0]), float(centre[1])))


def _stamp(outline: Outline, height: int, width: int) -> tuple[_Stamp | None, int]:
    """The outline's pixels within the picture, and its area in pixels with what lies beyond the edge."""
    areas = [cv2.contourArea(points.astype(np.float32)) for points in outline]
    low = np.floor(outline[0].min(axis=0)).astype(int) - 2
    high = np.ceil(outline[0].max(axis=0)).astype(int) + 3
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, (width, height))
    if x1 <= x0 or y1 <= y0:
        return None, 0
    fixed = [np.round((points - (x0, y0)) * (1 << _FRACTION_BITS)).astype(np.int32) for points in outline]
    alpha = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(alpha, fixed, 255, cv2.LINE_AA, _FRACTION_BITS)
    return _Stamp((slice(y0, y1), slice(x0, x1)), alpha, fixed), round(2 * areas[0] - sum(areas))


def _leaves_enough(canvas: _Canvas, stamp: _Stamp, whole: int) -> bool:
    covered = stamp.alpha > 127
    if covered.sum() < LEAST_VISIBLE * whole:
        return False
    hidden = np.bincount(canvas.instances[stamp.window][covered], minlength=len(canvas.whole) + 1)[1:]
    left = np.array(canvas.visible, np.int64) - hidden
    return bool((left >= LEAST_VISIBLE * np.array(canvas.whole, np.int64)).all())


def _record(canvas: _Canvas, stamp: _Stamp, kind: int, whole: int) -> None:
    covered = stamp.alpha > 127
    window = canvas.instances[stamp.window]
    hidden = np.bincount(window[covered], minlength=len(canvas.classes) + 1)[1:]
    canvas.visible[:] = [left - int(lost) for left, lost in zip(canvas.visible, hidden, strict=True)]
    canvas.visible.append(int(covered.sum()))
    canvas.classes.append(kind)
    canvas.whole.append(whole)
    window[covered] = len(canvas.classes)


def _contrasting(rng: np.random.Generator, under: Colour) -> Colour:
    for _ in range(8):
        colour = np.array(random_colour(rng), np.float32)
        if np.linalg.norm(colour - under) >= LEAST_CONTRAST:
            return colour
    return np.where(under > 127, under - 90, under + 90).astype(np.float32)


def _paint(rng: np.random.Generator, window: Picture, stamp: _Stamp) -> None:
    """Draws the object into `window`, a view of the picture."""
    under = np.array(cv2.mean(window, stamp.alpha)[:3], np.float32)
    first, second = _contrasting(rng, under), _contrasting(rng, under)
    patch = fill(rng, *stamp.alpha.shape, first, second).astype(np.uint8)
    if rng.random() < 0.35:
        width = max(1, round(max(stamp.alpha.shape) * rng.uniform(0.03, 0.09)))
        edge = _contrasting(rng, first).tolist()
        cv2.polylines(patch, stamp.outline, True, edge, width, cv2.LINE_AA, _FRACTION_BITS)
    opacity = rng.uniform(0.8, 1.0) if rng.random() < 0.2 else 1.0
    alpha = stamp.alpha[:, :, None] * np.float32(opacity / 255)
    window[:] = (window + (patch.astype(np.float32) - window) * alpha + 0.5).astype(np.uint8)


def _extent(instances: NDArray[np.uint8], label: int) -> tuple[int, int, int, int]:
    return cv2.boundingRect((instances == label).view(np.uint8))  # type: ignore[return-value]
