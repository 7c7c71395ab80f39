"""Length-prefixed packets: heads and whole packets of both directions, and the hosts' decoder."""

import struct
from collections.abc import Iterator

from protocol.errors import FramingLost

HEADER = struct.Struct("<IIB")
"""Request: length, request_id, type."""
HEADER_BYTES = HEADER.size
LENGTH = struct.Struct("<I")
LENGTH_BYTES = LENGTH.size
LENGTH_OVER_PAYLOAD = HEADER_BYTES - LENGTH_BYTES
"""A request's length counts its id and type too: 5 + payload."""

_RESPONSE_HEAD = struct.Struct("<II")
_RESPONSE_OVERHEAD = _RESPONSE_HEAD.size - LENGTH_BYTES

DEFAULT_MAX_RESPONSE_BYTES = 256 * 1024 * 1024
"""As the worker's own cap on requests: far above any answer, far below what would hurt a host."""


def request_head(request_id: int, type_byte: int, payload_length: int) -> bytes:
    """The nine bytes before a payload, for writers that send the payload without joining."""
    return HEADER.pack(LENGTH_OVER_PAYLOAD + payload_length, request_id, type_byte)


def encode_request(request_id: int, type_byte: int, *parts: bytes | memoryview) -> bytes:
    """A whole request packet; the payload is the parts (views of bytes) one after another."""
    payload = b"".join(parts)
    return request_head(request_id, type_byte, len(payload)) + payload


def encode_response(request_id: int, body: bytes) -> bytes:
    """A whole response packet."""
    return _RESPONSE_HEAD.pack(_RESPONSE_OVERHEAD + len(body), request_id) + body


class ResponseDecoder:
    """What a host reads from the worker: feed bytes, then iterate `(request_id, body)`.

    Each iteration runs until more bytes are needed; feed them and iterate again.
    """

    __slots__ = ("_data", "_max_bytes", "_pos")

    def __init__(self, max_bytes: int = DEFAULT_MAX_RESPONSE_BYTES) -> None:
        """Create a decoder that takes a longer length than `max_bytes` for lost framing."""
        self._data = bytearray()
        self._pos = 0
        self._max_bytes = max_bytes

    @property
    def mid_packet(self) -> bool:
        """Bytes of an answer that has not been iterated are held."""
        return self._pos < len(self._data)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes; only stores."""
        del self._data[: self._pos]
        self._pos = 0
        self._data += data

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Answers that have come whole.

        Raises:
            FramingLost: a length that no answer can have.
        """
        while len(self._data) - self._pos >= LENGTH_BYTES:
            length: int = LENGTH.unpack_from(self._data, self._pos)[0]
            if not _RESPONSE_OVERHEAD <= length <= self._max_bytes:
                raise FramingLost(f"response length {length}")
            begin, end = self._pos, self._pos + LENGTH_BYTES + length
            if len(self._data) < end:
                return
            self._pos = end
            request_id = _RESPONSE_HEAD.unpack_from(self._data, begin)[1]
            with memoryview(self._data) as view:
                body = bytes(view[begin + _RESPONSE_HEAD.size : end])
            yield request_id, body
