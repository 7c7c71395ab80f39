"""A blocking host that knows bytes and nothing else of the product: spawns a worker and talks to it.

Every wait has a deadline, so that a worker that hangs fails one test and not the run.
"""

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from wire import COMMAND, WITH_OPTIONS, options, packet

ROOT = Path(__file__).resolve().parent.parent
WORKER = (sys.executable, "-m", "worker")
DEADLINE_S = 60.0
"""For anything that ought to take milliseconds: the machine may be busy with something else."""

Answer = dict[str, Any]


class NoAnswerError(AssertionError):
    """The worker did not say, or do, what was waited for."""


class RawHost:
    """One worker process and the two ends of its pipe."""

    def __init__(self, process: subprocess.Popen[bytes], to_worker: int, from_worker: int) -> None:
        self.process = process
        self.ready: Answer = {}
        self.ended = False
        """The worker closed its answers."""
        self._to_worker: int | None = to_worker
        self._from_worker = from_worker
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._answers: dict[int, list[Answer]] = {}
        self._received: list[int] = []
        self._bytes = bytearray()
        self._stderr = bytearray()
        self._threads: list[threading.Thread] = []
        os.set_blocking(to_worker, False)
        if process.stderr is not None:
            self._start(self._read_stderr)

    @classmethod
    def spawn(
        cls,
        config: Mapping[str, Any] | None = None,
        *,
        transport: str = "pipe",
        command: Sequence[str] = WORKER,
        stderr: int = subprocess.PIPE,
        reads: bool = True,
        **popen: Any,
    ) -> Self:
        """Start a worker.

        Args:
            config: sent as the handshake, whose answer is waited for; None sends nothing.
            transport: "pipe", "socket" (one pair a direction, as Node has it), "one_socket", or
                "descriptors" (pipes that the command line names).
            command: how to start the worker.
            stderr: as for `subprocess`.
            reads: whether answers are read from the start; else from `read` on.
            popen: for `subprocess.Popen`.
        """
        ours_in, theirs_in, ours_out, theirs_out = _ENDS[transport]()
        streams: dict[str, Any] = {"stdin": theirs_in, "stdout": theirs_out}
        if transport == "descriptors":
            command = [*command, "--fd-in", str(theirs_in), "--fd-out", str(theirs_out)]
            streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            streams["pass_fds"] = (theirs_in, theirs_out)
        process = subprocess.Popen(command, stderr=stderr, **streams, **{"cwd": ROOT, **popen})
        for end in {theirs_in, theirs_out}:
            os.close(end)
        host = cls(process, ours_in, ours_out)
        if reads:
            host.read()
        if config is not None:
            host.ready = host.shake_hands(config)
        return host

    def read(self) -> None:
        """Begin to read answers."""
        self._start(self._read_answers)

    def shake_hands(self, config: Mapping[str, Any] | bytes, request_id: int = 0) -> Answer:
        """Send the configuration and wait for its answer."""
        self.send(packet(request_id, COMMAND, _as_json(config)))
        return self.answer(request_id)

    def send(self, data: bytes, deadline_s: float = DEADLINE_S) -> None:
        """Write all of these bytes."""
        view, until = memoryview(data), time.monotonic() + deadline_s
        with self._sending:
            while view:
                assert self._to_worker is not None, "stdin is closed"
                try:
                    view = view[os.write(self._to_worker, view) :]
                except BlockingIOError:
                    left = until - time.monotonic()
                    if left <= 0 or not select.select([], [self._to_worker], [], left)[1]:
                        raise NoAnswerError(f"the worker takes no bytes; {len(view)} left") from None

    def send_some(self, data: bytes, patience_s: float = 1.0) -> int:
        """Write as much as the worker takes until it takes nothing for so long; returns how much."""
        sent = 0
        while sent < len(data) and select.select([], [self._to_worker], [], patience_s)[1]:
            assert self._to_worker is not None
            sent += os.write(self._to_worker, memoryview(data)[sent : sent + 65536])
        return sent

    def next_id(self) -> int:
        return next(self._ids)

    def packet(self, type_byte: int, payload: bytes | Mapping[str, Any]) -> tuple[int, bytes]:
        """Return a new id and a packet that carries it."""
        request_id = self.next_id()
        return request_id, packet(request_id, type_byte, _as_json(payload))

    def request(self, type_byte: int, payload: bytes | Mapping[str, Any], request_options: Any = None) -> int:
        """Send a request under a new id, and return the id."""
        if request_options is not None:
            assert isinstance(payload, bytes)
            type_byte, payload = type_byte | WITH_OPTIONS, options(request_options, payload)
        request_id, data = self.packet(type_byte, payload)
        self.send(data)
        return request_id

    def ask(self, type_byte: int, payload: bytes | Mapping[str, Any], request_options: Any = None) -> Answer:
        """Send a request and wait for its answer."""
        return self.answer(self.request(type_byte, payload, request_options))

    def command(self, cmd: str, **fields: Any) -> Answer:
        """Send a command and wait for its answer."""
        return self.ask(COMMAND, {"cmd": cmd, **fields})

    def together(self, *requests: tuple[int, bytes | Mapping[str, Any]]) -> list[Answer]:
        """Send requests in one write, and wait for all answers; they are returned in this order."""
        packets = [self.packet(type_byte, payload) for type_byte, payload in requests]
        self.send(b"".join(data for _, data in packets))
        return [self.answer(request_id) for request_id, _ in packets]

    def answer(self, request_id: int, deadline_s: float = DEADLINE_S) -> Answer:
        """Wait for the answer to a request, and take it."""
        self._wait(lambda: bool(self._answers.get(request_id)), f"no answer to {request_id}", deadline_s)
        return self._answers[request_id].pop(0)

    def is_answered(self, request_id: int) -> bool:
        """Tell whether an answer waits to be taken."""
        return bool(self._answers.get(request_id))

    @property
    def received(self) -> list[int]:
        """The ids of all answers so far, in the order of arrival."""
        return list(self._received)

    def untaken(self) -> dict[int, list[Answer]]:
        """Return the answers that nobody waited for."""
        return {request_id: answers for request_id, answers in self._answers.items() if answers}

    def close_stdin(self) -> None:
        """End the requests."""
        if self._to_worker is not None:
            if self._to_worker == self._from_worker:
                with socket.socket(fileno=os.dup(self._to_worker)) as end:
                    end.shutdown(socket.SHUT_WR)
            else:
                os.close(self._to_worker)
            self._to_worker = None

    def close_stdout(self) -> None:
        """Stop reading for good. Only where `reads` was False: a reader holds the descriptor."""
        os.close(self._from_worker)
        self._from_worker = -1

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for the worker's end, and return its exit status."""
        try:
            status = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise NoAnswerError(f"still running after {deadline_s:.0f} s; {self.stderr}") from None
        for thread in self._threads:
            thread.join(deadline_s)
        return status

    def finish(self) -> int:
        """Close stdin and wait for the end."""
        self.close_stdin()
        return self.wait()

    @property
    def stderr(self) -> str:
        return self._stderr.decode("utf-8", "replace")

    def wait_for_bytes(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until there is something to read, without reading it."""
        if not select.select([self._from_worker], [], [], deadline_s)[0]:
            raise NoAnswerError(f"no byte; stderr: {self.stderr}")

    def wait_ended(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until nobody holds the answers' end of the pipe."""
        until = time.monotonic() + deadline_s
        with self._changed:
            while not self.ended:
                if time.monotonic() > until:
                    raise NoAnswerError(f"the answers are still open; stderr: {self.stderr}")
                self._changed.wait(0.5)

    def wait_stderr(self, text: str, deadline_s: float = DEADLINE_S) -> None:
        self._wait(lambda: text in self.stderr, f"no {text!r} on stderr", deadline_s)

    @property
    def resident_bytes(self) -> int:
        """The worker's memory now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def destroy(self) -> None:
        """End the worker whatever it does, and close everything."""
        if self._to_worker is not None and self._to_worker != self._from_worker:
            os.close(self._to_worker)
        self._to_worker = None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        if self._from_worker >= 0:
            os.close(self._from_worker)
            self._from_worker = -1
        if self.process.stderr is not None:
            self.process.stderr.close()

    def _wait(self, is_so: Callable[[], bool], otherwise: str, deadline_s: float) -> None:
        until = time.monotonic() + deadline_s
        with self._changed:
            while not is_so():
                left = until - time.monotonic()
                if left <= 0 or (self.ended and self.process.poll() is not None):
                    raise NoAnswerError(f"{otherwise}; ended: {self.ended}; stderr: {self.stderr[-2000:]}")
                self._changed.wait(min(left, 0.5))

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read_answers(self) -> None:
        data = b"-"
        while data:
            with contextlib.suppress(BlockingIOError):
                select.select([self._from_worker], [], [])
                try:
                    data = os.read(self._from_worker, 1 << 20)
                except ConnectionResetError:
                    data = b""
                with self._changed:
                    self._bytes += data
                    self._take_apart()
                    self.ended = not data
                    self._changed.notify_all()

    def _take_apart(self) -> None:
        while len(self._bytes) >= 4:
            (length,) = struct.unpack_from("<I", self._bytes)
            if len(self._bytes) < 4 + length:
                return
            (request_id,) = struct.unpack_from("<I", self._bytes, 4)
            body = json.loads(self._bytes[8 : 4 + length], parse_constant=_refuse_constant)
            del self._bytes[: 4 + length]
            self._answers.setdefault(request_id, []).append(body)
            self._received.append(request_id)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        while data := os.read(self.process.stderr.fileno(), 1 << 16):
            with self._changed:
                self._stderr += data
                self._changed.notify_all()


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _as_json(payload: bytes | Mapping[str, Any]) -> bytes:
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def _pipes() -> tuple[int, int, int, int]:
    (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
    return ours_in, theirs_in, ours_out, theirs_out


def _sockets() -> tuple[int, int, int, int]:
    (ours_in, theirs_in), (ours_out, theirs_out) = socket.socketpair(), socket.socketpair()
    return ours_in.detach(), theirs_in.detach(), ours_out.detach(), theirs_out.detach()


def _one_socket() -> tuple[int, int, int, int]:
    ours, theirs = socket.socketpair()
    mine, other = ours.detach(), theirs.detach()
    return mine, other, mine, other


_ENDS = {"pipe": _pipes, "socket": _sockets, "one_socket": _one_socket, "descriptors": _pipes}
