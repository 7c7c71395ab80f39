"""Request packets of open streams. They have no answers: what goes wrong is told under the opener's id.

As the others in `messages`, which exports them too: a frozen struct each, with `decode` and `encode_parts`.
"""

import struct
from typing import ClassVar, Self

from protocol.framing import request_head
from protocol.payload import Envelope, MessageType, Packet, Parts

_STREAM = struct.Struct("<I")  # stream_id


class StreamData(Packet, frozen=True, gc=False):
    """STREAM_DATA: the next bytes of a container, or one frame with its header."""

    TYPE: ClassVar = MessageType.STREAM_DATA

    request_id: int
    """Means nothing; hosts may send any."""
    stream_id: int
    data: memoryview
    payload_bytes: int = 0
    """Payload length of the packet it came in."""

    @classmethod
    def decode(cls, packet: Envelope) -> Self:
        (stream_id,), data = packet.take_head(_STREAM, cls.TYPE)
        return cls(packet.request_id, stream_id, data, packet.payload_bytes)

    def encode_parts(self) -> Parts:
        head = request_head(self.request_id, self.TYPE, _STREAM.size + len(self.data))
        return [head + _STREAM.pack(self.stream_id), self.data]


class StreamEnd(Packet, frozen=True, gc=False):
    """STREAM_END: no more data will come."""

    TYPE: ClassVar = MessageType.STREAM_END

    request_id: int
    """Means nothing; hosts may send any."""
    stream_id: int
    payload_bytes: int = 0
    """Payload length of the packet it came in."""

    @classmethod
    def decode(cls, packet: Envelope) -> Self:
        (stream_id,), rest = packet.take_head(_STREAM, cls.TYPE)
        packet.check_end(rest, cls.TYPE)
        return cls(packet.request_id, stream_id, packet.payload_bytes)

    def encode_parts(self) -> Parts:
        return [request_head(self.request_id, self.TYPE, _STREAM.size), _STREAM.pack(self.stream_id)]
