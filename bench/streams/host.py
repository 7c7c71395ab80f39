"""A host that pushes streams and takes their events, in one thread."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec

from bench.link import Link, command_packet, request_head
from bench.side_maker import WORKER, LackingError
from bench.streams.clips import NO_PYAV
from bench.streams.events import Event, check_started
from protocol.messages import MessageType

_STREAM_ID = struct.Struct("<I")


@dataclass(slots=True)
class Pushed:
    """What has become of a stream."""

    credit: int = 0
    """Bytes that may be sent."""
    sent: int = 0
    """Bytes."""
    frames: int = 0
    """That were answered."""
    newest: int = -1
    """Number of the last of them."""
    out_of_turn: int = 0
    """Frames whose number was not the one after the last."""
    names: list[str] = field(default_factory=list)
    """Of all events but frames and credit."""
    end: Event | None = None
    """The last event."""


class PushHost:
    """A worker, and the streams that are pushed into it. The opener's id is the stream's."""

    def __init__(self, config: Mapping[str, Any], command: Sequence[str] = WORKER) -> None:
        """Start the worker and shake hands.

        Raises:
            LackingError: it serves no streams.
        """
        self._link = Link(command)
        self.pid = self._link.process.pid
        self.streams: dict[int, Pushed] = {}
        if check_started(self._link.shake_hands(config)):
            self._link.close()
            raise LackingError(NO_PYAV)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker; one that has been killed may be closed too."""
        self._link.close()

    def kill(self) -> None:
        """End the worker as the kernel does where memory is short."""
        self._link.process.kill()
        self._link.process.wait()

    def open(self, ids: Iterable[int]) -> None:
        """Open push streams of these ids."""
        for number in ids:
            self.streams[number] = Pushed()
            command = {"cmd": "stream_open", "streamId": number, "source": {"type": "push"}}
            self._link.send([command_packet(number, command)])

    def push(self, number: int, data: bytes) -> None:
        """Send the next bytes of a stream; there has to be credit for them."""
        stream = self.streams[number]
        stream.credit -= len(data)
        stream.sent += len(data)
        head = request_head(number, MessageType.STREAM_DATA, _STREAM_ID.size + len(data))
        self._link.send([head + _STREAM_ID.pack(number), data])

    def end(self, number: int) -> None:
        """Tell that there is no more of a stream."""
        head = request_head(number, MessageType.STREAM_END, _STREAM_ID.size)
        self._link.send([head + _STREAM_ID.pack(number)])

    def take(self, timeout_s: float | None = None) -> bool:
        """Wait for events and take in those that are there; False where none came in time.

        Raises:
            EventError: a stream or a frame failed.
        """
        if not self._link.readable(timeout_s):
            return False
        for number, body in self._link.answers():
            self._note(self.streams[number], msgspec.json.decode(body, type=Event))
        return True

    def finish(self) -> None:
        """Take events until every stream has had its last one."""
        while any(stream.end is None for stream in self.streams.values()):
            self.take()

    def _note(self, stream: Pushed, event: Event) -> None:
        event.check()
        if event.event == "frame":
            stream.frames += 1
            stream.out_of_turn += event.frame_number != stream.newest + 1
            stream.newest = event.frame_number
            return
        stream.credit += event.bytes + event.credit
        if event.final:
            stream.end = event
        if event.event != "credit":
            stream.names.append(event.event)
