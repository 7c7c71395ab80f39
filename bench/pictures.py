"""What is shown to the models: a photograph, a scene, or a drawing, in several variants."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(height, width, 3) BGR."""

VARIANTS = 4
"""Different pictures, sent in turn: one alone would stay in the caches."""

_DRAWN = (1920, 1080)


def source_image(file: Path | None) -> Image:
    """Return a picture file, or a drawn scene where there is none."""
    if file is not None and file.exists():
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is not None:
            return np.asarray(image, np.uint8)
    return drawn_scene()


def drawn_scene() -> Image:
    """Return 1080p of shapes on a gradient with a little noise, so that a JPEG has something to say."""
    width, height = _DRAWN
    random = np.random.default_rng(0)
    ramp = np.add.outer(np.linspace(40, 120, height), np.linspace(0, 80, width))
    image = np.repeat(ramp[:, :, None], 3, axis=2) + random.normal(0, 4, (height, width, 3))
    scene = np.ascontiguousarray(image.clip(0, 255), np.uint8)
    for _ in range(24):
        x, y, radius = random.integers((0, 0, 20), (width, height, 160)).tolist()
        color = tuple(random.integers(0, 256, 3).tolist())
        cv2.circle(scene, (x, y), radius, color, -1)
    return scene


def variants(image: Image, width: int, height: int) -> list[Image]:
    """Return several pictures of one size: the source scaled to the height, repeated sideways, shifted."""
    scaled_width = max(1, round(image.shape[1] * height / image.shape[0]))
    scaled: Any = cv2.resize(image, (scaled_width, height), interpolation=cv2.INTER_AREA)
    wide = np.tile(scaled, (1, -(-width // scaled_width), 1))
    return [np.ascontiguousarray(np.roll(wide, 64 * k, axis=1)[:, :width]) for k in range(VARIANTS)]
