"""Ten thousand mixed requests: every answer is for its own picture, none is lost, none comes twice."""

import random
from collections.abc import Callable

import cv2
import pytest
from wire import (
    BGR,
    BGRA,
    CACHE_FRAME,
    ENCODED,
    GRAY,
    I420,
    INFER_BATCH,
    INFER_CACHED,
    INFER_JPEG,
    INFER_RAW,
    NV12,
    RGB,
    RGBA,
    WITH_OPTIONS,
    batch,
    cache,
    cached,
    jpeg,
    options,
    packet,
    raw,
)

from runtimes.picture_ids import draw_id

REQUESTS = 2_500
IN_FLIGHT = 32
SIZES = [(32, 32), (48, 32), (32, 64), (64, 64), (100, 40)]
PICTURES = 300
"""Distinct pictures of a run; each is sent several times, in other clothes."""

TRANSPORTS = {"none": "pipe", "list": "socket", "window": "one_socket", "adaptive": "descriptors"}
MODES = {
    "none": {"batch_mode": "none", "concurrency": 2},
    "list": {"batch_mode": "list", "concurrency": 2},
    "window": {"batch_mode": "window", "window_ms": 2, "max_batch_size": 8},
    "adaptive": {"batch_mode": "adaptive"},
}


def nv12(rgb) -> bytes:
    height, width = rgb.shape[:2]
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).reshape(-1)
    luma, chroma = planar[: width * height], planar[width * height :].reshape(2, -1)
    return luma.tobytes() + chroma.T.tobytes()


FORMATS: dict[int, Callable[..., bytes]] = {
    RGB: lambda rgb: rgb.tobytes(),
    BGR: lambda rgb: rgb[..., ::-1].tobytes(),
    GRAY: lambda rgb: rgb[..., 0].tobytes(),
    RGBA: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).tobytes(),
    BGRA: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA).tobytes(),
    NV12: nv12,
    I420: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).tobytes(),
}


class Mix:
    """Makes requests at random, and knows which pictures the answer must name."""

    def __init__(self, encode_picture: Callable[..., bytes], seed: int) -> None:
        self._random = random.Random(seed)
        self._encode = encode_picture
        self._pictures = [self._draw() for _ in range(PICTURES)]
        self._frames: dict[int, int] = {}

    def request(self) -> tuple[int, bytes, list[int]]:
        """Return type, payload and the ids that are to be found."""
        make = self._random.choices(
            (self._raw, self._encoded, self._batch, self._cached, self._cache), (6, 2, 1, 3, 1)
        )
        type_byte, payload, found = make[0]()
        if self._random.random() < 0.1:
            return type_byte | WITH_OPTIONS, options({"maxDetections": 5}, payload), found
        return type_byte, payload, found

    def _draw(self) -> tuple[int, dict[int, tuple[int, int, int, bytes]]]:
        """Return a picture id, and its picture in every format."""
        picture_id = self._random.randrange(1, 1 << 16)
        width, height = self._random.choice(SIZES)
        rgb = draw_id(picture_id, width, height)
        clothes = {kind: (width, height, kind, make(rgb)) for kind, make in FORMATS.items()}
        for name in (".jpg", ".png", ".webp"):
            clothes[len(clothes) + 100] = (0, 0, ENCODED, self._encode(rgb, name))
        return picture_id, clothes

    def _pick(self, encoded: bool | None = None) -> tuple[int, tuple[int, int, int, bytes]]:
        picture_id, clothes = self._random.choice(self._pictures)
        fitting = [item for item in clothes.values() if encoded is None or (item[2] == ENCODED) is encoded]
        return picture_id, self._random.choice(fitting)

    def _raw(self) -> tuple[int, bytes, list[int]]:
        picture_id, item = self._pick()
        return INFER_RAW, raw(self._random.randrange(2), *item), [picture_id]

    def _encoded(self) -> tuple[int, bytes, list[int]]:
        picture_id, item = self._pick(encoded=True)
        return INFER_JPEG, jpeg(self._random.randrange(2), item[3]), [picture_id]

    def _batch(self) -> tuple[int, bytes, list[int]]:
        picked = [self._pick() for _ in range(self._random.randrange(1, 6))]
        payload = batch(self._random.randrange(2), [item for _, item in picked])
        return INFER_BATCH, payload, [picture_id for picture_id, _ in picked]

    def _cache(self) -> tuple[int, bytes, list[int]]:
        frame_id = self._random.randrange(8)
        picture_id, item = self._pick()
        self._frames[frame_id] = picture_id
        return CACHE_FRAME, cache(frame_id, *item), []

    def _cached(self) -> tuple[int, bytes, list[int]]:
        if not self._frames:
            return self._cache()
        frame_id = self._random.choice(list(self._frames))
        return INFER_CACHED, cached(self._random.randrange(2), frame_id), [self._frames[frame_id]]


def found_in(answer: dict) -> list[int]:
    results = answer.get("results", [answer] if "detections" in answer else [])
    return [detection["classId"] for result in results for detection in result["detections"]]


@pytest.mark.parametrize("mode", MODES)
def test_every_answer_is_for_its_own_picture(spawn, encode_picture, mode):
    models = [{"path": "fake:echo?size=64"}, {"path": "fake:echo?width=96&height=64&layout=nhwc&dtype=uint8"}]
    config = {"protocol": 3, "runtime": "fake", "models": models, **MODES[mode]}
    host = spawn(config, transport=TRANSPORTS[mode])
    assert host.ready["models"] == 2
    mix = Mix(encode_picture, seed=sorted(MODES).index(mode))
    open_requests: dict[int, list[int]] = {}
    wrong = []

    def take_one() -> None:
        request_id = next(iter(open_requests))
        answer, expected = host.answer(request_id), open_requests.pop(request_id)
        if "error" in answer or found_in(answer) != expected:
            wrong.append((request_id, expected, answer))

    for _ in range(REQUESTS):
        type_byte, payload, expected = mix.request()
        request_id = host.next_id()
        host.send(packet(request_id, type_byte, payload))
        open_requests[request_id] = expected
        while len(open_requests) >= IN_FLIGHT:
            take_one()
    while open_requests:
        take_one()

    assert wrong == []
    assert host.finish() == 0
    assert len(host.received) == REQUESTS + 1
    assert host.untaken() == {}


@pytest.mark.parametrize("transport", ["pipe", "socket", "one_socket", "descriptors"])
def test_large_frames(spawn, transport):
    """1080p frames between small requests: large bodies have memory of their own, which is used again."""
    host = spawn(
        {"protocol": 3, "runtime": "fake", "models": [{"path": "fake:echo?size=64"}]}, transport=transport
    )
    open_requests = []
    for picture_id in range(1, 25):
        width, height = (1920, 1080) if picture_id % 3 else (32, 32)
        payload = raw(0, width, height, RGB, draw_id(picture_id, width, height).tobytes())
        open_requests.append((host.request(INFER_RAW, payload), picture_id))
        if len(open_requests) == 8:
            request_id, expected = open_requests.pop(0)
            assert found_in(host.answer(request_id)) == [expected]
    for request_id, expected in open_requests:
        assert found_in(host.answer(request_id)) == [expected]
    assert host.finish() == 0
