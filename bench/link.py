"""Starts a subject on a pipe or a Unix socket, enlarged as a good host does, and sends and reads packets."""

import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

BUFFER_BYTES = 1 << 20
"""What both directions are enlarged to, as far as the system allows."""

READ_BYTES = 1 << 18
"""One read takes many answers."""

MAX_PARTS = 512
"""Parts of one `send`; the system takes 1024."""

_LENGTH = struct.Struct("<I")
_ANSWER_HEAD = struct.Struct("<II")
_REQUEST_HEAD = struct.Struct("<IIB")
_OPTIONS_LENGTH = struct.Struct("<H")
_COMMAND = 0
OPTIONS_FLAG = 0x80
"""On the type of a request that begins with options."""

Ends = tuple[int, int, int, int]
"""Descriptors: the subject's stdin and stdout, ours to write and to read."""


class SubjectEndedError(ConnectionError):
    """The subject closed its answers."""


class Link:
    """A subject and the two descriptors that lead to it. Reads and writes block."""

    def __init__(self, command: Sequence[str], kind: str = "pipe") -> None:
        """Start the subject; its stderr is ours."""
        stdin, stdout, self._writer, self._reader = LINKS[kind]()
        self.process = subprocess.Popen(command, stdin=stdin, stdout=stdout)
        os.close(stdin)
        os.close(stdout)
        self._left = b""

    def shake_hands(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Send the configuration and return the ready answer."""
        self.send([command_packet(0, config)])
        return self.one_answer()

    def send(self, parts: Sequence[bytes]) -> None:
        """Write all parts.

        Blocks while the subject does not read. It always comes back to reading: the worker
        never waits for its answers to be read (up to 8 MiB of them), and what the reference
        reader answers to all requests in flight fits into the buffer.
        """
        written = os.writev(self._writer, parts)
        if written < sum(map(len, parts)):
            for part in parts:
                rest = memoryview(part)[written:]
                written = max(0, written - len(part))
                while rest:
                    rest = rest[os.write(self._writer, rest) :]

    def receive(self) -> list[int]:
        """Read once, and return the ids of the answers that have come whole; looks into none."""
        data = os.read(self._reader, READ_BYTES)
        if not data:
            raise SubjectEndedError("the subject closed its answers")
        if self._left:
            data = self._left + data
        ids, position, end = [], 0, len(data)
        while end - position >= _ANSWER_HEAD.size:
            length, request_id = _ANSWER_HEAD.unpack_from(data, position)
            if position + _LENGTH.size + length > end:
                break
            position += _LENGTH.size + length
            ids.append(request_id)
        self._left = data[position:] if position < end else b""
        return ids

    def answers(self) -> list[tuple[int, bytes]]:
        """Read once, and return the answers that have come whole, as (id, JSON); waits for no more.

        Raises:
            SubjectEndedError: the subject closed its answers.
        """
        data = self._left + os.read(self._reader, READ_BYTES)
        if len(data) == len(self._left):
            raise SubjectEndedError("the subject closed its answers")
        found, position = [], 0
        while len(data) - position >= _ANSWER_HEAD.size:
            length, request_id = _ANSWER_HEAD.unpack_from(data, position)
            end = position + _LENGTH.size + length
            if end > len(data):
                break
            found.append((request_id, data[position + _ANSWER_HEAD.size : end]))
            position = end
        self._left = data[position:]
        return found

    def readable(self, timeout_s: float | None = None) -> bool:
        """Wait until something can be read, and return whether it can; None: for ever."""
        return bool(select.select([self._reader], [], [], timeout_s)[0])

    def one_answer(self) -> dict[str, Any]:
        """Read one answer and decode it: for what is not measured."""
        length = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        answer: dict[str, Any] = json.loads(self._exactly(length)[_LENGTH.size :])
        return answer

    def close(self) -> int:
        """Close our ends, wait for the subject, and return its status."""
        os.close(self._writer)
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            os.close(self._reader)

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            data = os.read(self._reader, count)
            if not data:
                raise SubjectEndedError("the subject closed its answers")
            parts.append(data)
            count -= len(data)
        return b"".join(parts)


def request_head(request_id: int, type_byte: int, payload_bytes: int) -> bytes:
    """Return the nine bytes before a payload."""
    return _REQUEST_HEAD.pack(5 + payload_bytes, request_id, type_byte)


def request_packet(request_id: int, type_byte: int, payload: bytes) -> bytes:
    """Return a whole packet."""
    return request_head(request_id, type_byte, len(payload)) + payload


def command_packet(request_id: int, command: Mapping[str, Any]) -> bytes:
    """Return a COMMAND."""
    return request_packet(request_id, _COMMAND, json.dumps(command).encode())


def options_prefix(options: Mapping[str, Any]) -> bytes:
    """Return what precedes the payload of a request with options."""
    text = json.dumps(options).encode()
    return _OPTIONS_LENGTH.pack(len(text)) + text


def _pipes() -> Ends:
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    for descriptor in (our_out, our_in):
        with contextlib.suppress(OSError):  # over the user's limit: then it stays as it is
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, BUFFER_BYTES)
    return their_in, their_out, our_out, our_in


def _sockets() -> Ends:
    """One socket pair a direction, as Node gives its children."""
    to_ours, to_theirs = socket.socketpair()
    from_ours, from_theirs = socket.socketpair()
    for end in (to_ours, from_ours):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    return to_theirs.detach(), from_theirs.detach(), to_ours.detach(), from_ours.detach()


LINKS: dict[str, Callable[[], Ends]] = {"pipe": _pipes, "socket": _sockets}
"""What leads to a subject."""
