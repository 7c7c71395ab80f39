"""A growing file: one thread writes at its end, another reads it as an ordinary file."""

import errno
import io
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TypeAlias

from streaming.errors import StreamTooLargeError
from streaming.holes import punch_hole
from streaming.temp_files import create, own_folder, unlink_same

Data: TypeAlias = bytes | bytearray | memoryview

_BLOCK = 4096
"""Holes begin and end at multiples of this; a part of a block frees nothing."""

_DISK_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT if sys.platform != "win32" else errno.ENOSPC: "the disk quota is used up",
    errno.EFBIG: "the file system, or a limit of this process, allows no larger file",
}


class StreamingBuffer:
    """A file-like object over a temporary file, for one writer and one reader in different threads.

    Each has a descriptor of its own, and both work on after the file was renamed. The file is read and
    written without a lock held. Any thread may close it.
    """

    def __init__(
        self,
        temp_dir: str | Path | None = None,
        *,
        keep: bool = False,
        max_bytes: int | None = None,
        max_unread: int | None = None,
    ) -> None:
        """Create the file, locked while this is open (see `streaming.temp_files`).

        Args:
            temp_dir: the file lies in the user's own folder in this one; None: the system's for
                temporary files.
            keep: leave the file where it is on `close`; otherwise it is removed.
            max_bytes: what may be kept on the disk; None: no limit.
            max_unread: `append` waits while more bytes than this are behind the reader's position;
                None: it never waits.

        Raises:
            OSError: the file cannot be made.
        """
        folder = own_folder(None if temp_dir is None else Path(temp_dir))
        self._writer, self._path = create(folder, keep=keep)
        try:
            self._reader = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            os.close(self._writer)
            raise
        self._keep = keep
        self._max_bytes = max_bytes
        self._max_unread = max_unread
        self._changed = threading.Condition()
        self._written = 0
        self._position = 0
        self._discarded = 0
        self._ended = False
        self._closed = False
        self._users = 0  # calls that use a descriptor now: the last one out closes them
        self._can_discard = True

    @property
    def path(self) -> Path:
        """Where the file was created; it may have been renamed since."""
        return self._path

    @property
    def written(self) -> int:
        """Bytes that were appended and can be read."""
        return self._written

    @property
    def discarded(self) -> int:
        """Bytes at the beginning that were given back, and cannot be read any more."""
        return self._discarded

    @property
    def ended(self) -> bool:
        """Whether the writer has closed."""
        return self._ended

    @property
    def closed(self) -> bool:
        return self._closed

    def append(self, data: Data) -> None:
        """Add bytes at the end: all of them, or none where it fails.

        Waits where `max_unread` says so. Does nothing once this is closed.

        Raises:
            StreamTooLargeError: more than `max_bytes` would be kept, or the disk is full.
            OSError: the file cannot be written.
            ValueError: after `close_writer`.
        """
        view = memoryview(data).cast("B")
        with self._changed:
            if self._ended and not self._closed:
                raise ValueError("append after close_writer")
            self._changed.wait_for(self._has_room)
            self._check_cap(len(view))
        with self._open() as is_open:
            if not is_open:
                return
            try:
                _write_at(self._writer, view, self._written)
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
                raise StreamTooLargeError(self._full_text(_DISK_FULL[error.errno])) from error
            with self._changed:
                self._written += len(view)
                self._changed.notify_all()

    def close_writer(self) -> None:
        """There is no more data: the reader finds the end of the file. Any number of times."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def lift_max_unread(self) -> None:
        """Let `append` wait for the reader no more."""
        with self._changed:
            self._max_unread = None
            self._changed.notify_all()

    def read(self, size: int = -1) -> bytes:
        """Read what is there, `size` bytes at most (-1: all that is there), and wait only for the first.

        Returns:
            b"" at the end of the file, and once this is closed.

        Raises:
            OSError: the file cannot be read, or these bytes were discarded.
        """
        if size == 0:
            return b""
        with self._changed:
            self._changed.wait_for(lambda: self._written > self._position or self._ended or self._closed)
            position = self._position
        data = self.read_at(position, self._written - position if size < 0 else size)
        with self._changed:
            self._position = position + len(data)
            self._changed.notify_all()
        return data

    def read_at(self, offset: int, size: int) -> bytes:
        """Read what is there of these bytes, without waiting and without moving the reader.

        Raises:
            OSError: the file cannot be read, or these bytes were discarded.
        """
        size = min(size, self._written - offset)
        with self._open() as is_open:
            if not is_open or size <= 0:
                return b""
            if offset < self._discarded:
                raise OSError(errno.EINVAL, f"bytes before {self._discarded:,} were discarded")
            return _read_at(self._reader, size, offset)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the reader; SEEK_END waits until the writer has closed.

        Returns:
            Where it is now, in bytes from the beginning; beyond the end `read` waits for the data.

        Raises:
            ValueError: `whence` is none of the three, or the place is before the beginning.
        """
        with self._changed:
            if whence == io.SEEK_END:
                self._changed.wait_for(lambda: self._ended or self._closed)
            bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._written}
            if whence not in bases:
                raise ValueError(f"whence is {whence}; it is 0, 1 or 2")
            position = bases[whence] + offset
            if position < 0:
                raise ValueError(f"byte {position} is before the beginning")
            self._position = position
            self._changed.notify_all()
            return position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def wait(self, written: int) -> bool:
        """Wait until so many bytes are there, and tell whether they came before the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._written >= written or self._ended or self._closed)
            return self._written >= written and not self._closed

    def wait_for_end(self) -> None:
        """Wait until the writer has closed, or this is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._closed)

    def discard(self, before: int) -> None:
        """Give back the disk blocks of the bytes before this offset; they count no more to the cap.

        Does nothing where the system or the file system cannot, and nothing for what is not written yet.
        """
        with self._open() as is_open:
            start = self._discarded
            end = min(before, self._written) // _BLOCK * _BLOCK
            if not is_open or not self._can_discard or end <= start:
                return
            # Before the hole is made, so that nothing reads its zeros.
            self._discarded = end
            if not punch_hole(self._writer, start, end - start):
                self._can_discard = False
                self._discarded = start

    def close(self) -> None:
        """Wake the reader and the writer, and remove the file unless it is kept.

        From any thread, any number of times. A file that was renamed stays: it belongs to who renamed it.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
            if not self._keep and sys.platform != "win32":
                with suppress(OSError):
                    unlink_same(self._writer, self._path)
            idle = self._users == 0
        if idle:
            self._close_descriptors()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _open(self) -> Generator[bool, None, None]:
        """Keep the descriptors open for a call; gives False where they are closed already."""
        with self._changed:
            is_open = not self._closed
            self._users += is_open
        try:
            yield is_open
        finally:
            with self._changed:
                self._users -= is_open
                last = is_open and self._closed and self._users == 0
            if last:
                self._close_descriptors()

    def _close_descriptors(self) -> None:
        os.close(self._reader)
        os.close(self._writer)
        if not self._keep and sys.platform == "win32":  # untested; open files cannot be removed there
            with suppress(OSError):
                self._path.unlink()

    def _has_room(self) -> bool:
        unread = self._written - self._position
        return self._closed or self._max_unread is None or unread <= self._max_unread

    def _check_cap(self, size: int) -> None:
        kept = self._written - self._discarded
        if not self._closed and self._max_bytes is not None and kept + size > self._max_bytes:
            raise StreamTooLargeError(self._full_text(f"{self._max_bytes:,} bytes may be kept of it"))

    def _full_text(self, why: str) -> str:
        return f"the stream cannot be kept after {self._written:,} bytes: {why}"


def _write_at(descriptor: int, view: memoryview, offset: int) -> None:
    if sys.platform == "win32":  # untested; the writer's position is its own
        os.lseek(descriptor, offset, os.SEEK_SET)
        while view:
            view = view[os.write(descriptor, view) :]
        return
    while view:
        done = os.pwrite(descriptor, view, offset)
        view, offset = view[done:], offset + done


def _read_at(descriptor: int, size: int, offset: int) -> bytes:
    if sys.platform == "win32":  # untested; one reader, so that its position is its own
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)
    return os.pread(descriptor, size, offset)
