"""What the tests of HTTP share: a server a test, and a source with its settings."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from model_servers.web import Answer, Request, WebServer, etag_of, file_answer

from model_files.http import HttpSource
from model_files.settings import HttpSettings, ProviderSettings
from model_files.source import RemoteFile

CONTENT = bytes(range(256)) * 2000
ETAG = etag_of(CONTENT)

Serve = Callable[..., WebServer]


@contextlib.contextmanager
def servers() -> Iterator[Serve]:
    """Start servers that answer by a function, on any loopback address; all end with the context."""
    started: list[WebServer] = []

    def start(answer: Callable[[Request], Answer], host: str = "127.0.0.1") -> WebServer:
        started.append(WebServer(answer, host))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.close()


def source(stall_s: float = 5.0, **headers: str) -> HttpSource:
    return HttpSource(ProviderSettings(cache_dir=Path("unused"), stall_s=stall_s, http=HttpSettings(headers)))


def take(
    source: HttpSource, file: RemoteFile, offset: int = 0, validator: str | None = None
) -> tuple[int, bytes]:
    with source.fetch(file, offset, validator) as transfer:
        return transfer.offset, b"".join(transfer.chunks)


def good(request: Request) -> Answer:
    return file_answer(request, CONTENT)


def always(answer: Answer) -> Callable[[Request], Answer]:
    return lambda request: answer
