"""`RustFileProvider`: small files over a channel of the caller's, synchronous or of asyncio."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from model_servers.model_cache import ModelCacheServer, serving
from model_servers.model_cache_double import Answer, ModelCacheDouble, chunk, file_chunks

from model_files.errors import (
    FileTooLargeError,
    InvalidReferenceError,
    MissingFileError,
    ModelFileError,
    SourceFailedError,
    SourceUnavailableError,
)
from model_files.model_cache import RustFileProvider

pytestmark = pytest.mark.timeout(120, func_only=True)

CONTENT = bytes(range(256)) * 4096

Get = Callable[..., bytes]
"""Target, model's id, file's path, and the provider's options."""
StartDouble = Callable[[Answer], ModelCacheDouble]


def get_sync(target: str, model_id: str, file_path: str, **options: float) -> bytes:
    with grpc.insecure_channel(target) as channel:
        return RustFileProvider(channel, **options).get_file(model_id, file_path)  # type: ignore[arg-type]


def get_async(target: str, model_id: str, file_path: str, **options: float) -> bytes:
    async def get() -> bytes:
        async with grpc.aio.insecure_channel(target) as channel:
            provider = RustFileProvider(channel, **options)  # type: ignore[arg-type]
            return await provider.get_file(model_id, file_path)

    return asyncio.run(get())


@pytest.fixture(params=[get_sync, get_async], ids=["sync", "asyncio"])
def get(request: pytest.FixtureRequest) -> Get:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelCacheServer]:
    root = tmp_path_factory.mktemp("models")
    (root / "demo/m/onnx").mkdir(parents=True)
    (root / "demo/m/onnx/model.onnx").write_bytes(CONTENT)
    (root / "demo/m/empty").touch()
    (root / "gpt2").mkdir()
    (root / "gpt2/config.json").write_bytes(b"{}")
    with serving(root) as running:
        yield running


@pytest.fixture
def double() -> Iterator[StartDouble]:
    doubles: list[ModelCacheDouble] = []

    def start(answer: Answer) -> ModelCacheDouble:
        doubles.append(ModelCacheDouble(answer))
        return doubles[-1]

    yield start
    for each in doubles:
        each.close()


@pytest.mark.parametrize(
    ("model_id", "file_path", "content"),
    [
        ("demo/m", "onnx/model.onnx", CONTENT),
        ("demo/m", "empty", b""),
        ("gpt2", "config.json", b"{}"),
    ],
)
def test_a_file(get: Get, server: ModelCacheServer, model_id: str, file_path: str, content: bytes) -> None:
    assert get(server.target, model_id, file_path) == content


@pytest.mark.parametrize(
    ("model_id", "file_path", "kind"),
    [
        ("demo/m", "none", MissingFileError),
        ("demo/m", "onnx", SourceFailedError),
        ("demo/m/onnx", "model.onnx", SourceFailedError),
        ("demo/m", "../m/empty", InvalidReferenceError),
        ("..", "etc/passwd", InvalidReferenceError),
        ("/etc", "passwd", InvalidReferenceError),
        ("", "passwd", InvalidReferenceError),
        ("demo/m", "", InvalidReferenceError),
        ("demo/m", "a\0", InvalidReferenceError),
        ("demo/m", "\ud800", InvalidReferenceError),
    ],
)
def test_refusals(
    get: Get, server: ModelCacheServer, model_id: str, file_path: str, kind: type[ModelFileError]
) -> None:
    with pytest.raises(kind) as caught:
        get(server.target, model_id, file_path)
    assert type(caught.value) is kind


def test_a_file_that_is_too_large_is_not_even_received(get: Get, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with open(tmp_path / "m/large", "wb") as file:
        file.truncate(1 << 32)
    with serving(tmp_path) as server:
        with pytest.raises(FileTooLargeError, match="has 4294967296 bytes, and 1000 are allowed"):
            get(server.target, "m", "large", max_file_bytes=1000)
        assert server.calls(1) == [("large", "the client went away")]


def test_nobody_is_there(get: Get) -> None:
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        get("127.0.0.1:1", "demo/m", "a")


@pytest.mark.parametrize(
    ("chunks", "fault"),
    [
        ([], "it ended after 0 bytes"),
        ([chunk(0, b"ab", 4)], "it ended after 2 bytes"),
        ([chunk(0, b"ab", 4), chunk(3, b"d", 4, is_last=True)], "a chunk for byte 3"),
        ([chunk(0, b"ab", 2, is_last=True), chunk(2, b"", 2, is_last=True)], "a chunk after the last one"),
    ],
)
def test_a_broken_stream(get: Get, double: StartDouble, chunks: list[object], fault: str) -> None:
    server = double(lambda request, context: iter(chunks))  # type: ignore[arg-type, return-value]
    with pytest.raises(SourceFailedError, match=fault):
        get(server.target, "demo/m", "a")


def test_a_stall(get: Get, double: StartDouble) -> None:
    def stalling(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        yield chunk(0, b"ab", 4)
        server.stall(context)

    server = double(stalling)
    with pytest.raises(SourceUnavailableError, match=r"has sent nothing for 0\.3 s"):
        get(server.target, "demo/m", "a", stall_s=0.3)
    assert server.left.wait(5)


def test_a_deadline(get: Get, double: StartDouble) -> None:
    def slow(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        for each in file_chunks(bytes(10_000)):
            yield each
            time.sleep(0.1)

    server = double(slow)
    began = time.monotonic()
    with pytest.raises(SourceUnavailableError, match="took too long"):
        get(server.target, "demo/m", "a", deadline_s=0.5)
    assert time.monotonic() - began < 5


def test_a_server_that_breaks_off(get: Get, double: StartDouble) -> None:
    def breaking(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        yield chunk(0, b"ab", 4)
        context.abort(grpc.StatusCode.ABORTED, "the file changed")

    with pytest.raises(SourceUnavailableError, match="broke off: the file changed"):
        get(double(breaking).target, "demo/m", "a")


def test_many_coroutines_on_one_channel(server: ModelCacheServer) -> None:
    """No chunk of a short stream is lost, and none of a long one gets into another."""

    async def get_all() -> list[bytes]:
        async with grpc.aio.insecure_channel(server.target) as channel:
            provider = RustFileProvider(channel)
            small = [provider.get_file("gpt2", "config.json") for _ in range(100)]
            large = [provider.get_file("demo/m", "onnx/model.onnx") for _ in range(10)]
            return await asyncio.gather(*small, *large)

    assert asyncio.run(get_all()) == [b"{}"] * 100 + [CONTENT] * 10


def test_many_threads_on_one_channel(server: ModelCacheServer) -> None:
    found: list[bytes] = []
    with grpc.insecure_channel(server.target) as channel:
        provider = RustFileProvider(channel)
        threads = [
            threading.Thread(target=lambda: found.append(provider.get_file("demo/m", "onnx/model.onnx")))
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [CONTENT] * 10


def test_a_coroutine_that_is_cancelled_ends_its_call(double: StartDouble) -> None:
    begun = threading.Event()

    def stalling(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        yield chunk(0, b"ab", 4)
        begun.set()
        server.stall(context)

    server = double(stalling)

    async def cancel_soon() -> None:
        async with grpc.aio.insecure_channel(server.target) as channel:
            asked = asyncio.ensure_future(RustFileProvider(channel).get_file("demo/m", "a"))
            assert await asyncio.to_thread(begun.wait, 5)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert await asyncio.to_thread(server.left.wait, 5)

    asyncio.run(cancel_soon())


def test_the_channel_stays_the_callers(server: ModelCacheServer) -> None:
    with grpc.insecure_channel(server.target) as channel:
        provider = RustFileProvider(channel)
        for _ in range(2):
            with pytest.raises(MissingFileError):
                provider.get_file("demo/m", "none")
            assert provider.get_file("gpt2", "config.json") == b"{}"
