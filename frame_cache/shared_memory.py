"""`SharedRegion`: a file that the host names, and that pictures are read from.

A memfd that is sealed against shrinking, and any file that the host vouches for, is read in
place; every other one by one copy into leased memory. Nobody gives a region back by hand: its
users are whoever holds it, as with the memory of `BufferPool`.
"""

import mmap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from frame_cache.errors import RegionError
from frame_cache.region_file import RegionFile
from preprocess.buffers import BufferPool


class _View(np.ndarray[tuple[int], np.dtype[np.uint8]]):
    """The exporter of bytes in place, kept alive by every view of them; holds the file for them.

    Views are made through its memoryview alone, for the reason that `BufferPool` has.
    """

    file: RegionFile


@dataclass(frozen=True, slots=True, eq=False)
class RegionUse:
    """A range of a region that a request reads.

    It is a user of the region for as long as it exists, and so is every view of the region's own
    memory that it gave out.
    """

    _file: RegionFile
    _offset: int
    _size: int
    _pool: BufferPool

    def read(self) -> memoryview:
        """Return the bytes, uint8 and read-only: the region's own where it is mapped, else a copy.

        For any thread but the event loop's: it asks the system for the file, and may copy.

        Raises:
            RegionError: the file has shrunk, is gone, or another one has its name.
        """
        self._file.check(self._offset + self._size)
        memory = self._file.memory
        return self._copied() if memory is None else self._in_place(memory)

    def _in_place(self, memory: mmap.mmap) -> memoryview:
        view = _View(self._size, np.uint8, memory, self._offset)
        view.file = self._file
        return view.data

    def _copied(self) -> memoryview:
        copy = self._pool.lease(self._size)
        self._file.read_into(copy, self._offset)
        return copy.toreadonly()


class SharedRegion:
    """An attached region. `use` and `retire` belong to one thread; users may end in any."""

    def __init__(self, file: RegionFile, size: int, pool: BufferPool) -> None:
        self._file: RegionFile | None = file
        self._size = size
        self._pool = pool
        self._mapped = file.memory is not None

    @classmethod
    def open(cls, path: str, size: int, trusted: bool, pool: BufferPool) -> "SharedRegion":
        """Open a region, read-only; may wait for as long as its file system does.

        Args:
            path: of a regular file, or of a process's descriptor: /proc/<pid>/fd/<n>.
            size: bytes of the region, at least 1; the file may be longer.
            trusted: read in place whatever file it is; should the host shorten it during a
                reading, the process may end.
            pool: where the memory for copies comes from.

        Raises:
            RegionUnreachableError: the path of a descriptor leads nowhere, or is forbidden.
            RegionError: it is no regular file, too short, or cannot be opened or mapped.
        """
        if size < 1:
            raise RegionError(f"a region has at least 1 byte, not {size}")
        return cls(RegionFile.open(path, size, trusted), size, pool)

    @property
    def mapped(self) -> bool:
        """Whether pictures are read in place."""
        return self._mapped

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    def use(self, offset: int, size: int) -> RegionUse:
        """Become a user of `size` bytes from `offset` on; asks the system for nothing.

        Raises:
            RegionError: the range does not lie within the region, or the region is detached.
        """
        file = self._held()
        if offset < 0 or size < 0 or offset + size > self._size:
            raise RegionError(
                f"bytes {offset} to {offset + size} do not lie within the region of {self._size} bytes"
            )
        return RegionUse(file, offset, size, self._pool)

    def retire(self, on_unused: Callable[[], None]) -> None:
        """Take no further user, and close the file when the last one is gone.

        Args:
            on_unused: called once, in the thread that the last user ends in: within this call
                if there is none. It must neither wait nor raise.

        Raises:
            RegionError: the region is detached already.
        """
        file = self._held()
        file.on_unused = on_unused
        self._file = None

    def _held(self) -> RegionFile:
        if self._file is None:
            raise RegionError("the region is detached")
        return self._file
