"""A web server on loopback that does what a test tells it, also what no good one does."""

import contextlib
import email.utils
import hashlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Answer:
    """What is sent for one request; None leaves a header out."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stop_after: int | None = None
    """Bytes of the body after which the connection is cut."""
    stall_after: int | None = None
    """Bytes of the body after which nothing more comes, for as long as the test runs."""
    chunked: bool = False
    no_length: bool = False
    """The body ends with the connection."""
    piece: int = 1 << 16
    """Bytes that are sent at once."""
    pause_s: float = 0.0
    """After each piece."""


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    """Path and query, as they came."""
    headers: Mapping[str, str]
    """Names in lower case."""


class WebServer(ThreadingHTTPServer):
    """Answers by a function; remembers what was asked."""

    daemon_threads = True

    def __init__(
        self,
        answer: Callable[[Request], Answer],
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__((host, 0), _Handler)
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.closing = threading.Event()
        self.url = f"http{'s' if tls else ''}://{host}:{self.server_address[1]}"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def asked(self, method: str | None = None) -> list[Request]:
        return [request for request in self.requests if method in {None, request.method}]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that leave early are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def handle_one_request(self) -> None:
        """Take one request of any method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(self.command, self.path, headers)
        self.server.requests.append(request)
        self._send(self.server.answer(request))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = dict(answer.headers)
        if answer.chunked:
            headers["Transfer-Encoding"] = "chunked"
        headers.setdefault("Content-Length", str(len(answer.body)))
        if answer.chunked or answer.no_length:
            del headers["Content-Length"]
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(answer)

    def _send_body(self, answer: Answer) -> None:
        end = min(n for n in (answer.stop_after, answer.stall_after, len(answer.body)) if n is not None)
        for start in range(0, end, answer.piece):
            piece = answer.body[start : min(start + answer.piece, end)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if answer.chunked else piece)
            self.server.closing.wait(answer.pause_s)
        if answer.stall_after is not None:
            self.server.closing.wait(60)
        if answer.stop_after is not None or answer.no_length:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif answer.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(answer: Callable[[Request], Answer], host: str = "127.0.0.1") -> Iterator[WebServer]:
    server = WebServer(answer, host)
    try:
        yield server
    finally:
        server.close()


def etag_of(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def file_answer(request: Request, content: bytes, etag: str | None = None) -> Answer:
    """Answer as a good server does for a file: ETag, ranges, If-Range."""
    etag = etag or etag_of(content)
    headers = {"ETag": etag, "Accept-Ranges": "bytes"}
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match and request.headers.get("if-range", etag) == etag:
        first = int(match[1])
        last = min(int(match[2] or len(content) - 1), len(content) - 1)
        if first >= len(content):
            return Answer(416, {**headers, "Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Answer(206, headers, content[first : last + 1])
    return Answer(200, headers, content)


def http_date(seconds_from_now: float) -> str:
    return email.utils.formatdate(time.time() + seconds_from_now, usegmt=True)


def folder_answer(root: Path) -> Callable[[Request], Answer]:
    """Serve the files of a folder, as a web server does that lists nothing."""

    def answer(request: Request) -> Answer:
        path = root / unquote(request.target.partition("?")[0]).lstrip("/")
        return file_answer(request, path.read_bytes()) if path.is_file() else Answer(404)

    return answer
