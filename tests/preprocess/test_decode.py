import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocess import picture_file
from preprocess.buffers import BufferPool
from preprocess.decode import _DECODERS, decode
from preprocess.errors import DecodeError, PictureTooLargeError, RawFrameError
from preprocess.frame import Frame
from preprocess.options import ColorSpace, DecodeOptions
from protocol.pixel_format import CHANNELS, SUBSAMPLED, PixelFormat

PLAIN = DecodeOptions()
SIZED = dict.fromkeys(CHANNELS) | dict.fromkeys(SUBSAMPLED)


def encoded(data):
    return Frame(memoryview(bytes(data)), 0, 0, PixelFormat.ENCODED)


def encode(extension, picture, *parameters):
    done, data = cv2.imencode(extension, picture, list(parameters))
    assert done
    return data.tobytes()


def test_every_pixel_format_has_a_decoder():
    assert set(_DECODERS) == set(PixelFormat)


# Files


@pytest.mark.parametrize("extension", [".png", ".webp"])
def test_lossless_files_come_back_exactly(extension, smooth, pool):
    bgr = smooth(97, 61)
    pixels = decode(encoded(encode(extension, bgr, cv2.IMWRITE_WEBP_QUALITY, 101)), PLAIN, pool)
    assert (pixels.format, pixels.width, pixels.height) == (PixelFormat.BGR, 97, 61)
    np.testing.assert_array_equal(pixels.array, bgr)


JPEGS = {
    "baseline": (cv2.IMWRITE_JPEG_QUALITY, 95),
    "progressive": (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restart markers": (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
}


@pytest.mark.parametrize("parameters", JPEGS.values(), ids=JPEGS.keys())
def test_a_jpeg_is_what_plain_imdecode_makes_of_it(parameters, smooth, pool):
    data = encode(".jpg", smooth(97, 61), *parameters)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_BGR)
    np.testing.assert_array_equal(decode(encoded(data), PLAIN, pool).array, expected)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("without", ["memfd", "descriptors", "space", "proc"])
def test_the_result_is_the_same_where_files_cannot_be_decoded_in_place(
    without, extension, smooth, pool, monkeypatch
):
    frame = encoded(encode(extension, smooth(97, 61)))
    expected = decode(frame, PLAIN, pool).array.copy()
    if without == "memfd":
        monkeypatch.delattr(picture_file.os, "memfd_create", raising=False)
    elif without == "space":
        monkeypatch.setattr(picture_file.os, "write", lambda descriptor, data: len(data) - 1)
    elif without == "descriptors":

        def refuse(name):
            raise OSError(24, "too many open files")

        monkeypatch.setattr(picture_file.os, "memfd_create", refuse, raising=False)
    else:
        monkeypatch.setattr(picture_file.cv2, "imread", lambda path, target, flags: target)
    np.testing.assert_array_equal(decode(frame, PLAIN, pool).array, expected)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a path to nameless memory")
def test_a_decoded_file_is_in_memory_of_the_pool(smooth, pool):
    frame = encoded(encode(".jpg", smooth(320, 200)))
    first = decode(frame, PLAIN, pool)
    address = first.array.ctypes.data
    del first
    assert pool.idle_bytes >= 320 * 200 * 3
    assert decode(frame, PLAIN, pool).array.ctypes.data == address


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_gray_files_stay_gray(extension, smooth, pool):
    gray = smooth(64, 48)[..., 0]
    pixels = decode(encoded(encode(extension, gray)), PLAIN, pool)
    assert (pixels.format, pixels.array.shape) == (PixelFormat.GRAY, (48, 64))
    np.testing.assert_allclose(pixels.array.astype(int), gray, atol=8)


def test_alpha_is_dropped_and_16_bits_lose_their_lower_8(smooth, pool):
    bgr = smooth(64, 48)
    with_alpha = np.dstack([bgr, bgr[..., :1]])
    np.testing.assert_array_equal(decode(encoded(encode(".png", with_alpha)), PLAIN, pool).array, bgr)
    deep = bgr.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode(encoded(encode(".png", deep)), PLAIN, pool).array, bgr)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_palette_becomes_bgr(pool):
    data = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0))
        + png_chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255]))
        + png_chunk(b"IDAT", zlib.compress(bytes([0, 0, 1])))
        + png_chunk(b"IEND", b"")
    )
    pixels = decode(encoded(data), PLAIN, pool)
    assert pixels.format is PixelFormat.BGR
    np.testing.assert_array_equal(pixels.array, [[[0, 0, 255], [255, 0, 0]]])


def test_cmyk_becomes_bgr(pool):
    components = b"".join(bytes([i, 0x11, 0]) for i in (1, 2, 3, 4))
    scan = b"".join(bytes([i, 0x00]) for i in (1, 2, 3, 4))
    one_code = bytes([1]) + bytes(15) + b"\0"  # the code 0: no difference, or end of block
    data = (
        b"\xff\xd8"
        + b"\xff\xdb\x00\x43\x00" + bytes([1] * 64)
        + b"\xff\xc0\x00\x14\x08\x00\x08\x00\x08\x04" + components
        + b"\xff\xc4\x00\x14\x00" + one_code
        + b"\xff\xc4\x00\x14\x10" + one_code
        + b"\xff\xda\x00\x0e\x04" + scan + b"\x00\x3f\x00"
        + b"\x00\xff\xd9"
    )  # fmt: skip
    pixels = decode(encoded(data), PLAIN, pool)
    assert (pixels.format, pixels.array.shape) == (PixelFormat.BGR, (8, 8, 3))
    assert len(np.unique(pixels.array)) == 1


ORIENTED = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
"""A TIFF directory of one entry: orientation 6, to be turned right by 90 degrees."""


def oriented_jpeg(picture):
    data, exif = encode(".jpg", picture, cv2.IMWRITE_JPEG_QUALITY, 100), b"Exif\0\0" + ORIENTED
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def oriented_png(picture):
    data = encode(".png", picture)
    return data[:33] + png_chunk(b"eXIf", ORIENTED) + data[33:]


def oriented_webp(picture):
    height, width = picture.shape[:2]
    sizes = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    header = b"VP8X" + struct.pack("<II", 10, 8) + sizes
    exif = b"EXIF" + struct.pack("<I", len(ORIENTED)) + ORIENTED
    body = b"WEBP" + header + encode(".webp", picture, cv2.IMWRITE_WEBP_QUALITY, 101)[12:] + exif
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("make", [oriented_jpeg, oriented_png, oriented_webp])
def test_exif_orientation_by_option_alone(make, smooth, pool):
    picture = smooth(64, 48)
    frame = encoded(make(picture))
    stored = decode(frame, PLAIN, pool).array
    turned = decode(frame, DecodeOptions(exif=True), pool).array
    np.testing.assert_allclose(stored.astype(int), picture, atol=40)
    np.testing.assert_array_equal(turned, np.rot90(stored, -1))


# Bad files


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_a_file_cut_short_anywhere_is_refused(extension, smooth, pool):
    data = encode(extension, smooth(64, 48))
    for length in range(len(data)):
        try:
            decode(encoded(data[:length]), PLAIN, pool)
        except DecodeError:
            continue
        # What is missing is only padding, or PNG's empty last chunk.
        assert length >= len(data) - 12


def test_an_error_inside_opencv_is_a_decode_error(smooth, pool, monkeypatch):
    def fail(data, flags):
        raise cv2.error("out of its depth")

    monkeypatch.setattr(picture_file.cv2, "imdecode", fail)
    with pytest.raises(DecodeError, match="cannot be decoded"):
        decode(encoded(encode(".jpg", smooth(64, 48))[:-1]), PLAIN, pool)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(seed=st.integers(0, 1 << 32))
def test_damage_anywhere_gives_pixels_of_the_header_s_size_or_a_decode_error(extension, smooth, seed):
    rng = np.random.default_rng(seed)
    data = np.frombuffer(encode(extension, smooth(64, 48)), np.uint8).copy()
    data[rng.integers(0, len(data), rng.integers(1, 6))] = rng.integers(0, 256)
    try:
        pixels = decode(encoded(data), DecodeOptions(max_pixels=1 << 20), BufferPool(1 << 20))
    except (DecodeError, PictureTooLargeError):
        return
    assert pixels.width * pixels.height <= 1 << 20


@given(st.binary(max_size=400))
def test_bytes_of_no_picture_are_refused(data):
    with pytest.raises(DecodeError):
        decode(encoded(data), PLAIN, BufferPool(0))


BOMBS = {
    "png": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)),
    "jpeg": b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HHB", 65_500, 65_500, 3) + bytes(9),
    "webp": b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xff\x3f\x00" * 2,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_decompression_bomb_is_refused_before_it_is_decoded(bomb, pool, monkeypatch):
    monkeypatch.delattr(picture_file.cv2, "imdecode")
    monkeypatch.delattr(picture_file.cv2, "imread")
    with pytest.raises(PictureTooLargeError, match="x"):
        decode(encoded(bomb), PLAIN, pool)


@pytest.mark.parametrize("pixel_format", [PixelFormat.ENCODED, *SIZED])
def test_the_limit_itself_is_allowed(pixel_format, smooth, frame_of, pool):
    rgb = smooth(64, 48)
    is_file = pixel_format is PixelFormat.ENCODED
    frame = encoded(encode(".png", rgb)) if is_file else frame_of(rgb, pixel_format)
    decode(frame, DecodeOptions(max_pixels=64 * 48), pool)
    with pytest.raises(PictureTooLargeError, match="64x48"):
        decode(frame, DecodeOptions(max_pixels=64 * 48 - 1), pool)


# Raw pixels


@pytest.mark.parametrize("pixel_format", CHANNELS)
def test_raw_pixels_are_wrapped_in_place(pixel_format, smooth, frame_of, pool):
    frame = frame_of(smooth(33, 21), pixel_format)
    pixels = decode(frame, PLAIN, pool)
    assert pixels.format is pixel_format
    assert (pixels.width, pixels.height) == (33, 21)
    assert pixels.array.tobytes() == bytes(frame.data)
    assert np.shares_memory(pixels.array, np.frombuffer(frame.data, np.uint8))


@pytest.mark.parametrize("pixel_format", SIZED)
def test_excess_bytes_are_ignored_and_missing_ones_refused(pixel_format, smooth, frame_of, pool):
    frame = frame_of(smooth(32, 20), pixel_format)
    longer = Frame(memoryview(bytes(frame.data) + b"more"), 32, 20, pixel_format)
    np.testing.assert_array_equal(decode(longer, PLAIN, pool).array, decode(frame, PLAIN, pool).array)
    with pytest.raises(RawFrameError, match="needs"):
        decode(Frame(frame.data[:-1], 32, 20, pixel_format), PLAIN, pool)


@pytest.mark.parametrize("pixel_format", SIZED)
@pytest.mark.parametrize("size", [(0, 0), (0, 8), (8, 0)])
def test_no_pixels_are_refused(pixel_format, size, pool):
    with pytest.raises(RawFrameError, match="no pixels"):
        decode(Frame(memoryview(bytes(64)), *size, pixel_format), PLAIN, pool)


@pytest.mark.parametrize("pixel_format", SIZED)
def test_absurd_sizes_are_too_large(pixel_format, pool):
    with pytest.raises(PictureTooLargeError):
        decode(Frame(memoryview(bytes(64)), 0xFFFFFFFE, 0xFFFFFFFE, pixel_format), PLAIN, pool)


@pytest.mark.parametrize("pixel_format", SUBSAMPLED)
@pytest.mark.parametrize("size", [(7, 8), (8, 7)])
def test_odd_sizes_are_refused_where_chroma_is_halved(pixel_format, size, pool):
    with pytest.raises(RawFrameError, match="odd size"):
        decode(Frame(memoryview(bytes(100)), *size, pixel_format), PLAIN, pool)


WEIGHTS = {ColorSpace.BT601: (0.299, 0.114), ColorSpace.BT709: (0.2126, 0.0722)}


def rgb_of_yuv(luma, u, v, color_space):
    """Apply the standard's formulas to limited-range planes; return float RGB, unclipped."""
    red_weight, blue_weight = WEIGHTS[color_space]
    y, cb, cr = (luma - 16.0) / 219, (u - 128.0) / 224, (v - 128.0) / 224
    red, blue = y + 2 * (1 - red_weight) * cr, y + 2 * (1 - blue_weight) * cb
    green = (y - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    return 255 * np.stack([red, green, blue], -1)


@pytest.mark.parametrize("color_space", ColorSpace)
@pytest.mark.parametrize("pixel_format", SUBSAMPLED)
def test_yuv_follows_the_formula(pixel_format, color_space, pool):
    rng = np.random.default_rng(1)
    luma = rng.integers(16, 236, (48, 64), np.uint8)
    u, v = rng.integers(16, 241, (2, 24, 32), np.uint8)
    chroma = np.stack([u, v], -1) if pixel_format is PixelFormat.NV12 else np.stack([u, v])
    data = luma.tobytes() + chroma.tobytes()
    pixels = decode(
        Frame(memoryview(data), 64, 48, pixel_format), DecodeOptions(color_space=color_space), pool
    )
    full_u, full_v = (plane.repeat(2, 0).repeat(2, 1) for plane in (u, v))
    expected = np.clip(rgb_of_yuv(luma, full_u, full_v, color_space), 0, 255)
    assert pixels.format is PixelFormat.BGR
    np.testing.assert_allclose(pixels.array[..., ::-1], expected, atol=2)


def test_pictures_of_the_test_data(shared_data, pool):
    files = [path for path in (shared_data / "images").iterdir() if path.suffix in {".jpg", ".png", ".webp"}]
    assert files
    for path in files:
        data = path.read_bytes()
        pixels = decode(encoded(data), PLAIN, pool)
        flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
        np.testing.assert_array_equal(pixels.array, cv2.imdecode(np.frombuffer(data, np.uint8), flags))
