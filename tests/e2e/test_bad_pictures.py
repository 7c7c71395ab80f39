"""Pictures that lie, break off or would fill the memory: each is answered, and the next one is served."""

import struct
import zlib

import pytest
from wire import (
    CACHE_FRAME,
    ENCODED,
    INFER_BATCH,
    INFER_CACHED,
    INFER_JPEG,
    INFER_RAW,
    RGB,
    any_item,
    any_raw,
    batch,
    cache,
    cached,
    jpeg,
    pixels,
    raw,
)

from runtimes.picture_ids import draw_id

CONFIG = {"protocol": 3, "runtime": "fake", "models": [{"path": "fake:echo?size=64"}]}
LIMITED = {**CONFIG, "limits": {"maxPixels": 10_000, "frameCacheBytes": 8 << 20}}


@pytest.fixture
def host(shared_host):
    return shared_host(CONFIG)


@pytest.fixture
def limited(shared_host):
    return shared_host(LIMITED)


def png_head(width: int, height: int) -> bytes:
    """A PNG that says its size and has nothing else to say."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def jpeg_head(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes((1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0))
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame


def webp_head(width: int, height: int) -> bytes:
    extended = b"VP8X" + struct.pack("<IB3x", 10, 0)
    extended += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(extended)) + b"WEBP" + extended


def serves(host) -> bool:
    picture = draw_id(5, 32, 32).tobytes()
    return host.ask(INFER_RAW, raw(0, 32, 32, RGB, picture))["detections"][0]["classId"] == 5


BOMBS = {
    "PNG": png_head(100_000, 100_000),
    "PNG of the largest size": png_head(0x7FFF_FFFF, 0x7FFF_FFFF),
    "JPEG": jpeg_head(65_000, 65_000),
    "WebP": webp_head(1 << 24, 1 << 24),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(host, bomb):
    data = BOMBS[bomb]
    before = host.resident_bytes
    answers = host.together(
        (INFER_JPEG, jpeg(0, data)),
        (INFER_RAW, raw(0, 0, 0, ENCODED, data)),
        (CACHE_FRAME, cache(1, 0, 0, ENCODED, data)),
    )
    (item,) = host.ask(INFER_BATCH, batch(0, [(0, 0, ENCODED, data)]))["results"]

    assert [answer["code"] for answer in [*answers, item]] == ["too_large"] * 4
    assert host.ask(INFER_CACHED, cached(0, 1))["code"] == "frame_not_cached"
    assert host.resident_bytes - before < 64 << 20
    assert serves(host)


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_a_file_over_max_pixels_is_too_large_and_one_below_is_not(limited, encode_picture, kind):
    below, above = (encode_picture(draw_id(1, 100, side), kind) for side in (100, 101))

    assert limited.ask(INFER_JPEG, jpeg(0, below))["detections"]
    assert limited.ask(INFER_JPEG, jpeg(0, above))["code"] == "too_large"


def test_raw_pixels_over_max_pixels_are_too_large(limited):
    above = pixels(100, 101)
    answers = [
        limited.ask(INFER_RAW, raw(0, 100, 101, RGB, above)),
        limited.ask(CACHE_FRAME, cache(1, 100, 101, RGB, above)),
        *limited.ask(INFER_BATCH, batch(0, [(100, 101, RGB, above)]))["results"],
    ]
    assert [answer["code"] for answer in answers] == ["too_large"] * 3
    assert limited.ask(INFER_CACHED, cached(0, 1))["code"] == "frame_not_cached"
    assert "detections" in limited.ask(INFER_RAW, raw(0, 100, 100, RGB, pixels(100, 100)))


NO_PICTURES = {
    "text": b"hello " * 100,
    "zeroes": bytes(1000),
    "GIF": b"GIF89a" + bytes(100),
    "PNG signature": b"\x89PNG\r\n\x1a\n",
    "PNG of no size": png_head(0, 0),
    "PNG without data": png_head(16, 16),
    "JPEG start": b"\xff\xd8\xff",
    "JPEG of no size": jpeg_head(0, 0),
    "JPEG without data": jpeg_head(16, 16),
    "JPEG of endless padding": b"\xff\xd8" + b"\xff" * 5000,
    "RIFF of nothing": b"RIFF\x04\0\0\0WEBP",
    "WebP without data": webp_head(16, 16),
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_what_is_no_picture_is_decode_failed(host, name):
    answer = host.ask(INFER_JPEG, jpeg(0, NO_PICTURES[name]))

    assert answer["code"] == "decode_failed"
    assert answer["error"].startswith("jpeg decode failed: ")
    assert serves(host)


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7])
def test_a_file_that_breaks_off_is_decode_failed(host, encode_picture, kind, kept):
    data = encode_picture(draw_id(0xBEEF, 200, 200), kind)
    answer = host.ask(INFER_JPEG, jpeg(0, data[: int(len(data) * kept)]))

    assert answer["code"] == "decode_failed"
    assert serves(host)


def test_a_cached_file_that_breaks_off_leaves_its_id_empty(host, encode_picture):
    data = encode_picture(draw_id(0xBEEF, 200, 200), ".png")
    host.ask(CACHE_FRAME, cache(3, 16, 16, RGB, pixels(16, 16)))

    answer = host.ask(CACHE_FRAME, cache(3, 0, 0, ENCODED, data[:-40]))
    assert answer["code"] == "decode_failed"
    assert answer["error"].startswith("cache_frame wrap failed: ")
    assert host.ask(INFER_CACHED, cached(0, 3))["code"] == "frame_not_cached"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 9000), (9000, 1), (3, 2), (65_536, 1)])
def test_strange_but_possible_sizes_are_served(host, width, height):
    answer = host.ask(INFER_RAW, raw(0, width, height, RGB, pixels(width, height)))
    assert "error" not in answer
    assert answer["frameSize"] == f"{width}x{height}"


def test_a_strange_size_in_a_batch_does_not_touch_its_neighbours(host):
    items = [any_item(), (1, 5000, RGB, pixels(1, 5000)), any_item()]
    assert all("error" not in result for result in host.ask(INFER_BATCH, batch(0, items))["results"])


def test_bad_and_good_in_turn(host):
    bad = jpeg(0, b"\xff\xd8garbage")
    answers = host.together(
        *((INFER_JPEG, bad) if turn % 2 else (INFER_RAW, any_raw()) for turn in range(40))
    )
    assert [answer.get("code") for answer in answers] == [None, "decode_failed"] * 20
