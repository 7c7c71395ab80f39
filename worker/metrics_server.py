"""`GET /metrics` for a Prometheus on the same machine, on threads of its own."""

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from worker import prometheus
from worker.metrics import MetricsSnapshot

log = logging.getLogger(__name__)

HOST = "127.0.0.1"

CONNECTIONS_AT_MOST = 4
"""Where one more comes the oldest is closed, so that idle ones never keep a scrape out."""

_CLIENT_TIMEOUT_S = 5.0
_SNAPSHOT_TIMEOUT_S = 2.0
"""How long the event loop may take; beyond it something is wrong there, and 503 says so."""

_REST_S = 0.5
"""After a failed accept: where descriptors have run out the next one would fail at once."""


class MetricsServer:
    """Serves the metrics until it is closed or the process ends."""

    def __init__(
        self, port: int, snapshot: Callable[[], MetricsSnapshot], loop: asyncio.AbstractEventLoop
    ) -> None:
        """Bind the port and begin to serve.

        Args:
            port: of 127.0.0.1; 0 takes a free one.
            snapshot: makes a snapshot; called on the event loop.
            loop: that event loop.

        Raises:
            MetricsUnavailableError: the Prometheus library is not installed.
            OSError: the port cannot be had.
        """
        prometheus.require()
        try:
            self._server = _Server(port, LoopSnapshots(snapshot, loop))
        except OSError as exc:
            text = f"metrics cannot be served on {HOST}:{port}: {exc.strerror or exc}"
            raise OSError(exc.errno, text) from exc
        self.port: int = self._server.server_address[1]
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        self._closing = True
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1.0):
            pass  # `_serve` waits without a timeout, so as not to wake an idle worker
        self._thread.join(timeout=1.0)
        self._server.server_close()
        self._server.connections.close_all()

    def _serve(self) -> None:
        while not self._closing:
            self._server.handle_request()


class LoopSnapshots:
    """Gets snapshots from the event loop for other threads."""

    def __init__(self, snapshot: Callable[[], MetricsSnapshot], loop: asyncio.AbstractEventLoop) -> None:
        self._snapshot = snapshot
        self._loop = loop

    def take(self) -> MetricsSnapshot:
        """Wait for a snapshot.

        Raises:
            TimeoutError: the loop did not come to it, or has ended.
        """
        future: Future[MetricsSnapshot] = Future()
        try:
            self._loop.call_soon_threadsafe(self._fulfil, future)
        except RuntimeError as exc:
            raise TimeoutError("the loop has ended") from exc
        try:
            return future.result(_SNAPSHOT_TIMEOUT_S)
        finally:
            future.cancel()

    def _fulfil(self, future: Future[MetricsSnapshot]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._snapshot())
        except Exception as error:  # noqa: BLE001 - the boundary of this scrape
            future.set_exception(error)


class _Connections:
    """The open connections, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[socket.socket, None] = {}

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            while len(self._open) >= CONNECTIONS_AT_MOST:
                self._end(next(iter(self._open)))
            self._open[connection] = None

    def remove(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.pop(connection, None)

    def close_all(self) -> None:
        with self._lock:
            for connection in list(self._open):
                self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        """Wake its thread, which then closes it."""
        del self._open[connection]
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One request a connection."""

    server: "_Server"
    timeout = _CLIENT_TIMEOUT_S
    server_version = "inferpipe"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self._answer(HTTPStatus.NOT_FOUND, "the metrics are at /metrics\n")
            return
        try:
            text = prometheus.render(self.server.snapshots.take())
        except TimeoutError:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "the worker does not answer\n")
        except Exception:  # the boundary of this scrape
            log.exception("the metrics cannot be told")
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the metrics cannot be told\n")
        else:
            self._answer(HTTPStatus.OK, text, prometheus.CONTENT_TYPE)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Write nothing: a scrape every few seconds is no news."""

    def _answer(self, status: HTTPStatus, text: str, content_type: str = "text/plain; charset=utf-8") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingMixIn, TCPServer):
    """Not `http.server`'s, which looks its own name up in the DNS at the start."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16
    allow_reuse_address = os.name == "posix"  # on Windows it would take a port that is in use

    def __init__(self, port: int, snapshots: LoopSnapshots) -> None:
        self.snapshots = snapshots
        self.connections = _Connections()
        super().__init__((HOST, port), _Handler)

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except OSError:
            time.sleep(_REST_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what the base class would print; most often the client has gone away."""
        log.debug("a metrics connection failed", exc_info=True)
