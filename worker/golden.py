"""The golden picture: drawn, never blank, and what a model's outputs for it must look like."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from preprocess.frame import Frame
from protocol.pixel_format import PixelFormat
from runtimes.spec import DYNAMIC, TensorMap, TensorSpec


def golden_frame(width: int, height: int) -> Frame:
    """Return the golden picture as RGB of `width` x `height` pixels."""
    return Frame(_draw(width, height).data.cast("B"), width, height, PixelFormat.RGB)


def misshapen(outputs: TensorMap, declared: Sequence[TensorSpec]) -> str | None:
    """Return in what one picture's outputs are not those that the model declares; None where they are."""
    for spec in declared:
        if spec.name not in outputs:
            return f"output {spec.name} is missing"
        shape = outputs[spec.name].shape
        if spec.shape and not _fits(shape, spec.shape):
            return f"output {spec.name} is {list(shape)}, declared as {list(spec.shape)}"
    return None


def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    """Whether a shape is the declared one; of one picture, the batch axis may be 1 in any model."""
    return len(shape) == len(declared) and all(
        wanted in (DYNAMIC, size) or (axis == 0 and size == 1)
        for axis, (size, wanted) in enumerate(zip(shape, declared, strict=True))
    )


def _draw(width: int, height: int) -> NDArray[np.uint8]:
    """Return (height, width, 3) uint8: colours that run across, a disc, a frame and stripes upon them."""
    y, x = np.ogrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    across, down = np.broadcast_arrays(x, y)
    picture = np.stack([255 * across, 255 * down, 255 * (1 - across)], axis=-1).astype(np.uint8)
    picture[(across - 0.3) ** 2 + (down - 0.35) ** 2 < 0.03] = 230, 40, 30
    outer = (abs(across - 0.72) < 0.18) & (abs(down - 0.3) < 0.2)
    inner = (abs(across - 0.72) < 0.12) & (abs(down - 0.3) < 0.14)
    picture[outer & ~inner] = 20, 60, 220
    stripes = (down > 0.7) & (down < 0.9) & ((across * 16).astype(int) % 2 == 0)
    picture[stripes] = 245, 245, 235
    return np.ascontiguousarray(picture)
