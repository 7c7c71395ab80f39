import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from preprocess.errors import DecodeError
from preprocess.image_header import MAX_JPEG_SEGMENTS, probe


def png_header(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def jpeg_header(width, height, before=b"", marker=0xC0):
    size = struct.pack(">BBHBHHB", 0xFF, marker, 17, 8, height, width, 3)
    return b"\xff\xd8" + before + size + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])


def webp(chunk, payload):
    body = b"WEBP" + chunk + struct.pack("<I", len(payload)) + payload
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_extended(width, height):
    sizes = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return webp(b"VP8X", bytes(4) + sizes)


def webp_lossless(width, height):
    return webp(b"VP8L", struct.pack("<BI", 0x2F, (width - 1) | (height - 1) << 14))


def webp_lossy(width, height):
    return webp(b"VP8 ", bytes([0x10, 0, 0, 0x9D, 0x01, 0x2A]) + struct.pack("<HH", width, height))


APP0 = b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"
HEADERS = {
    "png": png_header(300, 200),
    "png, huge": (png_header(0x7FFFFFFF, 0x7FFFFFFF)),
    "jpeg": jpeg_header(300, 200, APP0),
    "jpeg, progressive": jpeg_header(300, 200, marker=0xC2),
    "jpeg, fill bytes": jpeg_header(300, 200, APP0 + b"\xff\xff\xff"),
    "jpeg, garbage and stuffed zeros": jpeg_header(300, 200, APP0 + b"rubbish\xff\x00\xff\xff\x00"),
    "jpeg, restart marker": jpeg_header(300, 200, b"\xff\xd0\xff\x01"),
    "jpeg, size inside a segment": jpeg_header(300, 200, b"\xff\xe1\x00\x13" + jpeg_header(9, 9)[2:19]),
    "webp, lossy": webp_lossy(300, 200),
    "webp, lossless": webp_lossless(300, 200),
    "webp, extended": webp_extended(300, 200),
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS.keys())
def test_probe_reads_the_size(data):
    expected = (0x7FFFFFFF, 0x7FFFFFFF) if b"\x7f\xff\xff\xff" in data else (300, 200)
    assert probe(memoryview(data)) == expected


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS.keys())
def test_every_cut_is_a_decode_error_or_comes_after_the_size(data):
    whole = probe(memoryview(data))
    for length in range(len(data)):
        try:
            assert probe(memoryview(data)[:length]) == whole
        except DecodeError:
            continue


REFUSED = {
    "empty": b"",
    "text": b"<svg width='10' height='10'></svg>",
    "gif": b"GIF89a\x01\x00\x01\x00\x00\x00\x00",
    "bmp": b"BM" + bytes(60),
    "riff of another kind": b"RIFF\x00\x00\x00\x00WAVEfmt ",
    "webp without a picture": webp(b"ICCP", bytes(20)),
    "webp, not a key frame": webp(b"VP8 ", bytes(10)),
    "webp, lossless without signature": webp(b"VP8L", bytes(10)),
    "webp, no width": webp_lossy(0, 200),
    "png, other chunk first": png_header(300, 200).replace(b"IHDR", b"IDAT"),
    "png, no height": png_header(300, 0),
    "jpeg, height by a later marker": jpeg_header(300, 0),
    "jpeg, no width": jpeg_header(0, 200),
    "jpeg, scan before size": jpeg_header(300, 200, b"\xff\xda\x00\x02"),
    "jpeg, end before size": jpeg_header(300, 200, b"\xff\xd9"),
    "jpeg, second start": jpeg_header(300, 200, b"\xff\xd8"),
    "jpeg, endless segments": jpeg_header(300, 200, b"\xff\xe0\x00\x02" * MAX_JPEG_SEGMENTS),
    "jpeg, only fill bytes": b"\xff\xd8" + b"\xff" * 100_000,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_size_is_refused(data):
    with pytest.raises(DecodeError):
        probe(memoryview(data))


@given(
    st.sampled_from(
        [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8X"]
    ),
    st.binary(),
)
@example(b"\xff\xd8", b"\xff\xc0")
def test_garbage_is_a_size_or_a_decode_error(magic, data):
    try:
        width, height = probe(memoryview(magic + data))
    except DecodeError:
        return
    assert min(width, height) >= 1


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("size", [(1, 1), (17, 5), (640, 333)])
def test_probe_agrees_with_the_encoder(extension, size):
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    assert probe(cv2.imencode(extension, picture)[1].data) == size
