"""A double of the worker that does as its first argument says; packets are read and written by hand.

reverse N   reads N pictures before it answers, the last one first; the class name is the picture's text
die N       ends with status 3 when it has read N pictures, and has answered none
stall       ends with status 3 soon after the handshake, and reads nothing: the pipe stays full
"""

import json
import struct
import sys
import time

STALL_S = 0.4


def receive() -> tuple[int, bytes]:
    length, request_id = struct.unpack("<II", sys.stdin.buffer.read(8))
    return request_id, sys.stdin.buffer.read(length - 4)


def answer(request_id: int, body: dict) -> None:
    data = json.dumps(body, separators=(",", ":")).encode()
    sys.stdout.buffer.write(struct.pack("<II", 4 + len(data), request_id) + data)
    sys.stdout.buffer.flush()


def found(packet: bytes) -> dict:
    name = packet[2:].decode()
    return {"bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5, "classId": 0, "className": name}


behaviour, *numbers = sys.argv[1:]
answer(receive()[0], {"status": "ready", "slots": [{"loaded": True, "error": None}]})
if behaviour == "stall":
    time.sleep(STALL_S)
    sys.exit(3)
requests = [receive() for _ in range(int(numbers[0]))]
if behaviour == "die":
    sys.exit(3)
for request_id, packet in reversed(requests):
    answer(request_id, {"kind": "detections", "detections": [found(packet)]})
sys.stdin.buffer.read()
