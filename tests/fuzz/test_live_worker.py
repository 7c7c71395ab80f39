"""Garbage through one live worker: each packet gets its one answer, or the framing is lost by the rule."""

import json
import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_host import NoAnswerError
from wire import (
    CACHE_FRAME,
    COMMAND,
    ENCODED,
    INFER_BATCH,
    INFER_CACHED,
    INFER_JPEG,
    INFER_RAW,
    NV12,
    RGB,
    any_item,
    any_raw,
    batch,
    cache,
    cached,
    jpeg,
    options,
    packet,
    pixels,
    raw,
)

from runtimes.picture_ids import draw_id

MODELS = [{"path": "fake:echo?size=64"}, {"path": "fake:fail_item?size=32"}, {"path": "fake:nan?size=32"}]
CODES = {
    "bad_request",
    "unknown_type",
    "decode_failed",
    "model_not_loaded",
    "frame_not_cached",
    "unsupported",
    "too_large",
    "inference_failed",
    "provider_failed",
}
FORMAT_BYTES = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 0x7E, 0x7F, 0x80, 0xFF])
SIDES = st.sampled_from([0, 1, 2, 3, 16, 17, 0x7FFF_FFFF, 0xFFFF_FFFF])
U32 = st.sampled_from([0, 1, 2, 0x7FFF_FFFF, 0xFFFF_FFFF])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = ["cmd", "index", "config", "frameId", "path", "x"]
COMMAND_NAMES = ["load", "unload", "replace", "status", "uncache_frame", "ping", "LOAD", ""]
OPTION_KEYS = [
    "confidence",
    "iou",
    "classes",
    "maxDetections",
    "agnostic",
    "roi",
    "exif",
    "colorSpace",
    "zzz",
]


def body(fields: object) -> bytes:
    return json.dumps(fields).encode()


COMMANDS = st.one_of(
    st.fixed_dictionaries({"cmd": st.sampled_from(COMMAND_NAMES)}, optional=dict.fromkeys(KEYS[1:], JSON)),
    st.dictionaries(st.sampled_from(KEYS), JSON),
    JSON,
).map(body)
PIXELS = st.binary(max_size=60) | st.just(pixels(16, 16))
ITEMS = st.lists(
    st.builds(
        lambda width, height, kind, data, size: (
            struct.pack("<IIBI", width, height, kind, size or len(data)) + data
        ),
        SIDES,
        SIDES,
        FORMAT_BYTES,
        PIXELS,
        st.sampled_from([0, 0, 0, 1, 0xFFFF_FFFF]),
    ),
    max_size=3,
).map(b"".join)
PAYLOADS = {
    COMMAND: COMMANDS | st.binary(max_size=40),
    INFER_JPEG: st.builds(jpeg, st.integers(0, 5), st.binary(max_size=60)),
    INFER_RAW: st.builds(raw, st.integers(0, 5), SIDES, SIDES, FORMAT_BYTES, PIXELS),
    INFER_BATCH: st.builds(
        lambda model, count, items: bytes([model, count]) + items, st.integers(0, 5), st.integers(0, 4), ITEMS
    ),
    CACHE_FRAME: st.builds(cache, U32, SIDES, SIDES, FORMAT_BYTES, PIXELS),
    INFER_CACHED: st.builds(cached, st.integers(0, 255), U32),
}
OPTIONS = st.dictionaries(st.sampled_from(OPTION_KEYS), JSON, max_size=3).map(body) | st.binary(max_size=20)


def is_answered(type_byte: int) -> bool:
    """Packets of streams have no answers: `test_streams.py` beside this has garbage for them."""
    return type_byte not in {8, 9}


@st.composite
def garbage(draw) -> tuple[int, bytes]:
    """A type byte and a payload that is nearly right, cut short, or nothing of the sort."""
    type_byte = draw(st.sampled_from([*PAYLOADS]) | st.integers(0, 255).filter(is_answered))
    payload = draw(PAYLOADS.get(type_byte, st.binary(max_size=60)) | st.binary(max_size=60))
    if type_byte and draw(st.booleans()):
        type_byte |= 0x80
        payload = options(draw(OPTIONS), payload)
    cut = draw(st.integers(0, len(payload)) | st.just(len(payload)))
    return type_byte, payload[:cut]


def no_drain(requests: list[tuple[int, bytes]]) -> bool:
    """`drain` would end the fun for all that come after."""
    return not any(type_byte == COMMAND and b"drain" in payload for type_byte, payload in requests)


@pytest.fixture(scope="module", params=[2, 3], ids=["v2", "v3"])
def config(request):
    return {
        "protocol": request.param,
        "runtime": "fake",
        "models": MODELS,
        "limits": {"maxPacketBytes": 1 << 20},
    }


def serves(host) -> bool:
    """Put the models back that a lucky command may have taken away, and ask."""
    answers = host.together(
        *(
            (COMMAND, {"cmd": "replace", "index": index, "config": model})
            for index, model in enumerate(MODELS)
        ),
        (INFER_RAW, raw(0, 64, 64, RGB, draw_id(4711, 64, 64).tobytes())),
    )
    return answers[-1]["detections"][0]["classId"] == 4711


def is_sound(answer: dict) -> bool:
    """An answer is a result, or an error that is nobody's surprise."""
    if "error" in answer:
        return answer["code"] in CODES and bool(answer["error"])
    if "results" in answer:
        return all(is_sound(result) for result in answer["results"])
    return answer.get("kind") == "detections" or answer.get("status") in ("ok", "cached")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(requests=st.lists(garbage(), min_size=1, max_size=12).filter(no_drain))
def test_every_garbage_packet_gets_its_one_answer(shared_host, config, requests):
    host = shared_host(config)
    for answer in host.together(*requests):
        assert is_sound(answer), answer
    assert serves(host)
    assert host.untaken() == {}
    assert "Traceback" not in host.stderr


GOOD = {
    "raw": (INFER_RAW, any_raw()),
    "batch": (INFER_BATCH, batch(1, [any_item(), any_item(255)])),
    "cache": (CACHE_FRAME, cache(1, 16, 16, RGB, pixels(16, 16))),
    "cached": (INFER_CACHED, cached(0, 1)),
    "NV12": (INFER_RAW, raw(0, 16, 16, NV12, pixels(16, 24, 1))),
    "options": (INFER_RAW | 0x80, options({"roi": [0, 0, 8, 8], "classes": ["a"]}, any_raw())),
    "command": (COMMAND, b'{"cmd":"load","index":3,"config":{"path":"fake:noop?size=32","inputSize":32}}'),
    "status": (COMMAND, b'{"cmd":"status"}'),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_packets_with_some_bytes_changed(shared_host, config, name):
    host = shared_host(config)
    type_byte, payload = GOOD[name]
    chance = random.Random(name)
    requests = []
    for _ in range(150):
        changed = bytearray(payload)
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(min(len(changed), 80))] = chance.choice(
                [0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)]
            )
        requests.append((type_byte, bytes(changed)))
    for answer in host.together(*requests):
        assert is_sound(answer), answer
    assert serves(host)


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_files_with_some_bytes_changed(shared_host, config, encode_picture, kind):
    """Broken, or still a picture; never anything else."""
    host = shared_host(config)
    data = encode_picture(draw_id(0x5A5A, 64, 48), kind)
    chance = random.Random(kind)
    requests = []
    for turn in range(120):
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        file = bytes(changed)
        requests += [
            (INFER_JPEG, jpeg(0, file)) if turn % 2 else (INFER_BATCH, batch(0, [(0, 0, ENCODED, file)]))
        ]
    for answer in host.together(*requests):
        assert is_sound(answer), answer
    assert serves(host)
    assert "Traceback" not in host.stderr


@pytest.mark.parametrize("seed", range(8))
def test_random_streams_end_by_the_rules(spawn, seed):
    """Bytes that are no packets: what can be read is answered; the end is 0 or 2, never anything else."""
    chance = random.Random(seed)
    host = spawn({"protocol": 3, "runtime": "fake", "models": MODELS, "limits": {"maxPacketBytes": 4096}})
    stream, expected = b"", 1
    for _ in range(40):
        length = chance.choice([5, 9, 15, 64, 5000, chance.randrange(5, 300)])
        rest = chance.randbytes(length)
        stream += struct.pack("<I", length) + rest
        expected += is_answered(rest[4])
    if seed % 2:
        stream += chance.randbytes(chance.randrange(1, 50))
    try:
        host.send(stream)
    except (NoAnswerError, BrokenPipeError):
        assert seed % 2, "a stream of whole packets was not read to its end"
    status = host.finish()

    assert status in ((0, 2) if seed % 2 else (0,))
    assert "Traceback" not in host.stderr
    for answers in host.untaken().values():
        assert all(is_sound(answer) for answer in answers)
    if not seed % 2:
        assert len(host.received) == expected


def test_one_byte_at_a_time(spawn):
    host = spawn({"protocol": 3, "runtime": "fake", "models": MODELS})
    data = b"".join(
        packet(1000 + number, type_byte, payload) for number, (type_byte, payload) in enumerate(GOOD.values())
    )
    for byte in data:
        host.send(bytes([byte]))
    for number in range(len(GOOD)):
        host.answer(1000 + number)
    assert host.finish() == 0
