"""Streams through the real pipe: what comes, in which order, and how they end."""

import itertools
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from e2e.queues import HANG, config, metrics, sleeper
from e2e.streams import NOOP, HostStream, numbers
from raw_host import RawHost
from wire import COMMAND, INFER_RAW, any_raw, packet

from tests.streaming.clips import BY_NAME, Clip, encode
from worker.streams import ENDING_SOURCES

CLIPS = {name: encode(clip) for name, clip in BY_NAME.items()}
FRAMES = 30
LONG = 240

PUSH = {"type": "push"}


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    path.write_bytes(encode(Clip(frames=40)))
    return path


@pytest.fixture
def host(shared_host) -> RawHost:
    return shared_host(config(NOOP, NOOP))


def file_source(path: Path, **keys: int) -> dict[str, object]:
    return {"type": "file", "path": str(path), **keys}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_frame_of_a_pushed_container_is_answered_in_order(host, name):
    stream = HostStream(host, PUSH)
    opened = stream.next()
    assert opened["event"] == "opened"
    assert opened["streamId"] == 1
    assert opened["credit"] > len(CLIPS[name])
    stream.push(CLIPS[name], chunk=1000)
    events = list(stream.events())
    kinds = [event["event"] for event in events if event["event"] != "credit"]
    head = ["needsTail", "started"] if name == "index_at_end" else ["started"]
    assert kinds == head + ["frame"] * FRAMES + ["end"]
    frames = [event for event in events if event["event"] == "frame"]
    assert numbers(frames) == list(range(FRAMES))
    steps = [second["timestampMs"] - first["timestampMs"] for first, second in itertools.pairwise(frames)]
    assert steps == pytest.approx([1000 / 30] * (FRAMES - 1), abs=1)
    assert events[-1] == {"event": "end", "final": True, "frames": FRAMES, "dropped": 0, "reason": "eof"}


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "index_at_end"])
def test_frames_come_while_the_upload_goes_on(host, name):
    stream = HostStream(host, PUSH)
    data = encode(replace(BY_NAME[name], frames=LONG))
    stream.send(data[: len(data) * 3 // 4])
    frame = stream.until("frame")
    assert frame["frameNumber"] == 0
    assert frame["results"][0]["kind"] == "detections"
    stream.send(data[len(data) * 3 // 4 :])
    stream.finish()
    assert stream.frames()[1]["frames"] == LONG


def test_a_frame_goes_through_each_model_and_is_shown_as_it_is_seen(host, clip_file):
    stream = HostStream(host, file_source(clip_file), models=[1, 0, 1])
    opened, started = stream.next(), stream.next()
    assert (opened["source"], opened["credit"]) == ("file", 0)
    assert (started["codec"], started["width"], started["height"], started["frames"]) == ("h264", 64, 48, 40)
    frames, end = stream.frames()
    assert all(len(frame["results"]) == 3 for frame in frames)
    assert {result["frameSize"] for frame in frames for result in frame["results"]} == {"64x48"}
    assert end["frames"] == 40


def test_parts_of_a_file(host, clip_file):
    part = HostStream(host, file_source(clip_file, startFrame=7, endFrame=20))
    assert numbers(part.frames()[0]) == list(range(7, 20))
    assert numbers(HostStream(host, file_source(clip_file), everyNth=13).frames()[0]) == [0, 13, 26, 39]
    assert numbers(HostStream(host, file_source(clip_file), keyframesOnly=True).frames()[0]) == [
        0,
        10,
        20,
        30,
    ]
    assert numbers(HostStream(host, file_source(clip_file), maxFps=10).frames()[0]) == list(range(0, 40, 3))


def test_streams_at_once_do_not_mix_their_frames(host):
    streams = [HostStream(host, PUSH, number, models=[number % 2]) for number in range(4)]
    for stream in streams:
        stream.push(CLIPS["transport"])
    assert [numbers(stream.frames()[0]) for stream in streams] == [list(range(FRAMES))] * 4


def test_close_ends_a_stream_at_once(host):
    stream = HostStream(host, PUSH)
    stream.send(CLIPS["transport"])
    stream.until("frame")
    assert stream.close() == {"cmd": "stream_close", "streamId": 1, "status": "ok"}
    _frames, end = stream.frames()
    assert (end["event"], end["reason"]) == ("end", "closed")
    stream.send(CLIPS["transport"])  # the host may not have known yet: ignored
    stream.finish()
    again = HostStream(host, PUSH)
    again.push(CLIPS["webm"])
    assert again.frames()[1]["frames"] == FRAMES


def test_cancel_ends_the_streams_that_a_request_has_opened(host):
    stream = HostStream(host, PUSH)
    assert stream.next()["event"] == "opened"
    assert host.command("cancel", requestId=stream.request_id)["cancelled"] == 1
    assert stream.next() == {"event": "end", "final": True, "frames": 0, "dropped": 0, "reason": "cancelled"}
    assert host.command("cancel", requestId=stream.request_id)["cancelled"] == 0


def test_close_lets_go_of_what_has_not_reached_predict(spawn, clip_file):
    host = spawn(config(HANG, limits={"drainTimeoutMs": 1}))
    stream = HostStream(host, file_source(clip_file))
    stream.until("started")
    assert stream.close()["status"] == "ok"
    assert stream.next()["reason"] == "closed"
    assert host.command("ping")["status"] == "ok"
    assert host.finish() == 0


@pytest.mark.parametrize(
    ("source", "options", "words", "code"),
    [
        ({"type": "usb"}, {}, "source type must be one of", "bad_request"),
        ({"type": "file"}, {}, "path", "bad_request"),
        ({"type": "url", "url": "ftp://a/b.ts"}, {}, "rtsp", "bad_request"),
        (PUSH, {"everyNht": 2}, 'did you mean "everyNth"', "bad_request"),
        (PUSH, {"confidence": 7}, "confidence", "bad_request"),
    ],
)
def test_what_cannot_be_opened_says_why(host, source, options, words, code):
    refused = HostStream(host, source, **options).next()
    assert (refused["cmd"], refused["status"], refused["final"]) == ("stream_open", "error", True)
    assert words in refused["error"]
    assert refused["code"] == code


def test_a_stream_needs_its_models(host):
    assert HostStream(host, PUSH, models=[0, 9]).next()["code"] == "model_not_loaded"
    assert host.command("stream_close", streamId=1)["code"] == "bad_request"


def test_an_id_that_is_open_and_streams_beyond_the_limit(spawn):
    host = spawn(config(NOOP, limits={"maxStreams": 2}))
    first = HostStream(host, PUSH, 1)
    assert "open already" in HostStream(host, PUSH, 1).next()["error"]
    second = HostStream(host, PUSH, 2)
    assert HostStream(host, PUSH, 3).next()["code"] == "overloaded"
    for stream in (first, second):
        stream.push(CLIPS["faststart"])
        assert stream.frames()[1]["frames"] == FRAMES
    assert host.ready["limits"]["maxStreams"] == 2
    assert "stream" in host.ready["features"]


def test_a_host_that_overruns_its_credit_loses_that_stream_alone(spawn, clip_file):
    host = spawn(config(sleeper(20), limits={"streamCreditBytes": 65536}))
    other = HostStream(host, file_source(clip_file), 2)
    stream = HostStream(host, PUSH)
    assert stream.next()["credit"] == 65536
    stream.send(bytes(65537))
    assert stream.next()["code"] == "overloaded"
    assert other.frames()[1]["frames"] == 40


def test_credit_comes_back_for_what_has_been_taken(spawn):
    data = encode(Clip(container="mpegts", codec="mpeg4", frames=150, width=320, height=240))
    host = spawn(config(NOOP, limits={"streamCreditBytes": 65536}))
    stream = HostStream(host, PUSH)
    credit, sent, frames = stream.next()["credit"], 0, 0
    assert len(data) > 2 * credit
    while "final" not in (event := {"event": "credit", "bytes": 0} if sent == 0 else stream.next()):
        credit += event["bytes"] if event["event"] == "credit" else 0
        frames += event["event"] == "frame"
        while credit and sent < len(data):
            piece = data[sent : sent + min(credit, 16384)]
            stream.send(piece)
            credit, sent = credit - len(piece), sent + len(piece)
            if sent == len(data):
                stream.finish()
    assert frames == event["frames"] == 150


def test_a_damaged_upload_gives_its_frames_and_then_says_where(host):
    stream = HostStream(host, PUSH)
    stream.push(CLIPS["faststart"][: len(CLIPS["faststart"]) * 2 // 3])
    frames, last = stream.frames()
    assert 5 < len(frames) < FRAMES
    assert last["code"] == "decode_failed"
    assert last["frames"] == len(frames)
    assert "event" not in last


@pytest.mark.parametrize("data", [b"", b"no video at all " * 5000], ids=["nothing", "garbage"])
def test_an_upload_that_is_no_video(host, data):
    stream = HostStream(host, PUSH)
    stream.push(data)
    last = stream.frames()[1]
    assert last["code"] in {"unsupported", "decode_failed"}
    assert last["final"] is True


def test_a_file_that_is_not_there(host):
    last = HostStream(host, file_source(Path("/nowhere/a.mp4"))).frames()[1]
    assert (last["code"], last["reason"]) == ("provider_failed", "not_found")


def test_a_stream_waits_for_a_model_that_is_loading(spawn, clip_file):
    host = spawn(config())
    load = {"cmd": "load", "index": 0, "config": {"path": "fake:noop?size=32&load_ms=200"}}
    host.request(COMMAND, load)
    assert HostStream(host, file_source(clip_file)).frames()[1]["frames"] == 40


def test_a_model_that_is_unloaded_in_the_middle_is_told_in_each_frame(spawn, clip_file):
    host = spawn(config(NOOP, sleeper(5)))
    stream = HostStream(host, file_source(clip_file), models=[0, 1])
    stream.until("frame")
    host.command("unload", index=0)
    frames, end = stream.frames()
    assert end["reason"] == "eof"
    assert frames[-1]["results"][0]["code"] == "model_not_loaded"
    assert frames[-1]["results"][1]["kind"] == "detections"


def test_frames_of_a_slow_model_are_dropped_where_that_was_asked_for(spawn, clip_file):
    host = spawn(config(sleeper(30)))
    frames, end = HostStream(host, file_source(clip_file), drop="oldest").frames()
    assert numbers(frames) == sorted(numbers(frames))
    assert end["dropped"] == 40 - len(frames) > 0
    assert numbers(frames)[-1] == 39  # what is new is seen


def test_a_late_frame_has_its_code_in_its_place(spawn, clip_file):
    host = spawn(config(sleeper(20)))
    frames, end = HostStream(host, file_source(clip_file), deadlineMs=1).frames()
    assert end["frames"] == 40
    assert "deadline_exceeded" in {frame["results"][0].get("code") for frame in frames}


def test_drain_answers_what_was_taken_up(spawn, clip_file):
    host = spawn(config(sleeper(5)))
    stream = HostStream(host, file_source(clip_file))
    upload = HostStream(host, PUSH, 2)
    stream.until("frame")
    assert host.command("drain")["status"] == "ok"
    frames, end = stream.frames()
    assert end["reason"] == "drained"
    assert end["frames"] == len(frames) + 1
    assert upload.frames()[1]["reason"] == "drained"
    assert HostStream(host, PUSH, 3).next()["code"] == "shutting_down"


def test_the_end_of_stdin_ends_streams_too(spawn):
    host = spawn(config(NOOP))
    stream = HostStream(host, PUSH)
    stream.send(CLIPS["transport"])
    stream.until("frame")
    assert host.finish() == 0
    assert stream.frames()[1]["reason"] == "drained"


def test_a_stream_that_waits_for_its_model_holds_nobody_up(spawn):
    host = spawn(config(HANG, NOOP, limits={"drainTimeoutMs": 1, "maxInFlight": 4}))
    stream = HostStream(host, PUSH)
    for start in range(0, len(CLIPS["transport"]), 100):
        stream.send(CLIPS["transport"][start : start + 100])
    for _ in range(20):
        assert host.ask(INFER_RAW, any_raw(1))["kind"] == "detections"


def test_packets_of_no_stream_and_of_a_wrong_one(host, clip_file):
    host.send(packet(77, 8, b"\1"))  # no stream_id in it
    host.send(packet(77, 8, b"\xff\xff\xff\xffdata"))
    host.send(packet(77, 9, b"\xff\xff\xff\xff"))
    stream = HostStream(host, file_source(clip_file))
    stream.send(b"data")
    assert stream.frames()[1]["code"] == "bad_request"
    assert host.command("ping")["status"] == "ok"
    assert not host.is_answered(77)


def test_a_packet_that_is_too_long_ends_its_stream(spawn):
    host = spawn(config(NOOP, limits={"maxPacketBytes": 4096}))
    stream = HostStream(host, PUSH)
    stream.send(bytes(5000))
    assert stream.frames()[1]["code"] == "too_large"
    assert host.command("ping")["status"] == "ok"


def test_frames_of_streams_count_in_the_metrics(spawn, clip_file):
    host = spawn(config(NOOP))
    HostStream(host, file_source(clip_file)).frames()
    assert metrics(host)["slots"][0]["requests"] == 40


def test_what_comes_behind_a_close_finds_the_place_free(spawn):
    host = spawn(config(NOOP, limits={"maxStreams": 1}))
    last = [HostStream(host, PUSH)]
    for _ in range(10):
        closing = host.request(COMMAND, {"cmd": "stream_close", "streamId": 1})
        last.append(HostStream(host, PUSH))
        assert host.answer(closing)["status"] == "ok"
    assert [stream.until_final()["reason"] for stream in last[:-1]] == ["closed"] * 10
    last[-1].push(CLIPS["webm"])
    assert last[-1].until_final()["frames"] == FRAMES


def test_temporary_files_are_gone_at_every_end(spawn, tmp_path):
    host = spawn(config(NOOP, streamDir=str(tmp_path)))
    [whole, closed, left] = [HostStream(host, PUSH, number) for number in range(3)]
    for stream in (closed, left):
        stream.send(CLIPS["index_at_end"])
        stream.until("needsTail")
    assert parts(tmp_path)
    whole.push(CLIPS["transport"])
    assert whole.until_final()["frames"] == FRAMES
    closed.close()
    assert host.finish() == 0
    assert left.until_final()["reason"] == "drained"
    assert parts(tmp_path) == []


def test_files_of_a_worker_that_was_killed_are_removed_by_the_next_one(spawn, tmp_path):
    killed = spawn(config(NOOP, streamDir=str(tmp_path)))
    living = spawn(config(NOOP, streamDir=str(tmp_path)))
    for host in (killed, living):
        stream = HostStream(host, PUSH)
        stream.send(CLIPS["index_at_end"])
        stream.until("needsTail")
    assert len(parts(tmp_path)) == 2
    killed.process.kill()
    killed.process.wait()
    following = HostStream(spawn(config(NOOP, streamDir=str(tmp_path))), PUSH)
    following.send(CLIPS["index_at_end"])
    following.until("needsTail")
    assert len(parts(tmp_path)) == 2  # that of the living one, and its own
    stream.finish()
    assert stream.until_final()["frames"] == FRAMES


def test_sources_that_do_not_end_are_not_gathered_without_bound(spawn):
    host = spawn(config(NOOP, limits={"maxStreams": 1}))
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as connections:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        for _ in range(1 + ENDING_SOURCES):
            stream = HostStream(host, {"type": "url", "url": url, "timeoutMs": 600_000})
            connection = connections.enter_context(server.accept()[0])
            connection.recv(1)  # it waits for an answer now, and no one can wake it
            assert stream.close()["status"] == "ok"
            assert stream.until_final()["reason"] == "closed"
        assert HostStream(host, PUSH).next()["code"] == "overloaded"
    while (first := HostStream(host, PUSH).next()).get("code") == "overloaded":
        time.sleep(0.01)
    assert first["event"] == "opened"


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob("stream-*"))
