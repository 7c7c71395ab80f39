"""Whether the chunks of a stream are one whole file. Pure."""

from typing import Protocol

from model_files.errors import FileTooLargeError, SourceFailedError


class Chunk(Protocol):
    """`ml.ModelFileChunk` (protos/model_management.proto)."""

    data: bytes
    offset: int
    total_size: int
    is_last: bool


class ChunkCheck:
    """Takes the chunks of one stream in the order in which they come, and finds what is wrong with them."""

    def __init__(self, uri: str, max_bytes: int | None = None) -> None:
        """Begin with nothing.

        Args:
            uri: of the file, for the texts of errors.
            max_bytes: what a file may have; None sets no limit.
        """
        self._uri = uri
        self._max_bytes = max_bytes
        self._received = 0
        self._is_whole = False
        self.total: int | None = None
        """The file's size in bytes; None before the first chunk."""

    def take(self, chunk: Chunk) -> bytes:
        """Return the bytes of the next chunk.

        Raises:
            SourceFailedError: it cannot be the next one of a file.
            FileTooLargeError: the file is larger than allowed.
        """
        if self.total is None:
            self._begin(chunk.total_size)
        data = chunk.data  # each look at it makes a copy
        fault = self._fault_of(chunk, len(data))
        if fault is not None:
            raise self._failed(fault)
        self._received += len(data)
        self._is_whole = chunk.is_last
        return data

    def end(self) -> None:
        """Take note that the stream has ended, without an error of its own.

        Raises:
            SourceFailedError: the file is not whole.
        """
        if not self._is_whole:
            raise self._failed(f"it ended after {self._received} bytes without a last chunk")

    def _begin(self, total: int) -> None:
        if total < 0:
            raise self._failed(f"a size of {total} bytes")
        if self._max_bytes is not None and total > self._max_bytes:
            raise FileTooLargeError(f"{self._uri} has {total} bytes, and {self._max_bytes} are allowed")
        self.total = total

    def _fault_of(self, chunk: Chunk, size: int) -> str | None:
        end = self._received + size
        assert self.total is not None
        if self._is_whole:
            return "a chunk after the last one"
        if chunk.total_size != self.total:
            return f"a size of {chunk.total_size} bytes after one of {self.total}"
        if chunk.offset != self._received:
            return f"a chunk for byte {chunk.offset} where {self._received} comes next"
        if end > self.total:
            return f"{end} bytes of a file of {self.total}"
        if chunk.is_last and end < self.total:
            return f"the last chunk ends at byte {end} of {self.total}"
        # Many of these would go on for ever, and no time-out notices.
        return None if size or chunk.is_last else "a chunk of no bytes that is not the last"

    def _failed(self, fault: str) -> SourceFailedError:
        return SourceFailedError(f"{self._uri}: the model cache sent a broken stream: {fault}")
