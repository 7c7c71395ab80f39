"""Streams as a host sees them: opened, fed, and followed event by event."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from raw_host import Answer, RawHost
from wire import COMMAND, packet

STREAM_DATA, STREAM_END = 8, 9

NOOP = {"path": "fake:noop?size=32"}


class HostStream:
    """One stream of a worker, by what the wire says of it."""

    def __init__(
        self,
        host: RawHost,
        source: Mapping[str, Any],
        stream_id: int = 1,
        models: list[int] | None = None,
        **options: Any,
    ) -> None:
        self.host = host
        self.stream_id = stream_id
        fields = {"cmd": "stream_open", "streamId": stream_id, "source": source, "options": options}
        self.request_id = host.request(COMMAND, fields | ({} if models is None else {"models": models}))

    def next(self) -> Answer:
        """Wait for the next event, of whatever kind."""
        return self.host.answer(self.request_id)

    def until(self, event: str) -> Answer:
        """Take events until one of this kind; the stream must not end before."""
        while (answer := self.next()).get("event") != event:
            assert "final" not in answer, answer
        return answer

    def events(self) -> Iterator[Answer]:
        """Take all events to the final one."""
        while "final" not in (answer := self.next()):
            yield answer
        yield answer

    def until_final(self) -> Answer:
        """Take events up to the final one, and return that."""
        *_, last = self.events()
        return last

    def frames(self) -> tuple[list[Answer], Answer]:
        """Take everything; returns the frame events and the final event."""
        *events, last = self.events()
        return [event for event in events if event["event"] == "frame"], last

    def send(self, data: bytes) -> None:
        self.host.send(packet(0, STREAM_DATA, struct.pack("<I", self.stream_id) + data))

    def finish(self) -> None:
        self.host.send(packet(0, STREAM_END, struct.pack("<I", self.stream_id)))

    def push(self, data: bytes, chunk: int = 64 << 10) -> None:
        """Send a whole file, which must fit into the credit, and its end."""
        for start in range(0, len(data), chunk):
            self.send(data[start : start + chunk])
        self.finish()

    def close(self) -> Answer:
        return self.host.command("stream_close", streamId=self.stream_id)


def numbers(frames: list[Answer]) -> list[int]:
    return [frame["frameNumber"] for frame in frames]
