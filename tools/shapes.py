"""The eight object classes: their outlines in unit coordinates, and the patterns that fill them."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Corners of one closed contour, (n, 2) as x, y."""
Outline = list[Points]
"""The contours of one shape; a second contour is a hole."""
Colour = NDArray[np.float32]
"""RGB, (3,), 0..255."""
Weights = NDArray[np.float32]
"""How much of the second colour each pixel takes, (h, w), 0..1."""


def _polar(radii: NDArray[np.float64], start: float = -np.pi / 2) -> Points:
    angles = start + np.arange(len(radii)) * (2 * np.pi / len(radii))
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _circle(_: np.random.Generator) -> Outline:
    return [_polar(np.ones(72))]


def _square(_: np.random.Generator) -> Outline:
    return [_polar(np.ones(4), -np.pi / 4)]


def _triangle(rng: np.random.Generator) -> Outline:
    return [_polar(np.ones(3)) + rng.uniform(-0.08, 0.08, (3, 2))]


def _star(rng: np.random.Generator) -> Outline:
    inner = rng.uniform(0.38, 0.52)
    return [_polar(np.tile([1.0, inner], 5))]


def _cross(rng: np.random.Generator) -> Outline:
    a = rng.uniform(0.24, 0.38)
    quarter = np.array([[a, -1.0], [a, -a], [1.0, -a]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return [np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])]


def _heart(_: np.random.Generator) -> Outline:
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return [np.stack([x, y], axis=1) / 16]


def _ring(rng: np.random.Generator) -> Outline:
    return [_polar(np.ones(72)), _polar(np.full(72, rng.uniform(0.45, 0.72)))]


def _arrow(rng: np.random.Generator) -> Outline:
    shaft, head, neck = rng.uniform(0.15, 0.26), rng.uniform(0.55, 0.75), rng.uniform(-0.1, 0.2)
    upper = np.array([[-1.0, -shaft], [neck, -shaft], [neck, -head], [1.0, 0.0]])
    return [np.concatenate([upper, upper[-2::-1] * [1.0, -1.0]])]


SHAPES: dict[str, Callable[[np.random.Generator], Outline]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "ring": _ring,
    "arrow": _arrow,
}
CLASS_NAMES: tuple[str, ...] = tuple(SHAPES)


def pose(outline: Outline, rng: np.random.Generator, size: float, centre: tuple[float, float]) -> Outline:
    """Stretches, turns and moves an outline so that its longer side is `size` pixels around `centre`."""
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.75 else 0.0
    cos, sin = np.cos(angle), np.sin(angle)
    stretch = np.exp(rng.uniform(-0.17, 0.17))
    matrix = np.array([[cos, sin], [-sin, cos]]) * [[stretch], [1 / stretch]]
    turned = [points @ matrix for points in outline]
    low, high = turned[0].min(axis=0), turned[0].max(axis=0)
    scale = size / float((high - low).max())
    return [(points - (low + high) / 2) * scale + centre for points in turned]


def _along(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Distance in pixels along a random direction, (h, w)."""
    angle = rng.uniform(0, 2 * np.pi)
    x = np.arange(width, dtype=np.float32) * np.float32(np.cos(angle))
    y = np.arange(height, dtype=np.float32) * np.float32(np.sin(angle))
    return x[None, :] + y[:, None]


def _wave(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """-1..1 along a random direction, with three to eight periods over the longer side."""
    period = max(height, width) / rng.uniform(3, 8)
    return np.sin(_along(rng, height, width) * np.float32(2 * np.pi / period))


def _solid(_: np.random.Generator, height: int, width: int) -> Weights:
    return np.zeros((height, width), np.float32)


def _ramp(rng: np.random.Generator, height: int, width: int) -> Weights:
    along = _along(rng, height, width)
    low, high = float(along.min()), float(along.max())
    return (along - low) / max(high - low, 1.0)


def _stripes(rng: np.random.Generator, height: int, width: int) -> Weights:
    return np.clip(_wave(rng, height, width) * 3 + 0.5, 0, 1)


def _checks(rng: np.random.Generator, height: int, width: int) -> Weights:
    return np.clip(_wave(rng, height, width) * _wave(rng, height, width) * 6 + 0.5, 0, 1)


def _speckle(rng: np.random.Generator, height: int, width: int) -> Weights:
    grain = int(rng.integers(1, 5))
    small = rng.random((height // grain + 1, width // grain + 1), dtype=np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


PATTERNS: tuple[Callable[[np.random.Generator, int, int], Weights], ...] = (
    _solid,
    _ramp,
    _stripes,
    _checks,
    _speckle,
)
_PATTERN_ODDS = (0.45, 0.25, 0.12, 0.06, 0.12)


def fill(
    rng: np.random.Generator, height: int, width: int, first: Colour, second: Colour
) -> NDArray[np.float32]:
    """A patch of a random pattern between two colours, (h, w, 3), 0..255."""
    weights = PATTERNS[rng.choice(len(PATTERNS), p=_PATTERN_ODDS)](rng, height, width)
    return first + (second - first) * weights[:, :, None]
