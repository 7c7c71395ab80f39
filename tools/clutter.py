"""What is in a scene besides its objects: the background, and things that belong to no class."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""RGB, (h, w, 3)."""
_LETTERS = tuple(
    "ABEFGHKMNPRSUWZ235679"
)  # without those that, written small, are a ring, a cross or a triangle
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX_SMALL)


def random_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """An RGB colour, now and then a grey one."""
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    return (red, red, red) if rng.random() < 0.15 else (red, green, blue)


def unit(picture: Picture) -> float:
    """One pixel of a 640-pixel picture, in this picture's pixels; lines and blurs scale with it."""
    return max(picture.shape[:2]) / 640


def _gradient(rng: np.random.Generator, height: int, width: int) -> Picture:
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    grid = cv2.resize(corners, (64, 64), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(grid[16:48, 16:48], (width, height), interpolation=cv2.INTER_LINEAR)


def _flat(rng: np.random.Generator, height: int, width: int) -> Picture:
    return np.full((height, width, 3), random_colour(rng), np.uint8)


def _clouds(rng: np.random.Generator, height: int, width: int) -> Picture:
    cells = int(rng.integers(3, 28))
    base = np.array(random_colour(rng), np.float32)
    small = base + rng.normal(0, rng.uniform(10, 45), (cells, cells, 3))
    coarse = np.clip(small, 0, 255).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _patches(rng: np.random.Generator, height: int, width: int) -> Picture:
    picture = _gradient(rng, height, width)
    reach = 2.0 * max(height, width)
    for _ in range(int(rng.integers(2, 7))):
        angle = rng.uniform(0, 2 * np.pi)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        start = rng.uniform(0.1, 0.9, 2) * (width, height)
        half_plane = [start - along * reach, start + along * reach]
        half_plane += [start + (along + across) * reach, start - (along - across) * reach]
        cv2.fillPoly(picture, [np.array(half_plane).astype(np.int32)], random_colour(rng), cv2.LINE_AA)
    return picture


def _weave(rng: np.random.Generator, height: int, width: int) -> Picture:
    period = rng.uniform(6, 60) * max(height, width) / 640
    angle = rng.uniform(0, np.pi)
    x = np.arange(width, dtype=np.float32) * np.float32(np.cos(angle) / period)
    y = np.arange(height, dtype=np.float32) * np.float32(np.sin(angle) / period)
    phase = x[None, :] + y[:, None]
    level = ((phase - np.floor(phase)) * rng.uniform(20, 90)).astype(np.uint8)
    return cv2.add(_gradient(rng, height, width), cv2.merge([level, level, level]))


BACKGROUNDS: tuple[Callable[[np.random.Generator, int, int], Picture], ...] = (
    _flat,
    _gradient,
    _clouds,
    _patches,
    _weave,
)


def background(rng: np.random.Generator, height: int, width: int) -> Picture:
    """One of the backgrounds, or two of them mixed."""
    picture = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, height, width)
    if rng.random() < 0.4:
        other = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, height, width)
        share = rng.uniform(0.3, 0.7)
        picture = cv2.addWeighted(picture, share, other, 1 - share, 0)
    return picture


def _anywhere(rng: np.random.Generator, picture: Picture) -> NDArray[np.float64]:
    return rng.uniform(-0.05, 1.05, 2) * (picture.shape[1], picture.shape[0])


def _thickness(rng: np.random.Generator, picture: Picture, most: float) -> int:
    return max(1, round(rng.uniform(0.8, most) * unit(picture)))


def draw_line(rng: np.random.Generator, picture: Picture) -> None:
    """A straight line."""
    ends = [tuple(int(v) for v in _anywhere(rng, picture)) for _ in range(2)]
    cv2.line(picture, ends[0], ends[1], random_colour(rng), _thickness(rng, picture, 4), cv2.LINE_AA)


def draw_scribble(rng: np.random.Generator, picture: Picture) -> None:
    """A line that wanders about."""
    steps = np.cumsum(rng.normal(0, 1, (int(rng.integers(4, 14)), 2)), axis=0)
    path = steps * rng.uniform(8, 40) * unit(picture) + _anywhere(rng, picture)
    points = path.astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(picture, [points], False, random_colour(rng), _thickness(rng, picture, 4), cv2.LINE_AA)


def _draw_text(rng: np.random.Generator, picture: Picture) -> None:
    text = "".join(rng.choice(_LETTERS, int(rng.integers(3, 11))))
    x, y = (int(v) for v in _anywhere(rng, picture))
    font, scale = _FONTS[rng.integers(len(_FONTS))], float(rng.uniform(0.4, 1.6)) * unit(picture)
    cv2.putText(
        picture, text, (x, y), font, scale, random_colour(rng), _thickness(rng, picture, 3), cv2.LINE_AA
    )


def _draw_blob(rng: np.random.Generator, picture: Picture) -> None:
    """A smooth, uneven outline: a spline-like curve through points at uneven distances."""
    radii = rng.uniform(0.3, 1.0, int(rng.integers(6, 11)))
    spread = cv2.resize(np.tile(radii, 3)[None, :], (3 * 60, 1), interpolation=cv2.INTER_CUBIC)[0, 60:120]
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    long, short = rng.uniform(10, 70) * unit(picture) * np.array([1.0, rng.uniform(0.3, 0.7)])
    points = np.stack([spread * np.cos(angles) * long, spread * np.sin(angles) * short], axis=1)
    placed = (points + _anywhere(rng, picture)).astype(np.int32)
    cv2.fillPoly(picture, [placed], random_colour(rng), cv2.LINE_AA)


def _draw_bar(rng: np.random.Generator, picture: Picture) -> None:
    centre, width = _anywhere(rng, picture), rng.uniform(5, 30) * unit(picture)
    bar = (centre.tolist(), (width, width * rng.uniform(3.5, 9)), float(rng.uniform(0, 180)))
    cv2.fillPoly(picture, [cv2.boxPoints(bar).astype(np.int32)], random_colour(rng), cv2.LINE_AA)


def _draw_arc(rng: np.random.Generator, picture: Picture) -> None:
    x, y = (int(v) for v in _anywhere(rng, picture))
    axes = tuple(int(v) for v in rng.uniform(8, 90, 2) * unit(picture))
    start, turn = float(rng.uniform(0, 360)), float(rng.uniform(40, 190))
    thickness = _thickness(rng, picture, 8)
    cv2.ellipse(picture, (x, y), axes, start, 0, turn, random_colour(rng), thickness, cv2.LINE_AA)


CLUTTER: tuple[Callable[[np.random.Generator, Picture], None], ...] = (
    draw_line,
    draw_scribble,
    _draw_text,
    _draw_blob,
    _draw_bar,
    _draw_arc,
)


def draw_clutter(rng: np.random.Generator, picture: Picture) -> None:
    """Draws between none and two dozen things of no class."""
    count = int(rng.integers(0, 25) * rng.random())
    for kind in rng.integers(0, len(CLUTTER), count):
        CLUTTER[kind](rng, picture)


def draw_strands(rng: np.random.Generator, picture: Picture) -> None:
    """Draws a few thin strokes over everything; thin, so that they hide no object's extent."""
    for _ in range(int(rng.integers(0, 4))):
        (draw_line if rng.random() < 0.6 else draw_scribble)(rng, picture)
