"""Garbage for streams: each opener gets its one last word, and the worker serves on."""

import json
import random
import struct

import pytest
from e2e.queues import config
from e2e.streams import NOOP, STREAM_DATA, STREAM_END
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_host import RawHost
from wire import COMMAND, INFER_RAW, any_raw, packet

from tests.streaming.clips import BY_NAME, encode

CLIPS = {name: encode(clip) for name, clip in BY_NAME.items()}
CODES = {
    "bad_request",
    "decode_failed",
    "unsupported",
    "too_large",
    "overloaded",
    "provider_failed",
    "model_not_loaded",
}
IDS = st.integers(0, 3)
VALUES = st.none() | st.booleans() | st.integers(-2, 300) | st.floats(allow_nan=False) | st.text(max_size=6)
SOURCES = st.one_of(
    st.sampled_from([{"type": "push"}, {"type": "packets"}]),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["push", "packets", "file", "screen", "x"])},
        optional={"path": VALUES | st.just("/dev/zero") | st.just("/"), "region": VALUES, "fps": VALUES},
    ),
    st.dictionaries(st.sampled_from(["type", "path"]), VALUES),
)
OPTIONS = st.dictionaries(
    st.sampled_from(["everyNth", "maxFps", "drop", "threads", "iou", "zzz"]), VALUES, max_size=2
)
DATA = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([CLIPS["faststart"], CLIPS["webm"], CLIPS["transport"][:2000]]),
    st.builds(
        lambda side, kind, data: struct.pack("<QIIB", 1, side, side, kind) + data,
        st.sampled_from([0, 1, 4, 0xFFFF_FFFF]),
        st.integers(0, 6),
        st.binary(max_size=48),
    ),
)
OPENS = st.tuples(st.just("open"), IDS, SOURCES, OPTIONS)
SENDS = st.tuples(st.just("send"), IDS, DATA)
OTHERS = st.tuples(st.sampled_from(["end", "close"]), IDS)


@pytest.fixture
def host(shared_host) -> RawHost:
    return shared_host(config(NOOP, limits={"maxPixels": 1 << 20, "streamCreditBytes": 65536}))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(OPENS | SENDS | OTHERS, min_size=1, max_size=12))
def test_every_stream_that_is_opened_has_its_end(host, steps):
    opened, closing = [], []
    for kind, stream_id, *rest in steps:
        name = struct.pack("<I", stream_id)
        if kind == "open":
            fields = {"cmd": "stream_open", "streamId": stream_id, "source": rest[0], "options": rest[1]}
            opened.append(host.request(COMMAND, json.dumps(fields).encode()))
        elif kind == "send":
            host.send(packet(0, STREAM_DATA, name + rest[0]))
        elif kind == "end":
            host.send(packet(0, STREAM_END, name))
        else:
            closing.append(host.request(COMMAND, {"cmd": "stream_close", "streamId": stream_id}))
    closing += [
        host.request(COMMAND, {"cmd": "stream_close", "streamId": stream_id}) for stream_id in range(4)
    ]
    for request_id in closing:
        assert host.answer(request_id)["cmd"] == "stream_close"
    for request_id in opened:
        while "final" not in (answer := host.answer(request_id)):
            assert "event" in answer or answer.get("code") in CODES
            if "event" not in answer:
                break  # not even a command: the fields could not be read
        assert answer.get("event") == "end" or answer["code"] in CODES
    assert host.ask(INFER_RAW, any_raw())["kind"] == "detections"
    assert host.untaken() == {}
    assert "Traceback" not in host.stderr


@pytest.mark.parametrize("name", CLIPS)
def test_clips_with_some_bytes_changed(host, name):
    """Frames come, or none; the end is a proper one, and never a hang."""
    chance = random.Random(name)
    for _ in range(8):
        changed = bytearray(CLIPS[name])
        for _ in range(chance.randrange(1, 12)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        opener = host.request(COMMAND, {"cmd": "stream_open", "streamId": 1, "source": {"type": "push"}})
        for start in range(0, len(changed), 8192):
            host.send(packet(0, STREAM_DATA, struct.pack("<I", 1) + changed[start : start + 8192]))
        host.send(packet(0, STREAM_END, struct.pack("<I", 1)))
        while "final" not in (answer := host.answer(opener)):
            pass
        assert answer.get("event") == "end" or answer["code"] in CODES, answer
    assert host.ask(INFER_RAW, any_raw())["kind"] == "detections"
    assert "Traceback" not in host.stderr
