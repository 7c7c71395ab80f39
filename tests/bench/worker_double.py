"""A double of a worker, for what no real one does: speaks just enough of the protocol.

`python worker_double.py stalls N SECONDS` answers at once, but sleeps before the N-th answer;
`… as_asked` answers a request as its payload says, `once`, `twice` or `never`; `… errors` answers
every request with options and an odd id by an error.
"""

import itertools
import json
import os
import struct
import sys
import time

requests = itertools.count(1)


def main(mode: str, *arguments: str) -> None:
    number, _, _ = packet()
    answer(number, status="ready", features=["options", "cancel"])
    while True:
        MODES[mode](*packet(), *map(float, arguments))


def stalls(number: int, _kind: int, _payload: bytes, nth: float, seconds: float) -> None:
    if next(requests) == nth:
        time.sleep(seconds)
    answer(number)


def as_asked(number: int, kind: int, payload: bytes) -> None:
    times = {b"never": 0, b"twice": 2}.get(payload, 1)
    for _ in range(times):
        answer(number)


def errors(number: int, kind: int, _payload: bytes) -> None:
    if number % 2 and kind & 0x80:
        answer(number, error="too late", code="deadline_exceeded")
    else:
        answer(number, kind="detections", detections=[{"className": "code"}])


MODES = {"stalls": stalls, "as_asked": as_asked, "errors": errors}


def packet() -> tuple[int, int, bytes]:
    length, number, kind = struct.unpack("<IIB", read(9))
    return number, kind, read(length - 5)


def read(count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data


def answer(number: int, **body: object) -> None:
    text = json.dumps(body).encode()
    os.write(1, struct.pack("<II", 4 + len(text), number) + text)


if __name__ == "__main__":
    main(*sys.argv[1:])
