"""What light and lens do to a scene: shadow, exposure, gamma, colour cast, blur and sensor noise."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.clutter import Picture, unit

_TILE = 251
"""Pixels; noise is drawn once at this size and repeated, for all of it would take longer than the scene."""


def tone_curve(rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Exposure, gamma and a colour cast as one table, (256, 1, 3); strength 0 leaves all as it is."""
    level = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(rng.uniform(-0.45, 0.45) * strength)
    gain = np.exp(rng.uniform(-0.45, 0.25) * strength + rng.uniform(-0.18, 0.18, 3) * strength)
    lift = rng.uniform(0, 0.12) * strength
    curve = (lift + (1 - lift) * level**gamma) * gain
    return (np.clip(curve, 0, 1) * 255 + 0.5).astype(np.uint8)[:, None, :]


def _shadow(rng: np.random.Generator, picture: Picture) -> Picture:
    """A soft fall of light across the picture, sometimes with the hard edge of a shadow."""
    height, width = picture.shape[:2]
    corners = rng.uniform(0.4, 1.0, (2, 2)).astype(np.float32)
    fall = cv2.resize(corners, (width // 4 + 1, height // 4 + 1), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.4:
        edge = rng.uniform(0, 1, (4, 2)) * (fall.shape[1], fall.shape[0])
        veil = np.ones_like(fall)
        cv2.fillPoly(veil, [cv2.convexHull(edge.astype(np.int32))], float(rng.uniform(0.5, 0.85)))
        fall = fall * cv2.blur(veil, (3, 3))
    full = cv2.resize((fall * 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.multiply(picture, cv2.merge([full, full, full]), scale=1 / 255)


def _blur(rng: np.random.Generator, picture: Picture) -> Picture:
    if rng.random() < 0.7:
        sigma = rng.uniform(0.3, 1.4) * unit(picture)
        return cv2.GaussianBlur(picture, (0, 0), sigma)
    length = max(2, round(rng.uniform(2, 5) * unit(picture)))
    kernel = np.zeros((length, length), np.float32)
    ends = (
        [(0, 0), (length - 1, length - 1)]
        if rng.random() < 0.5
        else [(0, length // 2), (length - 1, length // 2)]
    )
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(picture, -1, kernel / kernel.sum())


def _noise(rng: np.random.Generator, picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    channels = 3 if rng.random() < 0.7 else 1
    tile = rng.normal(0, rng.uniform(1, 14), (_TILE, _TILE, channels)).astype(np.int16)
    times = (height // _TILE + 1, width // _TILE + 1, 3 // channels)
    grain = np.ascontiguousarray(np.tile(tile, times)[:height, :width])
    return cv2.add(picture, grain, dtype=cv2.CV_8U)


def photograph(rng: np.random.Generator, picture: Picture) -> Picture:
    """The scene as a camera sees it; the geometry stays."""
    if rng.random() < 0.5:
        picture = _shadow(rng, picture)
    if rng.random() < 0.6:
        picture = cv2.LUT(picture, tone_curve(rng, 1.0))
    if rng.random() < 0.45:
        picture = _blur(rng, picture)
    if rng.random() < 0.6:
        picture = _noise(rng, picture)
    return picture
