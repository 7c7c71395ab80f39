"""Frames that come at their own pace, through the real pipe: packets, an RTSP server, a screen."""

import os
import struct
from pathlib import Path

import pytest
from e2e.queues import config
from e2e.streams import NOOP, HostStream, numbers
from raw_host import RawHost
from stream_servers.rtsp_server import rtsp_servers

from streaming.header import FrameFormat
from tests.streaming.clips import Clip, encode
from tests.streaming.packet_items import PERIOD_MS, coded
from tests.streaming.virtual_screen import VirtualScreen

__all__ = ["rtsp_servers"]  # a fixture of this module, too

ROOT = Path(__file__).resolve().parents[2]
SHAPES = {"path": str(ROOT / "models/shapes.onnx"), "runtime": "onnxruntime"}
SCENE = min((ROOT / "models/scenes").glob("*.jpg"))

PACKETS = {"type": "packets"}


@pytest.fixture
def host(shared_host) -> RawHost:
    return shared_host(config(NOOP, SHAPES))


def header(timestamp_ms: int, width: int, height: int, number: int) -> bytes:
    return struct.pack("<QIIB", timestamp_ms, width, height, number)


@pytest.mark.parametrize("codec", [FrameFormat.H264, FrameFormat.VP8])
def test_coded_frames_are_decoded_with_what_came_before(host, codec):
    stream = HostStream(host, PACKETS)
    for item in coded(codec, range(30)):
        stream.send(item.packed)
    stream.finish()
    frames, end = stream.frames()
    assert numbers(frames) == list(range(30))
    assert [frame["timestampMs"] for frame in frames] == [PERIOD_MS * number for number in range(30)]
    assert (end["event"], end["frames"]) == ("end", 30)


def test_a_raw_frame_is_continued_until_it_is_complete(host):
    stream = HostStream(host, PACKETS)
    pixels = bytes(64 * 48 * 3)
    for number in range(3):
        stream.send(header(number, 64, 48, 0) + pixels[:1000])
        stream.send(pixels[1000:5000])
        stream.send(pixels[5000:])
    stream.finish()
    frames, _ = stream.frames()
    assert [(frame["timestampMs"], frame["width"], frame["height"]) for frame in frames] == [
        (float(number), 64, 48) for number in range(3)
    ]


def test_a_jpeg_of_a_packet_gives_what_the_picture_gives(host):
    data = SCENE.read_bytes()
    stream = HostStream(host, PACKETS, models=[1, 1])
    stream.send(header(7, 0, 0, 4) + data)
    stream.send(header(8, 0, 0, 4) + data[: len(data) // 2])
    stream.finish()
    (good, bad), end = stream.frames()
    alone = host.ask(1, b"\1" + data)
    assert good["results"][0]["detections"] == good["results"][1]["detections"] == alone["detections"] != []
    assert [result["code"] for result in bad["results"]] == ["decode_failed"] * 2
    assert end["reason"] == "eof"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (header(0, 64, 48, 9) + bytes(10), "bad_request"),
        (header(0, 0, 0, 0), "bad_request"),
        (header(0, 1 << 20, 1 << 20, 0) + bytes(10), "too_large"),
        (b"short", "bad_request"),
    ],
)
def test_a_header_that_says_something_impossible_ends_the_stream(host, data, code):
    stream = HostStream(host, PACKETS)
    stream.send(data)
    stream.finish()
    assert stream.frames()[1]["code"] == code
    assert host.command("ping")["status"] == "ok"


def test_coded_frames_without_a_key_frame_are_no_empty_success(host):
    stream = HostStream(host, PACKETS)
    stream.send(header(0, 64, 48, FrameFormat.H264) + bytes(99))
    stream.finish()
    assert stream.frames()[1]["code"] == "decode_failed"


def test_an_rtsp_server_that_ends_is_tried_again_until_the_host_closes(host, rtsp, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(encode(Clip(frames=60, fps=30)))
    server = rtsp(path, loop=True)
    stream = HostStream(host, {"type": "url", "url": server.url(), "timeoutMs": 5000})
    started = stream.until("started")
    assert (started["codec"], started["width"]) == ("h264", 64)
    first, second = stream.until("frame"), stream.until("frame")
    assert second["frameNumber"] > first["frameNumber"]
    assert second["timestampMs"] > first["timestampMs"]
    server.kill()
    again = stream.until("reconnecting")
    assert again["reason"] in {"interrupted", "unreachable"}
    assert again["inMs"] >= 0
    assert stream.close()["status"] == "ok"
    assert stream.until_final()["reason"] == "closed"


def test_a_url_that_nobody_serves_names_the_reason_and_no_secret(host):
    source = {"type": "url", "url": "http://user:secret@127.0.0.1:9/a.mp4?key=secret"}
    last = HostStream(host, source).frames()[1]
    assert (last["code"], last["reason"], last["final"]) == ("provider_failed", "unreachable", True)
    assert "secret" not in last["error"]


def test_a_part_of_the_screen(spawn, tmp_path):
    screen = VirtualScreen(tmp_path)
    try:
        host = spawn(config(NOOP), env=os.environ | {"DISPLAY": screen.display})
        source = {"type": "screen", "region": [10, 20, 128, 96], "fps": 50}
        stream = HostStream(host, source)
        frames = [stream.until("frame") for _ in range(5)]
        stream.close()
    finally:
        screen.close()
    assert {(frame["width"], frame["height"]) for frame in frames} == {(128, 96)}
    assert [frame["results"][0]["frameSize"] for frame in frames] == ["128x96"] * 5


def test_a_screen_and_a_camera_that_are_not_there(spawn):
    host = spawn(config(NOOP), env={key: value for key, value in os.environ.items() if key != "DISPLAY"})
    screen = HostStream(host, {"type": "screen"}, 1)
    camera = HostStream(host, {"type": "camera", "index": 99}, 2)
    assert screen.frames()[1]["code"] in {"provider_failed", "unsupported"}
    assert camera.frames()[1]["code"] == "provider_failed"
    assert host.command("ping")["status"] == "ok"
