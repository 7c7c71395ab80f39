"""Small files straight from a model cache, over a channel that the caller has: `RustFileProvider`."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from model_files.model_cache_channel import import_contract, import_grpc
from model_files.model_cache_chunks import ChunkCheck
from model_files.model_cache_errors import error_of, stalled
from model_files.model_cache_stream import open_stream, request_of

if TYPE_CHECKING:
    import grpc

    SyncChannel = grpc.Channel
    AsyncChannel = grpc.aio.Channel

ChannelT = TypeVar("ChannelT", "SyncChannel", "AsyncChannel")


class RustFileProvider(Generic[ChannelT]):
    """Gets files over a `grpc.Channel`, or, as a coroutine, over a `grpc.aio.Channel`.

    Nothing is cached, nothing tried again, and the channel stays the caller's. A model's files on disk,
    fetched once and kept, are what `Providers` is for.
    """

    def __init__(
        self,
        channel: ChannelT,
        *,
        max_file_bytes: int = 256 << 20,
        stall_s: float = 30.0,
        deadline_s: float | None = None,
    ) -> None:
        """Set it up; nothing is sent yet.

        Args:
            channel: to the server.
            max_file_bytes: what a file may have: all of it is held in memory.
            stall_s: seconds without a chunk after which a file is given up.
            deadline_s: seconds that a whole file may take; None sets no limit.
        """
        self._channel: SyncChannel | AsyncChannel = channel
        self._max_file_bytes = max_file_bytes
        self._stall_s = stall_s
        self._deadline_s = deadline_s

    @overload
    def get_file(self: "RustFileProvider[SyncChannel]", model_id: str, file_path: str) -> bytes: ...
    @overload
    def get_file(
        self: "RustFileProvider[AsyncChannel]", model_id: str, file_path: str
    ) -> Coroutine[Any, Any, bytes]: ...
    def get_file(self, model_id: str, file_path: str) -> bytes | Coroutine[Any, Any, bytes]:
        """Return a file's bytes; over an asyncio channel a coroutine does.

        Args:
            model_id: "owner/name" or "name".
            file_path: the file in it, "/" between folders.

        Raises:
            InvalidReferenceError: a name cannot be one.
            MissingFileError: there is no such file.
            FileTooLargeError: it has more than `max_file_bytes`.
            SourceUnavailableError: the server cannot be reached, broke off or took too long; the same may
                work a moment later.
            SourceFailedError: the server refuses, or what it sends is not a file.
        """
        if isinstance(self._channel, import_grpc().aio.Channel):
            return self._get_file_async(model_id, file_path)
        return self._get_file(model_id, file_path)

    def _get_file(self, model_id: str, file_path: str) -> bytes:
        request = request_of(model_id, file_path)
        with open_stream(
            cast("SyncChannel", self._channel),
            request,
            _uri(model_id, file_path),
            self._stall_s,
            max_bytes=self._max_file_bytes,
            deadline_s=self._deadline_s,
        ) as stream:
            return b"".join(stream)

    async def _get_file_async(self, model_id: str, file_path: str) -> bytes:
        request, uri = request_of(model_id, file_path), _uri(model_id, file_path)
        check = ChunkCheck(uri, self._max_file_bytes)
        grpc, services = import_grpc(), import_contract("model_management_pb2_grpc")
        call = services.ModelManagementServiceStub(self._channel).GetModelFile(
            request, timeout=self._deadline_s
        )
        pieces = []
        try:
            while True:
                # Not `wait_for`: before Python 3.12 that loses a cancellation that comes with a chunk.
                async with asyncio.timeout(self._stall_s):
                    chunk = await call.read()
                if chunk is grpc.aio.EOF:
                    break
                pieces.append(check.take(chunk))
        except TimeoutError:
            raise stalled(uri, self._stall_s) from None
        except grpc.RpcError as exc:
            raise error_of(exc, uri) from None
        finally:
            call.cancel()
        check.end()
        return b"".join(pieces)


def _uri(model_id: str, file_path: str) -> str:
    return f"modelcache://{model_id}/{file_path}"
