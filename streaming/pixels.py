"""Makes decoded pictures into arrays that the worker reads: upright, of square pixels, packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from preprocess.buffers import BufferPool
from preprocess.options import ColorSpace
from protocol.pixel_format import PixelFormat
from streaming.errors import StreamTooLargeError
from streaming.settings import DecodeSettings

if TYPE_CHECKING:
    import av
    from av.buffer import Buffer

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a display matrix asks for: mirrored from left to right first, then turned."""

    degrees: int = 0
    """Clockwise: 0, 90, 180 or 270."""
    mirrored: bool = False

    @property
    def swaps_sides(self) -> bool:
        return self.degrees % 180 == 90

    def apply(self, pixels: Pixels) -> Pixels:
        """Return a view (height, width, ...) of this plane or picture that is turned."""
        mirrored = pixels[:, ::-1] if self.mirrored else pixels
        return np.rot90(mirrored, -self.degrees // 90)


UPRIGHT = Turn()

_IDLE_BYTES = 32 << 20
"""What a stream keeps for its next pictures: those of 1080p that are on their way at once."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels as a `VideoFrame` has them."""

    pixels: Pixels
    format: PixelFormat
    width: int
    height: int
    color_space: ColorSpace | None


class PixelReader:
    """Reads the decoded pictures of one stream; for one thread."""

    def __init__(self, settings: DecodeSettings) -> None:
        self._settings = settings
        self._buffers = BufferPool(_IDLE_BYTES)
        """Fresh memory would cost a page fault for every 4 KiB of a picture."""
        self._reformatter = VideoReformatter()
        """One for all pictures: it keeps its tables while size and format stay."""
        self._turns: dict[int, Turn] = {}
        """By the angle of a matrix. A frame that has been asked for its side data refers to itself from
        then on, and its memory waits for the garbage collector: that is to be one frame, not each."""

    def size(self, frame: av.VideoFrame, pixel_aspect: Fraction) -> tuple[int, int]:
        """Return width and height of what `read` makes of a picture."""
        width, height = square_size(frame.width, frame.height, pixel_aspect)
        return (height, width) if self.turn(frame).swaps_sides else (width, height)

    def turn(self, frame: av.VideoFrame) -> Turn:
        """Return how this picture is turned to stand upright."""
        if not self._settings.rotate:
            return UPRIGHT
        rotation = frame.rotation
        if rotation not in self._turns:
            self._turns[rotation] = turn_of(frame)
        return self._turns[rotation]

    def read(self, frame: av.VideoFrame, pixel_aspect: Fraction) -> Picture:
        """Return a picture's pixels.

        4:2:0 of limited range and even sides with square pixels is copied once, plane by plane, into one
        packed array (I420 or NV12); everything else goes through libswscale to BGR, or to the format that
        the settings name.

        Raises:
            StreamTooLargeError: it has too many pixels.
        """
        width, height = square_size(frame.width, frame.height, pixel_aspect)
        guard_pixels(max(frame.width, width), max(frame.height, height), self._settings.max_pixels)
        turn = self.turn(frame)
        asked = self._settings.pixel_format
        converted_to = PixelFormat.BGR if asked is None else asked  # RGB is 0
        layout = _LAYOUTS.get(frame.format.name)
        if asked in (None, layout) and layout is not None and _is_copied(frame, width, height):
            return _packed(frame, layout, turn, self._buffers)
        return self._converted(frame, width, height, converted_to, turn)

    def _converted(
        self, frame: av.VideoFrame, width: int, height: int, pixel_format: PixelFormat, turn: Turn
    ) -> Picture:
        converted = self._reformatter.reformat(
            frame,
            width,
            height,
            _SWSCALE_NAMES[pixel_format],
            src_color_range=frame.color_range or None,
            dst_color_range=ColorRange.JPEG,
        )
        pixels = np.ascontiguousarray(turn.apply(_interleaved(converted)))
        return Picture(pixels, pixel_format, pixels.shape[1], pixels.shape[0], None)


_LAYOUTS = {"yuv420p": PixelFormat.I420, "nv12": PixelFormat.NV12}
_SWSCALE_NAMES = {PixelFormat.RGB: "rgb24", PixelFormat.BGR: "bgr24", PixelFormat.GRAY: "gray"}
_COLOR_SPACES = {1: ColorSpace.BT709, 5: ColorSpace.BT601, 6: ColorSpace.BT601}
"""By H.273's numbers of matrix coefficients; the two names of BT.601 mean the same matrix."""
_UNKNOWN_MATRIX = 2


def guard_pixels(width: int, height: int, max_pixels: int) -> None:
    """Check a picture's size.

    Raises:
        StreamTooLargeError: it has too many pixels.
    """
    if width * height > max_pixels:
        text = f"frames of {width}x{height} pixels are larger than the limit of {max_pixels} pixels"
        raise StreamTooLargeError(text)


def square_size(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Return the size at which pixels are square; nothing gets smaller."""
    if pixel_aspect >= 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


def turn_of(frame: av.VideoFrame) -> Turn:
    """Return what a frame's display matrix asks for; angles between right angles are left alone."""
    try:
        side_data: Buffer = frame.side_data[Type.DISPLAYMATRIX]  # type: ignore[typeddict-item]
    except KeyError:
        return UPRIGHT
    matrix = np.frombuffer(memoryview(side_data), np.int32, count=9).reshape(3, 3)
    a, b, c, d = (int(value) for value in np.rint(matrix[:2, :2].ravel() / 65536))
    return _TURNS.get((a, b, c, d), UPRIGHT)


_TURNS = {
    (1, 0, 0, 1): UPRIGHT,
    (0, 1, -1, 0): Turn(90),
    (-1, 0, 0, -1): Turn(180),
    (0, -1, 1, 0): Turn(270),
    (-1, 0, 0, 1): Turn(0, mirrored=True),
    (0, -1, -1, 0): Turn(90, mirrored=True),
    (1, 0, 0, -1): Turn(180, mirrored=True),
    (0, 1, 1, 0): Turn(270, mirrored=True),
}
"""By the matrix's corner: where right, and where down, point to."""


def _is_copied(frame: av.VideoFrame, width: int, height: int) -> bool:
    even = width % 2 == 0 and height % 2 == 0
    square = (width, height) == (frame.width, frame.height)
    matrix_known = frame.colorspace == _UNKNOWN_MATRIX or frame.colorspace in _COLOR_SPACES
    upwards = any(plane.line_size < 0 for plane in frame.planes)
    return even and square and matrix_known and not upwards and frame.color_range != ColorRange.JPEG


def _packed(frame: av.VideoFrame, layout: PixelFormat, turn: Turn, buffers: BufferPool) -> Picture:
    planes = [turn.apply(plane) for plane in _planes(frame, layout)]
    height, width = planes[0].shape
    packed = buffers.tensor((height * 3 // 2, width), np.uint8)
    flat, start = packed.reshape(-1), 0
    for plane in planes:
        flat[start : start + plane.size].reshape(plane.shape)[:] = plane
        start += plane.size
    return Picture(packed, layout, width, height, _COLOR_SPACES.get(frame.colorspace))


def _planes(frame: av.VideoFrame, layout: PixelFormat) -> Sequence[Pixels]:
    """Return views of the planes: (h, w), then U and V as (h / 2, w / 2) each or as one (h / 2, w / 2, 2)."""
    width, height = frame.width, frame.height
    rows = [np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    if layout is PixelFormat.NV12:
        chroma = rows[1][: height // 2, :width].reshape(height // 2, width // 2, 2)
        return rows[0][:height, :width], chroma
    return rows[0][:height, :width], *(plane[: height // 2, : width // 2] for plane in rows[1:3])


def _interleaved(frame: av.VideoFrame) -> Pixels:
    """Return a view (height, width, channels), or (height, width) of gray, that keeps the frame alive."""
    plane = frame.planes[0]
    channels = 1 if frame.format.name == "gray" else 3
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
        : frame.height, : frame.width * channels
    ]
    return rows if channels == 1 else rows.reshape(frame.height, frame.width, channels)
