"""The least that a worker can be: reads INFER_RAW packets, prepares, calls the no-op, answers a constant.

`python -m bench.reference_reader` stands in the worker's place, on the same descriptors and behind the
same generator. One thread reads with `readv` into buffers that are used again, another does the rest.
No event loop, no queue but the one between the two, no limits, options, cache, errors or timings.
"""

import os
import threading
from queue import SimpleQueue

from bench.chain import Chain, frames_of, open_chain
from protocol.framing import HEADER, LENGTH_OVER_PAYLOAD, encode_response
from protocol.messages import MessageType
from runtimes.options import RuntimeOptions

BUFFERS = 3
"""One that is read into, one that is worked on, one in between."""

ANSWER = b'{"kind":"detections","detections":[],"inferenceMs":0.0,"preprocessMs":0.0,"predictMs":0.0}'

Packet = tuple[int, bytearray, int]
"""Request id, buffer, payload bytes in it."""


class ReferenceReader:
    """Two threads and the buffers that go round between them."""

    def __init__(self, chain: Chain, reader: int, writer: int) -> None:
        self._chain = chain
        self._reader = reader
        self._writer = writer
        self._head = memoryview(bytearray(HEADER.size))
        self._full: SimpleQueue[Packet | None] = SimpleQueue()
        self._free: SimpleQueue[bytearray] = SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(bytearray())

    def serve(self) -> None:
        """Read until the stream ends."""
        answering = threading.Thread(target=self._answer_all)
        answering.start()
        have = 0
        while (have := self._read_rest(self._head, have)) == HEADER.size:
            length, request_id, _ = HEADER.unpack(self._head)
            size = length - LENGTH_OVER_PAYLOAD
            buffer = self._free.get()
            if len(buffer) < size:
                buffer = bytearray(size)
            have = self._read_body(memoryview(buffer)[:size])
            self._full.put((request_id, buffer, size))
        self._full.put(None)
        answering.join()

    def _read_rest(self, target: memoryview, have: int) -> int:
        while have < len(target) and (count := os.readv(self._reader, [target[have:]])):
            have += count
        return have

    def _read_body(self, body: memoryview) -> int:
        """Fill a body, and with the same reads as much as has come of the next head; returns that."""
        have = 0
        while have < len(body):
            count = os.readv(self._reader, [body[have:], self._head])
            if not count:
                raise EOFError("the stream ended inside a packet")
            have += count
        return have - len(body)

    def _answer_all(self) -> None:
        lane = self._chain.compiled.open_lane()
        while (packet := self._full.get()) is not None:
            request_id, buffer, size = packet
            (frame,) = frames_of(MessageType.INFER_RAW, memoryview(buffer)[:size])
            self._chain.predict(lane, self._chain.prepare(frame))
            os.write(self._writer, encode_response(request_id, ANSWER))
            self._free.put(buffer)


def main() -> None:
    """Answer the handshake, then serve."""
    length, request_id, _ = HEADER.unpack(os.read(0, HEADER.size))
    os.read(0, length - LENGTH_OVER_PAYLOAD)
    chain = open_chain("fake:noop?size=640", RuntimeOptions())
    os.write(1, encode_response(request_id, b'{"status":"ready"}'))
    ReferenceReader(chain, 0, 1).serve()


if __name__ == "__main__":
    main()
