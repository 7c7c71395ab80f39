import threading

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocess.buffers import ALIGNMENT, BufferPool
from preprocess.decode import decode
from preprocess.errors import RegionError, UnsupportedInputError
from preprocess.frame import Pixels
from preprocess.options import Anchor, ChannelOrder, DecodeOptions, InputRecipe, PrepareOptions, ResizeMode
from preprocess.prepare import _COLOR_CODES, _CONVERTERS, _PACKERS, prepare
from protocol.pixel_format import CHANNELS, PixelFormat
from runtimes.spec import Layout

ZERO_TO_ONE = InputRecipe()
CENTRED = InputRecipe(mean=(127.5,), scale=(1 / 128,))
IMAGENET = InputRecipe(mean=(123.675, 116.28, 103.53), scale=(1 / 58.395, 1 / 57.12, 1 / 57.375))


# What plain code makes of a picture: one step after the other, in float64


def bilinear(picture, width, height):
    """Resize (h, w, C) with pixel centres at halves and without antialiasing."""
    rows, columns = (
        np.clip((np.arange(n) + 0.5) * size / n - 0.5, 0, size - 1)
        for n, size in ((height, picture.shape[0]), (width, picture.shape[1]))
    )
    top, left = rows.astype(int), columns.astype(int)
    bottom, right = np.minimum(top + 1, picture.shape[0] - 1), np.minimum(left + 1, picture.shape[1] - 1)
    across = (columns - left)[:, None]
    upper = picture[top][:, left] * (1 - across) + picture[top][:, right] * across
    lower = picture[bottom][:, left] * (1 - across) + picture[bottom][:, right] * across
    down = (rows - top)[:, None, None]
    return upper * (1 - down) + lower * down


def reordered(rgb, order):
    if order is ChannelOrder.GRAY:
        return (rgb @ [0.299, 0.587, 0.114])[..., None]
    return rgb[..., ::-1] if order is ChannelOrder.BGR else rgb


def reference(rgb, options, roi=None):
    """Return the tensor of a float RGB picture (h, w, 3), before it is cast to a dtype."""
    if roi:
        rgb = rgb[roi[1] : roi[1] + roi[3], roi[0] : roi[0] + roi[2]]
    height, width = rgb.shape[:2]
    recipe = options.recipe
    ratio = min(options.width / width, options.height / height)
    new_width, new_height = round(width * ratio), round(height * ratio)
    left, top = (options.width - new_width) // 2, (options.height - new_height) // 2
    if recipe.anchor is Anchor.TOP_LEFT:
        left = top = 0
    if options.mode is ResizeMode.RESIZE:
        new_width, new_height, left, top = options.width, options.height, 0, 0
    small = reordered(bilinear(rgb, new_width, new_height), recipe.channels)
    canvas = np.full((options.height, options.width, small.shape[2]), float(recipe.pad_value))
    canvas[top : top + new_height, left : left + new_width] = small
    if options.dtype == "int8":
        canvas = canvas - 128
    if options.dtype.startswith("float"):
        canvas = (canvas - recipe.mean) * recipe.scale
    return (canvas.transpose(2, 0, 1) if options.layout is Layout.NCHW else canvas)[None]


LEVELS = 1.6
"""Pixel levels that OpenCV's fixed-point resize and luma may be off, together with rounding."""


def tolerance(options):
    if not options.dtype.startswith("float"):
        return LEVELS
    half = 4e-3 if options.dtype == "float16" else 1e-5
    return LEVELS * max(options.recipe.scale) + half


def wrap(frame_of, pool, rgb, pixel_format=PixelFormat.RGB):
    return decode(frame_of(rgb, pixel_format), DecodeOptions(), pool)


def check(prepared, options, expected):
    tensor = prepared.tensor
    channels = 1 if options.recipe.channels is ChannelOrder.GRAY else 3
    sides = (options.height, options.width)
    assert tensor.shape == ((1, channels, *sides) if options.layout is Layout.NCHW else (1, *sides, channels))
    assert tensor.dtype == np.dtype(options.dtype)
    assert tensor.flags.c_contiguous
    assert tensor.ctypes.data % ALIGNMENT == 0
    np.testing.assert_allclose(tensor.astype(np.float64), expected, atol=tolerance(options), rtol=0)


def test_the_tables_are_complete():
    assert set(_COLOR_CODES) == {(source, order) for source in CHANNELS for order in ChannelOrder}
    assert set(_PACKERS) == set(Layout)


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("dtype", _CONVERTERS)
@pytest.mark.parametrize("order", ChannelOrder)
@pytest.mark.parametrize("source", CHANNELS)
def test_every_combination_agrees_with_plain_code(source, order, dtype, layout, smooth, frame_of, pool):
    rgb = smooth(90, 50)
    seen = rgb.astype(float)
    if source is PixelFormat.GRAY:
        seen = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, 2).astype(float)
    for mode, anchor in ((ResizeMode.LETTERBOX, Anchor.CENTER), (ResizeMode.RESIZE, Anchor.TOP_LEFT)):
        options = PrepareOptions(48, 40, layout, dtype, mode, InputRecipe(channels=order, anchor=anchor))
        prepared = prepare(wrap(frame_of, pool, rgb, source), options, None, pool)
        check(prepared, options, reference(seen, options))


@pytest.mark.parametrize("recipe", [ZERO_TO_ONE, CENTRED, IMAGENET], ids=["0 to 1", "centred", "ImageNet"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("layout", Layout)
def test_scale_and_mean(layout, dtype, recipe, smooth, frame_of, pool):
    rgb = smooth(64, 64)
    options = PrepareOptions(64, 64, layout, dtype, recipe=recipe)
    prepared = prepare(wrap(frame_of, pool, rgb), options, None, pool)
    exact = reference(rgb.astype(float), options)
    limit = 1e-6 if dtype == "float32" else 2e-3
    np.testing.assert_allclose(prepared.tensor.astype(np.float64), exact, atol=limit, rtol=0)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_picture_of_one_value_is_scaled_like_any_other(value, frame_of, pool):
    rgb = np.full((20, 20, 3), value, np.uint8)
    options = PrepareOptions(20, 20)
    np.testing.assert_allclose(
        prepare(wrap(frame_of, pool, rgb), options, None, pool).tensor, value / 255, rtol=1e-6
    )


@settings(deadline=None, max_examples=80)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    target=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    layout=st.sampled_from(Layout),
    dtype=st.sampled_from(sorted(_CONVERTERS)),
    order=st.sampled_from(ChannelOrder),
    source=st.sampled_from(sorted(CHANNELS)),
    data=st.data(),
)
def test_any_size_and_region_fills_the_whole_tensor(size, target, layout, dtype, order, source, data):
    width, height = size
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    roi = (x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    shape = (height, width, CHANNELS[source]) if CHANNELS[source] > 1 else (height, width)
    options = PrepareOptions(*target, layout, dtype, recipe=InputRecipe(channels=order, pad_value=200))
    pool = BufferPool(1 << 20)
    prepared = prepare(Pixels(np.full(shape, 200, np.uint8), source), options, roi, pool)
    # Where source and border have one value, so has all of the tensor.
    expected = {"uint8": 200, "int8": 72}.get(dtype, 200 / 255)
    np.testing.assert_allclose(prepared.tensor.astype(float), expected, atol=2e-3)
    assert prepared.transform.roi == roi


@pytest.mark.parametrize("roi", [(0, 0, 30, 40), (13, 7, 50, 20), (89, 49, 1, 1), (0, 0, 90, 50)])
def test_a_region_is_the_same_as_its_own_picture(roi, smooth, frame_of, pool):
    rgb = smooth(90, 50)
    options = PrepareOptions(64, 64)
    x, y, width, height = roi
    cut = np.ascontiguousarray(rgb[y : y + height, x : x + width])
    whole = prepare(wrap(frame_of, pool, rgb), options, roi, pool)
    alone = prepare(wrap(frame_of, pool, cut), options, None, pool)
    np.testing.assert_array_equal(whole.tensor, alone.tensor)


def test_a_region_outside_is_refused(smooth, frame_of, pool):
    with pytest.raises(RegionError, match="90x50"):
        prepare(wrap(frame_of, pool, smooth(90, 50)), PrepareOptions(64, 64), (80, 40, 11, 10), pool)


def test_an_unknown_dtype_is_refused(smooth, frame_of, pool):
    with pytest.raises(UnsupportedInputError, match="int64"):
        prepare(wrap(frame_of, pool, smooth(8, 8)), PrepareOptions(8, 8, dtype="int64"), None, pool)


# Differences in levels of 255: conversions to YUV round each value, and halve chroma.
FORMATS = {
    PixelFormat.RGB: 0,
    PixelFormat.BGR: 0,
    PixelFormat.RGBA: 1,
    PixelFormat.BGRA: 1,
    PixelFormat.NV12: 12,
    PixelFormat.I420: 12,
}


@pytest.mark.parametrize(("pixel_format", "levels"), FORMATS.items())
def test_one_picture_in_every_format_gives_one_tensor(pixel_format, levels, smooth, frame_of, pool):
    rgb = smooth(192, 108, spot=60)
    options = PrepareOptions(64, 64)
    expected = prepare(wrap(frame_of, pool, rgb), options, None, pool).tensor
    tensor = prepare(wrap(frame_of, pool, rgb, pixel_format), options, None, pool).tensor
    np.testing.assert_allclose(tensor, expected, atol=levels / 255 + 1e-6)
    assert np.abs(tensor - expected).mean() <= levels / 255 / 4 + 1e-6


def test_ultralytics_letterbox(smooth, frame_of, pool):
    rgb = smooth(333, 201)
    small = cv2.resize(rgb, (160, 97), interpolation=cv2.INTER_LINEAR)
    boxed = cv2.copyMakeBorder(small, 31, 32, 0, 0, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    expected = np.ascontiguousarray(boxed.transpose(2, 0, 1)[None]).astype(np.float32) / 255
    tensor = prepare(wrap(frame_of, pool, rgb), PrepareOptions(160, 160), None, pool).tensor
    np.testing.assert_allclose(tensor, expected, atol=1e-6)


def test_yolox_letterbox(smooth, frame_of, pool):
    rgb = smooth(320, 200)
    expected = np.full((160, 160, 3), 114, np.uint8)
    expected[:100] = cv2.resize(rgb[..., ::-1], (160, 100), interpolation=cv2.INTER_LINEAR)
    recipe = InputRecipe(ChannelOrder.BGR, Anchor.TOP_LEFT, scale=(1.0,))
    tensor = prepare(wrap(frame_of, pool, rgb), PrepareOptions(160, 160, recipe=recipe), None, pool).tensor
    np.testing.assert_allclose(tensor[0].transpose(1, 2, 0), expected, atol=1e-4)


def test_very_long_pictures(frame_of, pool):
    for shape in ((2, 70_000, 3), (70_000, 2, 3)):
        tensor = prepare(
            wrap(frame_of, pool, np.full(shape, 114, np.uint8)), PrepareOptions(64, 64), None, pool
        ).tensor
        np.testing.assert_allclose(tensor, 114 / 255, rtol=1e-6)


def test_the_source_is_not_written(smooth, frame_of, pool):
    rgb = smooth(64, 64)
    for dtype in _CONVERTERS:
        for layout in Layout:
            pixels = wrap(frame_of, pool, rgb)  # over bytes: a write would fail
            tensor = prepare(pixels, PrepareOptions(64, 64, layout, dtype), None, pool).tensor
            assert not np.shares_memory(tensor, pixels.array)


def test_a_tensor_s_memory_is_used_again_but_not_while_it_is_held(smooth, frame_of, pool):
    pixels = wrap(frame_of, pool, smooth(90, 50))
    options = PrepareOptions(64, 64)
    held = [prepare(pixels, options, None, pool).tensor for _ in range(4)]
    addresses = {tensor.ctypes.data for tensor in held}
    assert len(addresses) == 4
    held.clear()
    again = [prepare(pixels, options, None, pool).tensor for _ in range(4)]
    assert {tensor.ctypes.data for tensor in again} == addresses


def test_threads_prepare_their_own_pictures(frame_of, pool):
    options = PrepareOptions(64, 64)
    wrong = []

    def work(value):
        pixels = wrap(frame_of, pool, np.full((90, 120, 3), value, np.uint8))
        for _ in range(100):
            tensor = prepare(pixels, options, None, pool).tensor
            inner, border = tensor[0, :, 8:56], tensor[0, :, :8]
            if not (np.allclose(inner, value / 255) and np.allclose(border, 114 / 255)):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in (0, 50, 100, 255)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
