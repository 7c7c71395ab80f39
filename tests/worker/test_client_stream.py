"""Streams of the asyncio host: events in order, credit, ends of all kinds; each against a real worker."""

import asyncio
import os
import signal
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol.messages import Picture
from protocol.pixel_format import PixelFormat
from tests.streaming import clips
from worker.client import ClientStream, WorkerClient, WorkerError, WorkerGone
from worker.client_stream import MOST_UNTAKEN, MOST_UNTAKEN_BYTES

CONFIG = {"protocol": 3, "runtime": "fake", "models": [{"path": "fake:noop?size=32"}]}
LEAST_CREDIT = 64 * 1024
FEW = {**CONFIG, "limits": {"streamCreditBytes": LEAST_CREDIT}}
PUSH = {"type": "push"}
SOON_S = 20.0


def noise(number: int, height: int, width: int) -> np.ndarray:
    """Return what no encoder makes small."""
    return np.random.default_rng(number).integers(16, 236, (height, width), np.uint8)


@cache
def clip(frames: int = 30, **changes: Any) -> bytes:
    return clips.encode(replace(clips.MATROSKA, frames=frames, **changes))


def with_worker(use: Callable[[WorkerClient], Awaitable[None]], config: dict = CONFIG) -> None:
    """Run something with a worker; whatever hangs fails soon."""

    async def run() -> None:
        async with asyncio.timeout(SOON_S), await WorkerClient.spawn(config) as worker:
            await use(worker)

    asyncio.run(run())


async def sent(stream: ClientStream, data: bytes, size: int = 1000) -> None:
    for start in range(0, len(data), size):
        await stream.send(data[start : start + size])
    await stream.finish()


async def frames_into(numbers: list[int], stream: ClientStream) -> None:
    """Note the frames' numbers as they come: what has come is known where it ends by an error."""
    async for event in stream:
        if event["event"] == "frame":
            numbers.append(event["frameNumber"])  # noqa: PERF401 - they are there where this raises


async def frames_of(stream: ClientStream) -> list[int]:
    return [event["frameNumber"] async for event in stream if event["event"] == "frame"]


def test_a_clip_that_is_pushed_piece_by_piece():
    async def use(worker: WorkerClient) -> None:
        async with worker.open_stream(PUSH, models=[0], options={"everyNth": 2}) as stream:
            assert stream.opened["credit"] > 0
            await sent(stream, clip())
            events = [event async for event in stream]
        assert [event["event"] for event in events] == ["started", *["frame"] * 15]
        assert events[0]["codec"] == "h264"
        assert [event["frameNumber"] for event in events[1:]] == list(range(0, 30, 2))
        assert [event["timestampMs"] for event in events[1:3]] == [0, 67]
        assert events[1]["results"][0]["detections"] == []
        assert (stream.end["frames"], stream.end["dropped"], stream.end["reason"]) == (15, 0, "eof")

    with_worker(use)


def test_a_file_that_the_worker_reads_while_it_answers_pictures(tmp_path):
    (tmp_path / "a.mkv").write_bytes(clip())
    picture = Picture(32, 32, PixelFormat.GRAY, memoryview(bytes(32 * 32)))

    async def use(worker: WorkerClient) -> None:
        async with worker.open_stream({"type": "file", "path": str(tmp_path / "a.mkv")}) as stream:
            numbers, answers = await asyncio.gather(
                frames_of(stream), asyncio.gather(*(worker.infer_raw(picture) for _ in range(20)))
            )
        assert numbers == list(range(30))
        assert [answer["kind"] for answer in answers] == ["detections"] * 20

    with_worker(use)


def test_whoever_waits_for_one_answer_gets_the_last(tmp_path):
    (tmp_path / "a.mkv").write_bytes(clip())
    source = {"type": "file", "path": str(tmp_path / "a.mkv")}

    async def use(worker: WorkerClient) -> None:
        answer = await worker.command("stream_open", streamId=5, source=source)
        assert (answer["event"], answer["frames"], answer["reason"]) == ("end", 30, "eof")

    with_worker(use)


def test_several_streams_and_several_models_at_once():
    async def use(worker: WorkerClient) -> None:
        await worker.command("load", index=1, config={"path": "fake:echo?size=64"})

        async def watched(models: list[int]) -> list[str]:
            async with worker.open_stream(PUSH, models=models) as stream:
                sending = asyncio.create_task(sent(stream, clip()))
                results = [event["results"] async for event in stream if event["event"] == "frame"]
                await sending
            return [str(len(result)) for result in results]

        assert await asyncio.gather(*(watched(models) for models in ([0], [1], [0, 1]))) == [
            ["1"] * 30,
            ["1"] * 30,
            ["2"] * 30,
        ]

    with_worker(use)


@pytest.mark.parametrize(
    ("source", "models", "options", "code"),
    [
        ({"type": "cloud"}, [0], {}, "bad_request"),
        (PUSH, [9], {}, "model_not_loaded"),
        (PUSH, [0], {"everyNth": 0}, "bad_request"),
    ],
)
def test_a_refusal_is_raised_on_entering(source, models, options, code):
    async def use(worker: WorkerClient) -> None:
        with pytest.raises(WorkerError) as caught:
            async with worker.open_stream(source, models=models, options=options):
                pytest.fail("it was opened")
        assert caught.value.code == code
        assert (await worker.command("ping"))["status"] == "ok"

    with_worker(use)


def test_an_error_is_raised_after_the_frames_before_it():
    whole = clip(60)

    async def use(worker: WorkerClient) -> None:
        numbers: list[int] = []
        async with worker.open_stream(PUSH) as stream:
            await sent(stream, whole[: len(whole) * 2 // 3])
            with pytest.raises(WorkerError) as caught:
                await frames_into(numbers, stream)
            with pytest.raises(WorkerError) as again:
                await stream.send(b"more")
            assert [event async for event in stream] == []
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > 20
        assert caught.value.code == "decode_failed"
        assert caught.value.answer["frames"] == len(numbers)
        assert again.value is caught.value
        assert stream.end is None

    with_worker(use)


def test_leaving_early_ends_the_stream_and_nothing_else():
    async def use(worker: WorkerClient) -> None:
        async with worker.open_stream(PUSH) as stream:
            await stream.send(clip())
            async for event in stream:
                if event["event"] == "frame":
                    break
        assert stream.end["reason"] == "closed"
        assert [event async for event in stream] == []
        with pytest.raises(WorkerError, match="left"):
            await stream.send(b"more")
        with pytest.raises(WorkerError, match="left"):
            await stream.finish()
        with pytest.raises(WorkerError) as caught:
            await worker.command("stream_close", streamId=stream.stream_id)
        assert caught.value.code == "bad_request"

    with_worker(use)


def test_an_exception_within_the_block_ends_the_stream_and_goes_on():
    async def use(worker: WorkerClient) -> None:
        with pytest.raises(ZeroDivisionError):
            async with worker.open_stream(PUSH) as stream:
                raise ZeroDivisionError
        assert stream.end["reason"] == "closed"

    with_worker(use)


def test_a_reader_that_is_cancelled_ends_the_stream():
    async def use(worker: WorkerClient) -> None:
        opened: asyncio.Future[ClientStream] = asyncio.get_running_loop().create_future()

        async def watch() -> None:
            async with worker.open_stream(PUSH) as stream:
                opened.set_result(stream)
                await frames_of(stream)

        watching = asyncio.create_task(watch())
        stream = await opened
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        assert stream.end["reason"] == "closed"

    with_worker(use)


def test_sending_after_the_end_says_why():
    async def use(worker: WorkerClient) -> None:
        async with worker.open_stream(PUSH) as stream:
            await sent(stream, clip())
            await frames_of(stream)
            for call in (stream.send(b"more"), stream.finish()):
                with pytest.raises(WorkerError, match="the stream has ended: eof") as caught:
                    await call
                assert caught.value.code == "closed"

    with_worker(use)


def test_nothing_can_be_sent_to_what_the_worker_reads(tmp_path):
    (tmp_path / "a.mkv").write_bytes(clip())

    async def use(worker: WorkerClient) -> None:
        async with worker.open_stream({"type": "file", "path": str(tmp_path / "a.mkv")}) as stream:
            with pytest.raises(WorkerError, match="reads this stream by itself"):
                await stream.send(b"more")
            assert len(await frames_of(stream)) == 30

    with_worker(use)


def test_more_than_the_credit_waits_for_credit():
    large = clip(200, picture=noise)
    assert len(large) > 3 * LEAST_CREDIT

    async def use(worker: WorkerClient) -> None:
        async with worker.open_stream(PUSH) as stream:
            assert stream.opened["credit"] == LEAST_CREDIT
            sending = asyncio.create_task(sent(stream, large, len(large)))
            assert len(await frames_of(stream)) == 200
            await sending
        assert stream.end["reason"] == "eof"

    with_worker(use, FEW)


def answered(worker: WorkerClient) -> ClientStream:
    """Return a stream that no worker knows, to be given the answers of one."""
    stream = worker.open_stream(PUSH)
    worker.listen(worker.next_id(), stream)
    return stream


def test_events_that_nobody_takes_hold_the_writer_back():
    async def use(worker: WorkerClient) -> None:
        stream = answered(worker)
        stream.part({"event": "opened", "credit": 100}, 30)
        await stream.send(bytes(100))
        for number in range(MOST_UNTAKEN + 1):
            stream.part({"event": "frame", "frameNumber": number}, 60)
        stream.part({"event": "credit", "bytes": 70}, 30)
        stream.part({"event": "credit", "bytes": 30}, 30)
        sending = asyncio.create_task(stream.send(bytes(100)))
        await worker.command("ping")
        assert not sending.done()
        assert (await anext(stream))["frameNumber"] == 0
        await sending

    with_worker(use)


def test_a_reader_that_never_comes_costs_bounded_memory():
    """The stream is given up; what has come is still there."""

    async def use(worker: WorkerClient) -> None:
        stream = answered(worker)
        most = MOST_UNTAKEN_BYTES // (1 << 20)
        for number in range(most + 3):
            stream.part({"event": "frame", "frameNumber": number}, 1 << 20)
        numbers: list[int] = []
        with pytest.raises(WorkerError) as caught:
            await frames_into(numbers, stream)
        assert caught.value.code == "overloaded"
        assert numbers == list(range(most + 1))

    with_worker(use)


def packet(number: int, width: int, height: int) -> bytes:
    """Return an RGB frame of a "packets" stream with its header."""
    return struct.pack("<QIIB", number * 40, width, height, 0) + bytes(width * height * 3)


def test_frames_of_a_packets_stream_go_whole_or_not_at_all():
    async def use(worker: WorkerClient) -> None:
        async with worker.open_stream({"type": "packets"}) as stream:
            for number in range(5):
                await stream.send(packet(number, 100, 100))
            with pytest.raises(WorkerError, match="send RGB and BGR in pieces") as caught:
                await stream.send(packet(5, 200, 200))
            await stream.finish()
            times = [event["timestampMs"] async for event in stream if event["event"] == "frame"]
        assert caught.value.code == "too_large"
        assert times == [0, 40, 80, 120, 160]

    with_worker(use, FEW)


def test_a_worker_that_dies():
    async def run() -> None:
        async with asyncio.timeout(SOON_S):
            worker = await WorkerClient.spawn(CONFIG)
            async with worker.open_stream(PUSH) as stream:
                await stream.send(clip())
                async for event in stream:
                    if event["event"] == "frame":
                        break
                os.kill(worker.process.pid, signal.SIGKILL)
                with pytest.raises(WorkerGone):
                    await frames_of(stream)
                with pytest.raises(WorkerGone):
                    await stream.send(b"more")
            with pytest.raises(WorkerGone):
                async with worker.open_stream(PUSH):
                    pytest.fail("it was opened")
            assert await worker.close() == -signal.SIGKILL

    asyncio.run(run())


def test_a_worker_that_is_told_to_end_says_so():
    async def use(worker: WorkerClient) -> None:
        async with worker.open_stream(PUSH) as stream:
            await stream.send(clip()[:2000])
            worker.process.send_signal(signal.SIGTERM)
            await frames_of(stream)
        assert stream.end["reason"] == "drained"

    with_worker(use)


def test_nothing_is_imported_that_only_workers_and_viewers_need():
    import subprocess
    import sys

    code = "import sys, worker, worker.client; print({'av', 'cv2', 'mss', 'numpy'} & set(sys.modules))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
