"""A double of a model cache's server, for faults that the real one (hosts/rust/model-cache) cannot make."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from protos.generated import model_management_pb2_grpc as services
from protos.generated.model_management_pb2 import ModelFileChunk, ModelFileRequest

Chunks = Iterator[ModelFileChunk]
Answer = Callable[[ModelFileRequest, Any], Chunks]
"""What is streamed for one request; given the call's context too, which can abort it."""


def chunk(offset: int, data: bytes, total: int, *, is_last: bool = False) -> ModelFileChunk:
    return ModelFileChunk(data=data, offset=offset, total_size=total, is_last=is_last)


def file_chunks(content: bytes, size: int = 100) -> Chunks:
    """Yield the chunks of a file as a good server does."""
    for offset in range(0, max(len(content), 1), size):
        piece = content[offset : offset + size]
        yield chunk(offset, piece, len(content), is_last=offset + size >= len(content))


class ModelCacheDouble(services.ModelManagementServiceServicer):
    """Answers by a function, on loopback; remembers what was asked."""

    def __init__(
        self,
        answer: Answer,
        *,
        credentials: grpc.ServerCredentials | None = None,
        max_message_bytes: int = -1,
    ) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []
        self.left = threading.Event()
        """A client has left a call, or a call has come to its end."""
        self.closing = threading.Event()
        options = [("grpc.max_send_message_length", max_message_bytes), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(8), options=options)
        services.add_ModelManagementServiceServicer_to_server(self, self._server)
        self.target = f"127.0.0.1:{self._listen(credentials)}"
        self._server.start()

    def GetModelFile(self, request: ModelFileRequest, context: Any) -> Chunks:
        self.asked.append((request.model_id, request.file_path))
        context.add_callback(self.left.set)
        return self.answer(request, context)

    def _listen(self, credentials: grpc.ServerCredentials | None) -> int:
        if credentials is None:
            return self._server.add_insecure_port("127.0.0.1:0")
        return self._server.add_secure_port("127.0.0.1:0", credentials)

    def close(self) -> None:
        self.closing.set()
        self._server.stop(grace=None).wait()

    def stall(self, context: Any) -> None:
        """Send nothing until the client leaves or the test ends."""
        while context.is_active() and not self.closing.is_set():
            time.sleep(0.01)
