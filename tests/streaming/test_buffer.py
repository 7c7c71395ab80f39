"""StreamingBuffer: one thread writes at the end of a file, another reads it while it grows."""

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming.buffer import StreamingBuffer
from streaming.errors import StreamTooLargeError

SOON = 5.0
"""Seconds within which a thread that was woken has answered."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be renamed there")


@pytest.fixture
def buffer(tmp_path):
    with StreamingBuffer(tmp_path) as opened:
        yield opened


@pytest.fixture
def aside():
    """Call a function in a thread of its own; gives a future."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(4))
        yield pool.submit


def waits(future: Future[Any], buffer: StreamingBuffer) -> None:
    """Wait until the call behind `future` waits for the buffer."""
    deadline = time.monotonic() + SOON
    while not buffer._changed._waiters and not future.done():  # type: ignore[attr-defined]
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert not future.done()


def test_reads_what_was_appended(buffer):
    buffer.append(b"abc")
    buffer.append(bytearray(b"def"))
    buffer.append(memoryview(b"ghi"))
    buffer.close_writer()
    assert [buffer.read(4), buffer.read(4), buffer.read(4), buffer.read(4)] == [b"abcd", b"efgh", b"i", b""]
    assert buffer.written == 9


def test_read_gives_what_is_there_and_does_not_wait_for_more(buffer):
    buffer.append(b"abc")
    assert buffer.read(100) == b"abc"
    buffer.append(b"de")
    assert buffer.read() == b"de"
    assert buffer.read(0) == b""


def test_read_waits_for_the_first_byte(buffer, aside):
    reading = aside(buffer.read, 10)
    waits(reading, buffer)
    buffer.append(b"x")
    assert reading.result(SOON) == b"x"


def test_read_waits_for_the_end(buffer, aside):
    reading = aside(buffer.read)
    waits(reading, buffer)
    buffer.close_writer()
    assert reading.result(SOON) == b""
    assert buffer.read(1) == b""


def test_an_empty_append_is_no_end(buffer, aside):
    reading = aside(buffer.read)
    waits(reading, buffer)
    buffer.append(b"")
    with pytest.raises(NotYet):
        reading.result(0.02)
    buffer.append(b"x")
    assert reading.result(SOON) == b"x"


def test_is_a_file_to_read(buffer):
    assert buffer.readable()
    assert buffer.seekable()
    assert not buffer.writable()


def test_seeks_and_tells(buffer):
    buffer.append(b"0123456789")
    assert buffer.seek(4) == 4
    assert buffer.read(2) == b"45"
    assert buffer.seek(-3, io.SEEK_CUR) == 3
    assert buffer.read(1) == b"3"
    assert buffer.tell() == 4


@pytest.mark.parametrize("place", [(-1, io.SEEK_SET), (-1, io.SEEK_CUR), (0, 7)])
def test_refuses_to_seek_to_no_place(buffer, place):
    with pytest.raises(ValueError, match=r"before the beginning|whence"):
        buffer.seek(*place)
    assert buffer.tell() == 0


def test_seek_from_the_end_waits_until_the_writer_has_closed(buffer, aside):
    buffer.append(b"0123")
    seeking = aside(buffer.seek, -2, io.SEEK_END)
    waits(seeking, buffer)
    buffer.append(b"456789")
    with pytest.raises(NotYet):
        seeking.result(0.02)
    buffer.close_writer()
    assert seeking.result(SOON) == 8
    assert buffer.read() == b"89"


def test_reading_beyond_what_is_there_waits_for_it(buffer, aside):
    buffer.append(b"0123")
    assert buffer.seek(6) == 6
    reading = aside(buffer.read, 2)
    waits(reading, buffer)
    buffer.append(b"456789")
    assert reading.result(SOON) == b"67"


def test_seeking_beyond_the_end_finds_the_end(buffer):
    buffer.append(b"0123")
    buffer.close_writer()
    buffer.seek(100)
    assert buffer.read() == b""


def test_nothing_is_appended_after_the_end(buffer):
    buffer.close_writer()
    buffer.close_writer()
    with pytest.raises(ValueError, match="after close_writer"):
        buffer.append(b"x")


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are listed in /proc there")
def test_two_descriptors_on_one_inode(buffer):
    inode = buffer.path.stat().st_ino
    links = list(Path("/proc/self/fd").iterdir())
    assert sum(link.exists() and link.stat().st_ino == inode for link in links) == 2


@posix
def test_works_after_the_file_was_renamed(buffer, tmp_path):
    buffer.append(b"abc")
    renamed = buffer.path.rename(tmp_path / "elsewhere.mp4")
    buffer.append(b"def")
    buffer.close_writer()
    assert buffer.read() == b"abcdef"
    assert renamed.read_bytes() == b"abcdef"
    buffer.close()
    assert renamed.exists()  # it is theirs who renamed it


@posix
def test_what_took_the_files_place_is_not_removed(buffer, tmp_path):
    buffer.path.rename(tmp_path / "elsewhere.mp4")
    buffer.path.write_bytes(b"somebody's")
    buffer.close()
    assert buffer.path.read_bytes() == b"somebody's"


def test_the_file_is_removed_on_close(tmp_path):
    buffer = StreamingBuffer(tmp_path)
    assert buffer.path.is_relative_to(tmp_path)
    assert buffer.path.is_file()
    buffer.close()
    buffer.close()
    assert not buffer.path.exists()


def test_the_file_is_kept_by_option(tmp_path):
    with StreamingBuffer(str(tmp_path), keep=True) as buffer:
        buffer.append(b"abc")
    assert buffer.path.read_bytes() == b"abc"


def test_the_system_says_where_temporary_files_are(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with StreamingBuffer() as buffer:
        assert buffer.path.is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "call",
    [
        lambda buffer: buffer.read(5),
        lambda buffer: buffer.wait(10) or b"",
        lambda buffer: buffer.wait_for_end(),
    ],
)
def test_close_wakes_who_waits_for_data(buffer, aside, call: Callable[[StreamingBuffer], bytes | None]):
    waiting = aside(call, buffer)
    waits(waiting, buffer)
    buffer.close()
    assert not waiting.result(SOON)


def test_close_wakes_who_waits_for_the_end(buffer, aside):
    seeking = aside(buffer.seek, 0, io.SEEK_END)
    waits(seeking, buffer)
    buffer.close()
    assert seeking.result(SOON) == 0


def test_all_is_quiet_once_it_is_closed(buffer):
    buffer.append(b"abc")
    buffer.close()
    buffer.append(b"def")
    buffer.discard(3)
    buffer.close_writer()
    assert buffer.closed
    assert buffer.read() == b""
    assert buffer.read_at(0, 3) == b""


def test_closing_beside_reads_and_writes_closes_each_descriptor_once(tmp_path, aside):
    """A descriptor that is closed under a read could be another file's by then."""
    guard = os.open(os.devnull, os.O_RDONLY)
    for _ in range(50):
        buffer = StreamingBuffer(tmp_path)
        buffer.append(b"x" * 4096)

        def use(buffer: StreamingBuffer = buffer) -> None:
            while not buffer.closed:
                buffer.append(b"x" * 4096)
                assert set(buffer.read_at(0, 4096)) <= {ord("x")}

        using = [aside(use), aside(buffer.close), aside(buffer.close)]
        for future in using:
            future.result(SOON)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(buffer._reader)
        assert not buffer.path.exists()
    os.close(guard)


def test_the_cap_is_an_error_to_the_writer(tmp_path):
    with StreamingBuffer(tmp_path, max_bytes=10) as buffer:
        buffer.append(b"0123456789")
        with pytest.raises(StreamTooLargeError, match="10 bytes may be kept"):
            buffer.append(b"x")
        assert buffer.read() == b"0123456789"


FULL_DISK = """
import errno, resource, sys
from streaming.buffer import StreamingBuffer
from streaming.errors import StreamTooLargeError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with StreamingBuffer(sys.argv[1]) as buffer:
    buffer.append(bytes(60_000))
    try:
        buffer.append(bytes(60_000))
    except StreamTooLargeError as error:
        buffer.close_writer()
        print(len(buffer.read()), buffer.read(), error)
"""


@posix
def test_a_file_that_may_grow_no_more_is_an_error_to_the_writer(tmp_path):
    """A limit of the process stands for a full disk: the system refuses the write in the same way."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.startswith("60000 b'' the stream cannot be kept after 60,000 bytes: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is not here")
def test_a_full_disk_is_an_error_to_the_writer(buffer):
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, buffer._writer)  # the file of the writer is on a disk that is full, from here on
    os.close(full)
    with pytest.raises(StreamTooLargeError, match="the disk is full"):
        buffer.append(b"abc")
    assert buffer.written == 0
    buffer.path.unlink()


def test_append_waits_for_the_reader_by_option(tmp_path, aside):
    with StreamingBuffer(tmp_path, max_unread=4) as buffer:
        buffer.append(b"0123")
        buffer.append(b"45")
        appending = aside(buffer.append, b"67")
        waits(appending, buffer)
        buffer.read(1)
        with pytest.raises(NotYet):
            appending.result(0.02)
        buffer.read(1)
        appending.result(SOON)
        assert buffer.read() == b"234567"


@pytest.mark.parametrize("release", [StreamingBuffer.close, StreamingBuffer.lift_max_unread])
def test_a_writer_that_waits_is_woken(tmp_path, aside, release: Callable[[StreamingBuffer], None]):
    with StreamingBuffer(tmp_path, max_unread=0) as buffer:
        buffer.append(b"0123")
        appending = aside(buffer.append, b"4")
        waits(appending, buffer)
        release(buffer)
        appending.result(SOON)


linux = pytest.mark.skipif(sys.platform != "linux", reason="holes are made on Linux alone")


@linux
def test_discarded_blocks_go_back_to_the_disk_and_count_no_more(tmp_path):
    with StreamingBuffer(tmp_path, max_bytes=3 << 20) as buffer:
        for _ in range(20):
            buffer.append(bytes(1 << 20))
            while buffer.tell() < buffer.written:
                buffer.read(1 << 20)
            buffer.discard(buffer.tell())
        os.fsync(buffer._writer)
        assert buffer.written == 20 << 20
        assert buffer.path.stat().st_blocks * 512 < 3 << 20


@linux
def test_what_was_discarded_cannot_be_read(buffer):
    buffer.append(b"x" * 10_000)
    buffer.discard(9_000)
    assert buffer.discarded == 8192
    assert buffer.read_at(8192, 2) == b"xx"
    with pytest.raises(OSError, match="discarded"):
        buffer.read(1)


def test_nothing_that_has_not_come_is_discarded(buffer):
    buffer.append(b"x" * 5000)
    buffer.discard(1 << 40)
    assert buffer.discarded <= 5000
    buffer.append(b"y" * 5000)
    assert buffer.read_at(5000, 2) == b"yy"


def test_a_file_system_without_holes_keeps_all(buffer, monkeypatch):
    monkeypatch.setattr("streaming.buffer.punch_hole", lambda *_: False)
    buffer.append(b"x" * 10_000)
    buffer.discard(9_000)
    assert buffer.discarded == 0
    assert buffer.read() == b"x" * 10_000


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.lists(st.binary(max_size=300), max_size=20),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5),
)
def test_what_goes_in_comes_out_whatever_the_sizes(tmp_path, chunks: list[bytes], sizes: list[int]):
    with StreamingBuffer(tmp_path, max_unread=64) as buffer:

        def write() -> None:
            for chunk in chunks:
                buffer.append(chunk)
            buffer.close_writer()

        writer = threading.Thread(target=write)
        writer.start()
        got = []
        while data := buffer.read(sizes[len(got) % len(sizes)]):
            got.append(data)
        writer.join(SOON)
    assert b"".join(got) == b"".join(chunks)
