"""The asyncio host: multiplexing, typed errors, and what its callers see when the worker is gone."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from protocol.messages import Picture
from protocol.options import RequestOptions
from protocol.pixel_format import PixelFormat
from runtimes.picture_ids import draw_id
from worker.client import HandshakeRefused, WorkerClient, WorkerError, WorkerGone, encoded

CONFIG = {"protocol": 3, "runtime": "fake", "models": [{"path": "fake:echo?size=64"}]}
HANGING = {
    "protocol": 3,
    "runtime": "fake",
    "models": [{"path": "fake:hang?size=32"}],
    "limits": {"drainTimeoutMs": 200},
}


def picture(picture_id: int) -> Picture:
    pixels = memoryview(draw_id(picture_id, 32, 32).tobytes())
    return Picture(32, 32, PixelFormat.RGB, pixels)


def seen(answer: dict) -> int:
    return answer["detections"][0]["classId"]


def test_every_call(encode_picture):
    async def run() -> None:
        async with await WorkerClient.spawn(CONFIG) as worker:
            assert worker.ready["models"] == 1
            png = encode_picture(draw_id(1, 32, 32), ".png")
            assert seen(await worker.infer_jpeg(png)) == 1
            assert seen(await worker.infer_raw(picture(2))) == 2
            results = await worker.infer_batch([picture(3), encoded(png), encoded(b"garbage")])
            assert [seen(result) for result in results[:2]] == [3, 1]
            assert results[2]["code"] == "decode_failed"
            assert (await worker.cache_frame(9, picture(4)))["status"] == "cached"
            assert seen(await worker.infer_cached(9)) == 4
            assert (await worker.infer_raw(picture(5), options=RequestOptions(classes=(6,))))[
                "detections"
            ] == []
            assert (await worker.command("ping"))["status"] == "ok"
            assert (await worker.command("load", index=1, config={"path": "fake:noop?size=32"}))[
                "status"
            ] == "ok"
            assert (await worker.infer_raw(picture(5), model=1))["detections"] == []

    asyncio.run(run())


def test_many_at_once_each_get_their_own_answer():
    async def run() -> None:
        async with await WorkerClient.spawn(CONFIG) as worker:
            answers = await asyncio.gather(*(worker.infer_raw(picture(number)) for number in range(1, 501)))
            assert [seen(answer) for answer in answers] == list(range(1, 501))
            assert await worker.close() == 0

    asyncio.run(run())


def test_an_error_is_raised_with_its_code_and_answer():
    async def run() -> None:
        async with await WorkerClient.spawn(CONFIG) as worker:
            for call, code in (
                (worker.infer_raw(picture(1), model=7), "model_not_loaded"),
                (worker.infer_cached(5), "frame_not_cached"),
                (worker.infer_jpeg(b"garbage"), "decode_failed"),
                (worker.infer_batch([picture(1)], model=7), "model_not_loaded"),
                (worker.command("load", index=1, config={"path": "fake:loadfail"}), "model_not_loaded"),
                (worker.command("nonsense"), "unsupported"),
            ):
                with pytest.raises(WorkerError) as caught:
                    await call
                assert caught.value.code == code
                assert caught.value.text == caught.value.answer["error"]
            assert seen(await worker.infer_raw(picture(1))) == 1

    asyncio.run(run())


def test_a_caller_that_gives_up_does_not_disturb_the_others():
    async def run() -> None:
        config = {**CONFIG, "models": [{"path": "fake:echo?size=64&ms=200"}]}
        async with await WorkerClient.spawn(config) as worker:
            given_up = asyncio.create_task(worker.infer_raw(picture(1)))
            others = [asyncio.create_task(worker.infer_raw(picture(number))) for number in (2, 3)]
            await asyncio.sleep(0.05)
            given_up.cancel()
            assert [seen(await other) for other in others] == [2, 3]

    asyncio.run(run())


@pytest.mark.parametrize(
    "config", [{"runtime": "nonsense"}, {"concurrency": "many"}, {"runtime": "fake", "models": 7}]
)
def test_a_refused_handshake(config):
    async def run() -> None:
        with pytest.raises(HandshakeRefused):
            await WorkerClient.spawn(config, stderr=asyncio.subprocess.DEVNULL)

    asyncio.run(run())


@pytest.mark.parametrize("code", ["print('no packets at all')", "", "import os; os.write(1, b'\\0' * 100)"])
def test_a_child_that_is_no_worker(code):
    async def run() -> None:
        command = [sys.executable, "-c", code]
        with pytest.raises(HandshakeRefused):
            await WorkerClient.spawn(CONFIG, command=command, stderr=asyncio.subprocess.DEVNULL)

    asyncio.run(run())


def children() -> set[str]:
    """Return the ids of this process's children."""
    threads = Path("/proc/self/task").iterdir()
    return {pid for thread in threads for pid in (thread / "children").read_text().split()}


def test_giving_up_on_a_spawn_leaves_no_process():
    async def run() -> None:
        before = children()
        hanging = {**CONFIG, "models": [{"path": "fake:slowload?size=32&ms=600000"}]}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await WorkerClient.spawn(hanging)
        async with asyncio.timeout(30):
            while children() - before:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)

    asyncio.run(run())


def test_a_message_that_cannot_be_encoded_is_the_callers_fault_alone():
    async def run() -> None:
        async with await WorkerClient.spawn(CONFIG) as worker:
            with pytest.raises(Exception, match=r"."):
                await worker.infer_raw(picture(1), model=300)
            assert seen(await worker.infer_raw(picture(1))) == 1
            assert await worker.close() == 0

    asyncio.run(run())


def test_what_is_open_fails_when_the_worker_dies():
    async def run() -> None:
        worker = await WorkerClient.spawn(HANGING)
        calls = [asyncio.create_task(worker.infer_raw(picture(1))) for _ in range(5)]
        await asyncio.sleep(0.3)
        os.kill(worker.process.pid, signal.SIGKILL)
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, WorkerGone)
        with pytest.raises(WorkerGone):
            await worker.command("ping")
        assert await worker.close() == -signal.SIGKILL

    asyncio.run(run())


def test_closing_answers_what_is_open():
    async def run() -> None:
        worker = await WorkerClient.spawn(HANGING)
        calls = [asyncio.create_task(worker.infer_raw(picture(1))) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert await worker.close() == 0
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, WorkerError)
            assert outcome.code == "shutting_down"
        assert await worker.close() == 0

    asyncio.run(run())
