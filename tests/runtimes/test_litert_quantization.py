"""Quantised numbers: rounding, limits, and when a picture's bytes can stay as they are."""

import numpy as np
import pytest

from runtimes.litert_quantization import Quantization, read_quantization, takes_pixels

# dtype, scale, zero point, what the file says of each channel, whether pixels can go in
RANGES = [
    ("uint8", 1 / 255, 0, (), True),
    ("uint8", 1 / 256, 0, (), True),
    ("uint8", 1 / 128, 128, (), True),
    ("uint8", 1 / 127.5, 127, (), True),
    ("uint8", 1.0, 0, (), True),
    ("int8", 1 / 255, -128, (), True),
    ("int8", 1 / 128, 0, (), True),
    ("int8", 1 / 127.5, -1, (), True),
    ("int8", 1.0, -128, (), True),
    ("int8", 1.0, 0, (), True),
    ("int8", 0.01865845, -14, (), False),
    ("uint8", 1 / 255, 128, (), False),
    ("uint8", 1 / 512, 0, (), False),
    ("int8", 1 / 255, 0, (), False),
    ("int16", 1 / 255, 0, (), False),
    ("uint8", 0.02, 114, ((114.0, 50.0),), True),
    ("uint8", 0.02, 114, ((114.0, 50.0), (10.0, 50.0), (114.0, 50.0)), False),
    ("uint8", 0.02, 114, ((0.0, 0.0),), False),
]


@pytest.mark.parametrize(("dtype", "scale", "zero_point", "said", "fits"), RANGES)
def test_pixels_go_in_as_they_are_where_that_is_the_usual_picture(
    dtype: str, scale: float, zero_point: int, said: tuple[tuple[float, float], ...], fits: bool
) -> None:
    assert takes_pixels(Quantization(dtype, scale, zero_point), said) is fits


@pytest.mark.parametrize(("dtype", "zero_point", "offset"), [("uint8", 0, 0), ("int8", -128, -128)])
def test_pixels_are_exactly_what_real_numbers_would_become(dtype: str, zero_point: int, offset: int) -> None:
    pixels = np.arange(256)
    quantization = Quantization(dtype, 1 / 255, zero_point)
    written = np.empty(256, dtype)
    quantization.quantize((pixels / 255).astype(np.float32), written, np.empty(256, np.float32))
    np.testing.assert_array_equal(written, pixels + offset)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_rounding_to_the_nearest_within_the_range(dtype: str) -> None:
    limits = np.iinfo(dtype)
    quantization = Quantization(dtype, 0.5, 3)
    real = np.array([0, 0.24, 0.26, -0.24, -1.5, 1e9, -1e9, np.inf, 3e38], np.float32)
    written = np.empty(real.shape, dtype)
    quantization.quantize(real, written, np.empty_like(real))
    assert written.tolist() == [3, 3, 4, 3, 0, limits.max, limits.min, limits.max, limits.max]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_every_number_comes_back(dtype: str) -> None:
    limits = np.iinfo(dtype)
    numbers = np.arange(limits.min, limits.max + 1).astype(dtype)
    quantization = Quantization(dtype, 0.0039860238, limits.min // 2)
    real = quantization.dequantize(numbers)
    assert real.dtype == np.float32
    np.testing.assert_allclose(real, (numbers.astype(float) - limits.min // 2) * 0.0039860238, rtol=1e-6)
    written = np.empty_like(numbers)
    quantization.quantize(real, written, np.empty_like(real))
    np.testing.assert_array_equal(written, numbers)


DETAILS = [
    (np.int8, [0.5], [3], Quantization("int8", 0.5, 3)),
    (np.uint8, [], [], None),
    (np.uint8, [0.0], [0], None),
    (np.uint8, [float("nan")], [0], None),
    (np.int8, [0.5, 0.25], [3, 3], None),
    (np.float32, [0.5], [3], None),
    (np.int32, [0.5], [0], None),
]


@pytest.mark.parametrize(("dtype", "scales", "zero_points", "quantization"), DETAILS)
def test_what_the_library_says(
    dtype: type, scales: list[float], zero_points: list[int], quantization: Quantization | None
) -> None:
    parameters = {"scales": np.array(scales), "zero_points": np.array(zero_points, np.int32)}
    assert read_quantization({"dtype": dtype, "quantization_parameters": parameters}) == quantization
