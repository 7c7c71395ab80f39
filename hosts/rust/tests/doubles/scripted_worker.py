"""A double of the worker, for what the real one does not do yet or cannot be made to do.

The argument says how it plays. "tasks": a worker with tasks and streams. "silent": it never answers.
"nonsense": its answers are no JSON.
"""

import json
import struct
import sys
from typing import Any, BinaryIO

STDIN: BinaryIO = sys.stdin.buffer
STDOUT: BinaryIO = sys.stdout.buffer
WINDOW = 100
"""Credit that a stream begins with."""

Streams = dict[int, tuple[int, int]]
"""Stream id → the id of its opener, and how many bytes came."""


def receive() -> tuple[int, int, bytes] | None:
    """Return id, type and payload of the next packet."""
    head = STDIN.read(9)
    if len(head) < 9:
        return None
    length, request_id, kind = struct.unpack("<IIB", head)
    return request_id, kind, STDIN.read(length - 5)


def send(request_id: int, body: bytes) -> None:
    """Write an answer."""
    STDOUT.write(struct.pack("<II", 4 + len(body), request_id) + body)
    STDOUT.flush()


def answer(request_id: int, **fields: Any) -> None:
    """Write an answer of these keys."""
    send(request_id, json.dumps(fields).encode())


def take_command(request_id: int, command: dict[str, Any], streams: Streams) -> None:
    """Answer a command."""
    name = command.get("cmd")
    if name == "stream_open":
        streams[command["streamId"]] = (request_id, 0)
        answer(request_id, event="opened", credit=WINDOW)
    else:
        answer(request_id, cmd=name, status="ok", requestId=command.get("requestId"), cancelled=1)
    if name == "cancel":
        answer(command["requestId"], error="cancelled", code="cancelled", event="done", final=True)


def take_task(request_id: int, payload: bytes) -> None:
    """Answer a TASK: a token for each word; `die` ends the process after that many."""
    length = struct.unpack_from("<I", payload, 1)[0]
    params, rest, sizes = json.loads(payload[5 : 5 + length]), payload[5 + length :], []
    while rest:
        size = struct.unpack_from("<I", rest)[0]
        sizes.append(size)
        rest = rest[4 + size :]
    words = params.get("text", "").split()
    for index, word in enumerate(words[: params.get("die", len(words))]):
        answer(request_id, event="token", index=index, text=word)
    if "die" in params:
        sys.exit(7)
    if not params.get("endless"):
        done = {"text": " ".join(words), "tokens": len(words), "finishReason": "stop", "sizes": sizes}
        answer(request_id, event="done", final=True, **done)


def take_data(payload: bytes, streams: Streams) -> None:
    """Answer STREAM_DATA: a frame for each, and the credit back."""
    stream_id = struct.unpack_from("<I", payload)[0]
    opener, before = streams[stream_id]
    count = len(payload) - 4
    if count > WINDOW:
        answer(opener, event="error", final=True, error="too much", code="overloaded")
        return
    streams[stream_id] = (opener, before + count)
    answer(opener, event="frame", frameNumber=before, timestampMs=1.5, width=4, height=2, results=[])
    answer(opener, event="credit", bytes=count)


def take(request_id: int, kind: int, payload: bytes, streams: Streams) -> None:
    """Answer a packet of a worker that has tasks and streams."""
    if kind == 0:
        take_command(request_id, json.loads(payload), streams)
    elif kind & 0x7F == 7:
        take_task(request_id, payload)
    elif kind == 8:
        take_data(payload, streams)
    elif kind == 9:
        opener, count = streams[struct.unpack("<I", payload)[0]]
        answer(opener, event="end", final=True, frames=count, dropped=0)


def play(part: str) -> None:
    """Play until the host closes."""
    first = receive()
    assert first is not None
    if part != "silent":
        features = ["task", "stream"] if part == "tasks" else []
        answer(first[0], status="ready", models=0, total=0, features=features, slots=[])
    streams: Streams = {}
    while (packet := receive()) is not None:
        if part == "tasks":
            take(*packet, streams)
        elif part == "nonsense":
            send(packet[0], b"{nonsense}")


if __name__ == "__main__":
    play(sys.argv[1])
