"""Decoded pictures as arrays: every pixel format, upright, of square pixels, with the right colours."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from preprocess.options import ColorSpace
from protocol.pixel_format import PixelFormat
from streaming.errors import StreamTooLargeError
from streaming.pixels import PixelReader, Turn, square_size
from streaming.settings import DecodeSettings

SQUARE = Fraction(1)
BT709, BT601, FULL = 1, 6, 2

RED_BLUE = {"left": (0, 0, 255), "right": (255, 0, 0)}
"""BGR of the halves of a picture."""


def planes(width: int = 64, height: int = 48, padding: int = 0) -> NDArray[np.uint8]:
    """Return I420 that differs everywhere."""
    random = np.random.default_rng(1)
    return random.integers(16, 235, (height * 3 // 2, width), dtype=np.uint8)


def halves(pixel_format: str, width: int = 64, height: int = 48, **tags: int) -> av.VideoFrame:
    """Return a picture that is red on the left and blue on the right."""
    bgr = np.zeros((height, width, 3), np.uint8)
    bgr[:, : width // 2], bgr[:, width // 2 :] = RED_BLUE["left"], RED_BLUE["right"]
    source = av.VideoFrame.from_ndarray(bgr, format="bgr24")
    matrix = tags.get("colorspace", 5)
    frame = source.reformat(
        format=pixel_format,
        dst_colorspace=1 if matrix == BT709 else 5,
        dst_color_range=tags.get("color_range", 1),
    )
    frame.colorspace = matrix
    frame.color_range = tags.get("color_range", 1)
    return frame


def read(
    frame: av.VideoFrame, aspect: Fraction = SQUARE, **settings: object
) -> tuple[NDArray[np.uint8], PixelFormat]:
    picture = PixelReader(DecodeSettings(**settings)).read(frame, aspect)
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.dtype == np.uint8
    return picture.pixels, picture.format


def assert_halves(bgr: NDArray[np.uint8]) -> None:
    height, width = bgr.shape[:2]
    for column, colour in ((width // 4, RED_BLUE["left"]), (width * 3 // 4, RED_BLUE["right"])):
        assert np.abs(bgr[height // 2, column].astype(int) - colour).max() <= 6


@pytest.mark.parametrize(("width", "height"), [(64, 48), (66, 50), (1920, 1080), (2, 2)])
def test_i420_is_packed_as_it_was_decoded(width: int, height: int) -> None:
    source = planes(width, height)
    pixels, pixel_format = read(av.VideoFrame.from_ndarray(source, format="yuv420p"))
    assert pixel_format is PixelFormat.I420
    assert np.array_equal(pixels, source)


def test_nv12_is_packed_as_it_was_decoded() -> None:
    source = planes(66, 50)
    pixels, pixel_format = read(av.VideoFrame.from_ndarray(source, format="nv12"))
    assert pixel_format is PixelFormat.NV12
    assert np.array_equal(pixels, source)


def test_pixels_outlive_the_frame() -> None:
    source = planes()
    frame = av.VideoFrame.from_ndarray(source, format="yuv420p")
    pixels, _ = read(frame)
    del frame
    assert np.array_equal(pixels, source)


@pytest.mark.parametrize(
    "pixel_format",
    ["yuvj420p", "yuv420p10le", "yuv422p", "yuv444p", "yuv422p10le", "yuvj444p", "gbrp", "yuyv422"],
)
def test_other_formats_are_converted_to_bgr(pixel_format: str) -> None:
    tags = {"color_range": FULL} if pixel_format.startswith("yuvj") else {}
    pixels, got = read(halves(pixel_format, **tags))
    assert got is PixelFormat.BGR
    assert pixels.shape == (48, 64, 3)
    assert_halves(pixels)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("matrix", [BT709, BT601])
@pytest.mark.parametrize("color_range", [1, FULL])
def test_a_conversion_takes_the_matrix_and_the_range_of_the_frame(
    pixel_format: str, matrix: int, color_range: int
) -> None:
    frame = halves(pixel_format, colorspace=matrix, color_range=color_range)
    pixels, _ = read(frame, pixel_format=PixelFormat.BGR)
    assert_halves(pixels)


def test_full_range_is_no_i420() -> None:
    assert read(halves("yuv420p", color_range=FULL))[1] is PixelFormat.BGR


@pytest.mark.parametrize(("width", "height"), [(63, 48), (64, 47), (63, 47)])
def test_odd_sides_are_converted(width: int, height: int) -> None:
    pixels, pixel_format = read(halves("yuv420p", width, height))
    assert pixel_format is PixelFormat.BGR
    assert pixels.shape == (height, width, 3)


@pytest.mark.parametrize(
    ("pixel_format", "shape"),
    [(PixelFormat.RGB, (48, 64, 3)), (PixelFormat.BGR, (48, 64, 3)), (PixelFormat.GRAY, (48, 64))],
)
def test_what_is_asked_for_is_given(pixel_format: PixelFormat, shape: tuple[int, ...]) -> None:
    pixels, got = read(halves("yuv420p"), pixel_format=pixel_format)
    assert got is pixel_format
    assert pixels.shape == shape
    if pixel_format is PixelFormat.RGB:
        assert_halves(pixels[..., ::-1])


@pytest.mark.parametrize(
    ("tag", "color_space"), [(1, ColorSpace.BT709), (5, ColorSpace.BT601), (6, ColorSpace.BT601), (2, None)]
)
def test_the_matrix_of_i420_is_told(tag: int, color_space: ColorSpace | None) -> None:
    frame = av.VideoFrame.from_ndarray(planes(), format="yuv420p")
    frame.colorspace = tag
    frame.color_range = ColorRange.MPEG
    picture = PixelReader(DecodeSettings()).read(frame, SQUARE)
    assert picture.format is PixelFormat.I420
    assert picture.color_space is color_space


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Fraction(1), (64, 48)),
        (Fraction(2), (128, 48)),
        (Fraction(1, 2), (64, 96)),
        (Fraction(16, 15), (68, 48)),
    ],
)
def test_pixels_become_square_and_nothing_smaller(aspect: Fraction, size: tuple[int, int]) -> None:
    pixels, _ = read(halves("yuv420p"), aspect, pixel_format=PixelFormat.BGR)
    assert pixels.shape == (size[1], size[0], 3)
    assert square_size(64, 48, aspect) == size
    assert_halves(pixels)


def test_a_turn_goes_clockwise() -> None:
    corner = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    assert Turn(90).apply(corner).tolist() == [[4, 1], [5, 2], [6, 3]]
    assert Turn(180).apply(corner).tolist() == [[6, 5, 4], [3, 2, 1]]
    assert Turn(270).apply(corner).tolist() == [[3, 6], [2, 5], [1, 4]]
    assert Turn(0, mirrored=True).apply(corner).tolist() == [[3, 2, 1], [6, 5, 4]]
    assert Turn(180, mirrored=True).apply(corner).tolist() == [[4, 5, 6], [1, 2, 3]]


def test_too_many_pixels_are_refused() -> None:
    with pytest.raises(StreamTooLargeError, match="64x48"):
        read(halves("yuv420p"), max_pixels=64 * 48 - 1)


def test_too_many_square_pixels_are_refused() -> None:
    with pytest.raises(StreamTooLargeError, match="64000x48"):
        read(halves("yuv420p"), Fraction(1000), max_pixels=64 * 48 * 10)
