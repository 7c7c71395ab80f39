"""Files of a model cache that does what the real server never does: a double of it."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from model_servers.model_cache_double import Answer, ModelCacheDouble, chunk, file_chunks
from model_servers.model_cache_source import FILE, source, take

from model_files.errors import (
    InvalidReferenceError,
    MissingFileError,
    ModelFileError,
    SourceFailedError,
    SourceUnavailableError,
)
from model_files.model_cache_channel import MAX_MESSAGE_BYTES

CONTENT = bytes(range(256)) * 4

StartDouble = Callable[..., ModelCacheDouble]


@pytest.fixture
def double() -> Iterator[StartDouble]:
    doubles: list[ModelCacheDouble] = []

    def start(answer: Answer, **options: int) -> ModelCacheDouble:
        doubles.append(ModelCacheDouble(answer, **options))
        return doubles[-1]

    yield start
    for each in doubles:
        each.close()


def fails_with(code: grpc.StatusCode, words: str = "because") -> Answer:
    def answer(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        yield chunk(0, b"ab", 4)
        context.abort(code, words)

    return answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, SourceUnavailableError),
        (grpc.StatusCode.ABORTED, SourceUnavailableError),
        (grpc.StatusCode.CANCELLED, SourceUnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, SourceUnavailableError),
        (grpc.StatusCode.NOT_FOUND, MissingFileError),
        (grpc.StatusCode.INVALID_ARGUMENT, SourceFailedError),
        (grpc.StatusCode.PERMISSION_DENIED, SourceFailedError),
        (grpc.StatusCode.UNAUTHENTICATED, SourceFailedError),
        (grpc.StatusCode.UNIMPLEMENTED, SourceFailedError),
        (grpc.StatusCode.INTERNAL, SourceFailedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, SourceFailedError),
        (grpc.StatusCode.UNKNOWN, SourceFailedError),
    ],
)
def test_what_a_status_means(double: StartDouble, code: grpc.StatusCode, kind: type[ModelFileError]) -> None:
    with pytest.raises(ModelFileError, match=r": because$") as caught:
        take(source(double(fails_with(code)).target))
    assert type(caught.value) is kind


def test_a_servers_words_are_one_line_and_not_too_many(double: StartDouble) -> None:
    server = double(fails_with(grpc.StatusCode.INTERNAL, "a\nb\x1b[31m\tc" + "x" * 3000))
    with pytest.raises(SourceFailedError) as caught:
        take(source(server.target))
    text = str(caught.value)
    assert "INTERNAL: a b [31m cxxx" in text
    assert text.isprintable()
    assert len(text) < 500


@pytest.mark.parametrize(
    ("chunks", "fault"),
    [
        ([], "it ended after 0 bytes"),
        ([chunk(0, b"ab", 4)], "it ended after 2 bytes"),
        ([chunk(0, b"ab", 4), chunk(3, b"d", 4, is_last=True)], "a chunk for byte 3"),
        ([chunk(0, b"ab", 4), chunk(1, b"bcd", 4, is_last=True)], "a chunk for byte 1"),
        ([chunk(0, b"ab", 4), chunk(2, b"cd", 5, is_last=True)], "a size of 5 bytes after one of 4"),
        ([chunk(0, b"ab", 4, is_last=True)], "the last chunk ends at byte 2 of 4"),
        ([chunk(0, b"ab", 2, is_last=True), chunk(2, b"", 2, is_last=True)], "a chunk after the last one"),
        ([chunk(0, b"", 4)] * 2, "a chunk of no bytes"),
        ([chunk(0, b"ab", -4)], "a size of -4 bytes"),
    ],
)
def test_a_broken_stream(double: StartDouble, chunks: list[object], fault: str) -> None:
    server = double(lambda request, context: iter(chunks))  # type: ignore[arg-type, return-value]
    with pytest.raises(SourceFailedError, match=f"sent a broken stream: {fault}") as caught:
        take(source(server.target))
    assert not isinstance(caught.value, SourceUnavailableError)


def test_chunks_of_no_bytes_without_end_do_not_keep_anybody(double: StartDouble) -> None:
    def endless(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        while context.is_active():
            yield chunk(0, b"", 4)

    with pytest.raises(SourceFailedError, match="a chunk of no bytes"):
        take(source(double(endless).target))


def test_a_stall_within_a_file(double: StartDouble) -> None:
    def stalling(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        yield chunk(0, b"ab", 4)
        server.stall(context)

    server = double(stalling)
    cache = source(server.target, stall_s=0.3)
    with cache.fetch(cache.locate(FILE)) as transfer:
        assert next(transfer.chunks) == b"ab"
        with pytest.raises(SourceUnavailableError, match=r"has sent nothing for 0\.3 s"):
            next(transfer.chunks)
        assert server.left.wait(5)  # the server is told


def test_slow_is_not_stalled(double: StartDouble) -> None:
    def slow(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        for each in file_chunks(CONTENT[:1000]):
            time.sleep(0.15)
            yield each

    assert take(source(double(slow).target, stall_s=1.0)) == CONTENT[:1000]


def test_the_callers_own_time_is_no_stall(double: StartDouble) -> None:
    cache = source(double(lambda request, context: file_chunks(CONTENT[:500])).target, stall_s=0.3)
    with cache.fetch(cache.locate(FILE)) as transfer:
        pieces = [next(transfer.chunks)]
        time.sleep(1.0)
        assert b"".join([*pieces, *transfer.chunks]) == CONTENT[:500]


def test_large_chunks_and_too_large_ones(double: StartDouble) -> None:
    def answer(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        return file_chunks(bytes(size), size)

    server = double(answer)
    size = 8 << 20  # twice what gRPC takes without being told
    assert len(take(source(server.target))) == size
    size = MAX_MESSAGE_BYTES + 1
    with pytest.raises(SourceFailedError, match="RESOURCE_EXHAUSTED"):
        take(source(server.target))


def test_names_go_out_as_they_are(double: StartDouble) -> None:
    server = double(lambda request, context: file_chunks(b"x"))
    take(source(server.target), "modelcache://demo/modèle #1/a b/%41.bin")
    assert server.asked == [("demo/modèle #1", "a b/%41.bin")]


def test_bad_names_are_not_even_asked_for(double: StartDouble) -> None:
    server = double(lambda request, context: file_chunks(b"x"))
    with pytest.raises(InvalidReferenceError):
        take(source(server.target), "modelcache://demo/m/../../secret")
    assert server.asked == []


def test_interrupted_by_ctrl_c(double: StartDouble) -> None:
    """KeyboardInterrupt gets through a wait, and the call ends with it."""

    def stalling(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        yield chunk(0, b"ab", 4)
        server.stall(context)

    server = double(stalling)
    code = """
import signal, sys, threading
from model_files.model_cache import ModelCacheSource
from model_files.settings import ModelCacheSettings, ProviderSettings
cache = ModelCacheSource(ProviderSettings(modelcache=ModelCacheSettings(sys.argv[1]), stall_s=60))
threading.Timer(0.5, signal.raise_signal, (signal.SIGINT,)).start()
with cache.fetch(cache.locate("modelcache://demo/m/a")) as transfer:
    list(transfer.chunks)
"""
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(
            [sys.executable, "-c", code, server.target], capture_output=True, timeout=20, check=True
        )
    assert server.left.wait(5)
