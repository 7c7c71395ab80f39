"""Draws detections into a picture, for people to look at; the one file here that knows OpenCV."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from postprocessors.results import Detection
from preprocess.options import ChannelOrder

Color = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

Rectangle = tuple[int, int, int, int]
"""left, top, right, bottom in whole pixels."""

PALETTE: tuple[Color, ...] = (
    (230, 57, 70),
    (29, 140, 255),
    (255, 183, 3),
    (46, 196, 102),
    (170, 90, 230),
    (0, 200, 210),
    (255, 122, 41),
    (240, 98, 176),
    (158, 217, 55),
    (70, 88, 220),
    (190, 130, 80),
    (20, 150, 130),
)
"""By class id, neighbours far apart in hue; all light enough to be seen on dark pictures."""

_BLACK: Color = (16, 16, 16)
_WHITE: Color = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class _Pen:
    """Sizes in pixels, in proportion to the picture."""

    line: int
    font_scale: float
    font_line: int
    margin: int


@dataclass(frozen=True, slots=True)
class _Label:
    text: str
    where: Rectangle
    color: Color
    baseline: int
    """How far below the line of writing a letter reaches."""


def annotate(
    picture: NDArray[np.uint8],
    detections: Sequence[Detection],
    order: ChannelOrder = ChannelOrder.RGB,
) -> NDArray[np.uint8]:
    """Return a copy of a picture with boxes, and labels such as "person 0.87", the best on top.

    Args:
        picture: (height, width, 3).
        detections: best first, as postprocessors report them.
        order: of the picture's channels, RGB or BGR.
    """
    canvas = np.array(picture, np.uint8, order="C")
    pen = _pen(*canvas.shape[:2])
    labels: list[_Label] = []
    for found in detections:
        labels.append(_place_label(found, pen, canvas.shape, [label.where for label in labels]))
    for found in reversed(detections):
        _draw_box(canvas, found, pen, order)
    for label in reversed(labels):
        _draw_label(canvas, label, pen, order)
    return canvas


def save_jpeg(path: Path, picture: NDArray[np.uint8], order: ChannelOrder = ChannelOrder.RGB) -> None:
    """Write a picture, (height, width, 3), to a file.

    Raises:
        OSError: the file cannot be written.
    """
    bgr = picture if order is ChannelOrder.BGR else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    path.write_bytes(cv2.imencode(".jpg", bgr)[1].tobytes())


def color_of(class_id: Any) -> Color:
    """Return a class's color; objects without a class get the first."""
    return PALETTE[class_id % len(PALETTE)] if isinstance(class_id, int) else PALETTE[0]


def label_text(found: Detection) -> str:
    """Return "person 0.87", with the class id where the class has no name."""
    name = found.class_name if found.class_name is not UNSET else found.class_id
    return f"{found.score:.2f}" if name is UNSET else f"{name} {found.score:.2f}"


def _pen(height: int, width: int) -> _Pen:
    """Fitted to the shorter side: 2 pixel lines and letters of 10 at 640, never unreadably small."""
    side = min(height, width)
    font_scale = max(0.4, side / 1280)
    return _Pen(
        line=max(2, round(side / 320)),
        font_scale=font_scale,
        font_line=max(1, round(font_scale * 1.6)),
        margin=max(2, round(side / 240)),
    )


def _corners(found: Detection) -> Rectangle:
    x, y, width, height = found.bbox
    return round(x), round(y), round(x + width), round(y + height)


def _place_label(found: Detection, pen: _Pen, shape: tuple[int, ...], taken: list[Rectangle]) -> _Label:
    """Above the box, else inside it at the top, else below: the first that is free; in the picture."""
    text = label_text(found)
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, pen.font_scale, pen.font_line)
    width, height = text_width + 2 * pen.margin, text_height + baseline + 2 * pen.margin
    left, top, _, bottom = _corners(found)
    outset = pen.line // 2
    places = [
        _inside((left - outset, y, left - outset + width, y + height), shape)
        for y in (top - outset - height, top + outset, bottom - height - outset, bottom + outset)
    ]
    if top - outset - height < 0:
        places = [*places[1:], places[0]]
    where = next((place for place in places if not any(_meet(place, other) for other in taken)), places[0])
    return _Label(text, where, color_of(found.class_id), baseline)


def _inside(box: Rectangle, shape: tuple[int, ...]) -> Rectangle:
    """Move a rectangle into the picture; one that is too wide starts at the border."""
    left = max(0, min(box[0], shape[1] - (box[2] - box[0])))
    top = max(0, min(box[1], shape[0] - (box[3] - box[1])))
    return left, top, left + box[2] - box[0], top + box[3] - box[1]


def _meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _draw_box(canvas: NDArray[np.uint8], found: Detection, pen: _Pen, order: ChannelOrder) -> None:
    left, top, right, bottom = _corners(found)
    color = _in_order(color_of(found.class_id), order)
    # A dark rim keeps the line visible where the picture has the line's own color.
    rim = _in_order(_BLACK, order)
    cv2.rectangle(canvas, (left, top), (right, bottom), rim, pen.line + 2, cv2.LINE_AA)
    cv2.rectangle(canvas, (left, top), (right, bottom), color, pen.line, cv2.LINE_AA)


def _draw_label(canvas: NDArray[np.uint8], label: _Label, pen: _Pen, order: ChannelOrder) -> None:
    left, top, right, bottom = label.where
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), _in_order(label.color, order), cv2.FILLED)
    start = (left + pen.margin, bottom - pen.margin - label.baseline)
    ink = _in_order(_ink_on(label.color), order)
    cv2.putText(canvas, label.text, start, _FONT, pen.font_scale, ink, pen.font_line, cv2.LINE_AA)


def _ink_on(background: Color) -> Color:
    """Black or white, whichever is easier to read (luma by BT.601)."""
    red, green, blue = background
    return _BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else _WHITE


def _in_order(color: Color, order: ChannelOrder) -> Color:
    return color[::-1] if order is ChannelOrder.BGR else color
