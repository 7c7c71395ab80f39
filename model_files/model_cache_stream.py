"""One file from a model cache, piece by piece: checked as it comes, and given up when nothing comes."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

from model_files.model_cache_channel import import_contract, import_grpc
from model_files.model_cache_chunks import Chunk, ChunkCheck
from model_files.model_cache_errors import error_of, stalled
from model_files.names import check_path

if TYPE_CHECKING:
    import grpc

    from protos.generated.model_management_pb2 import ModelFileRequest


def request_of(model_id: str, file_path: str) -> "ModelFileRequest":
    """Return the request for a file.

    Raises:
        InvalidReferenceError: a name leads out of its folder, or cannot be a name everywhere.
    """
    messages = import_contract("model_management_pb2")
    request: ModelFileRequest = messages.ModelFileRequest(
        model_id=check_path(model_id), file_path=check_path(file_path)
    )
    return request


class FileStream:
    """The pieces of one file, in order; the empty ones are left out. Ends with the whole file, or raises."""

    def __init__(self, call: Iterator[Chunk], check: ChunkCheck, uri: str, guard: "StallGuard") -> None:
        self._call = call
        self._check = check
        self._uri = uri
        self._guard = guard
        self._grpc = import_grpc()
        self._begun: list[bytes] = [self._receive() or b""]

    @property
    def total(self) -> int:
        """The file's size in bytes, as the server announces it."""
        assert self._check.total is not None
        return self._check.total

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        piece: bytes | None = self._begun.pop() if self._begun else b""
        while piece == b"":
            piece = self._receive()
        if piece is None:
            raise StopIteration
        return piece

    def _receive(self) -> bytes | None:
        """Return the next chunk's bytes; None after the last."""
        try:
            with self._guard.waiting():
                chunk = next(self._call, None)
        except self._grpc.RpcError as exc:
            if self._guard.has_struck:
                raise stalled(self._uri, self._guard.stall_s) from None
            raise error_of(exc, self._uri) from None
        if chunk is None:
            self._check.end()
            return None
        return self._check.take(chunk)


@contextlib.contextmanager
def open_stream(
    channel: "grpc.Channel",
    request: "ModelFileRequest",
    uri: str,
    stall_s: float,
    *,
    max_bytes: int | None = None,
    deadline_s: float | None = None,
) -> Iterator[FileStream]:
    """Ask for a file, and give its stream when the first chunk is there; leaving ends the call.

    Args:
        channel: to the server.
        request: names the file.
        uri: of the file, for the texts of errors.
        stall_s: seconds without a chunk after which it is given up.
        max_bytes: what the file may have.
        deadline_s: seconds that all of it may take.

    Raises:
        MissingFileError: there is no such file.
        SourceUnavailableError: the server cannot be reached, or broke off; the stream raises it too.
        SourceFailedError: it refuses, or its chunks are not those of a file; the stream raises it too.
        FileTooLargeError: the file has more than `max_bytes`.
    """
    services = import_contract("model_management_pb2_grpc")
    call = services.ModelManagementServiceStub(channel).GetModelFile(request, timeout=deadline_s)
    try:
        with StallGuard(stall_s, call.cancel) as guard:
            yield FileStream(call, ChunkCheck(uri, max_bytes), uri, guard)
    finally:
        call.cancel()


class StallGuard:
    """Ends a call when one piece has been waited for too long; the time in between is the caller's own.

    A thread of its own does that: a synchronous call takes a deadline for the whole of it only.
    """

    def __init__(self, stall_s: float, cancel: Callable[[], object]) -> None:
        self.stall_s = stall_s
        self.has_struck = False
        """The call was ended for it."""
        self._cancel = cancel
        self._waiting_since: float | None = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="stall", daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time in which a piece is waited for."""
        self._waiting_since = time.monotonic()
        try:
            yield
        finally:
            self._waiting_since = None

    def _watch(self) -> None:
        left = self.stall_s
        while not self._over.wait(left):
            now = time.monotonic()
            # Whoever begins to wait now has all of his time before the next look.
            since = self._waiting_since or now
            left = since + self.stall_s - now
            if left <= 0:
                self.has_struck = True
                self._cancel()
                return
