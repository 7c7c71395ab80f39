"""Where a picture lies in a model's input: geometry alone, as the exporters' own code has it."""

from dataclasses import dataclass

from preprocess.errors import RegionError
from preprocess.frame import Box, Transform
from preprocess.options import Anchor, PrepareOptions, ResizeMode


@dataclass(frozen=True, slots=True)
class Placement:
    """The rectangle of the tensor that the picture fills, in pixels; the rest is border."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height


def place(width: int, height: int, options: PrepareOptions) -> Placement:
    """Fit a picture of `width` x `height` pixels, both at least 1, into the input of `options`."""
    if options.mode is ResizeMode.RESIZE:
        return Placement(0, 0, options.width, options.height)
    # Ultralytics, data/augment.py: LetterBox; YOLOX has the same ratio.
    ratio = min(options.width / width, options.height / height)
    new_width = max(1, round(width * ratio))
    new_height = max(1, round(height * ratio))
    if options.recipe.anchor is Anchor.TOP_LEFT:
        return Placement(0, 0, new_width, new_height)
    # The 0.1 sends the odd pixel to the right and to the bottom.
    left = round((options.width - new_width) / 2 - 0.1)
    top = round((options.height - new_height) / 2 - 0.1)
    return Placement(left, top, new_width, new_height)


def transform(width: int, height: int, roi: Box, options: PrepareOptions) -> Transform:
    """Return the geometry from a picture of `width` x `height`, of which `roi` is prepared, to a tensor.

    The scale is what the rounded size makes of it, on each axis, so that edges map to edges exactly:
    the exporters divide by the ratio before rounding, which is off by up to half a tensor pixel.
    """
    placed = place(roi[2], roi[3], options)
    return Transform(
        source_width=width,
        source_height=height,
        roi=roi,
        scale_x=placed.width / roi[2],
        scale_y=placed.height / roi[3],
        pad_x=placed.left,
        pad_y=placed.top,
        tensor_width=options.width,
        tensor_height=options.height,
    )


def region(width: int, height: int, roi: Box | None) -> Box:
    """Return `roi`, or the whole of a picture of `width` x `height` pixels.

    Raises:
        RegionError: the region is empty, or does not lie within the picture.
    """
    if roi is None:
        return 0, 0, width, height
    x, y, roi_width, roi_height = roi
    inside = min(x, y) >= 0 and x + roi_width <= width and y + roi_height <= height
    if not inside or min(roi_width, roi_height) < 1:
        raise RegionError(
            f"roi {list(roi)} does not lie within the picture, which is {width}x{height} pixels"
        )
    return roi
