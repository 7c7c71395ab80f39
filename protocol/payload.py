"""What the payloads of data requests have in common: heads, options prefix, the place of a frame_id.

Also what the messages themselves are made of: `Packet`, and the `Envelope` that each is decoded from.
"""

import struct
from enum import IntEnum
from typing import Any, Protocol, TypeAlias

import msgspec

from protocol import errors
from protocol.errors import bad_request
from protocol.framing import request_head
from protocol.options import NO_OPTIONS, OPTIONS_LENGTH_BYTES, RequestOptions, encode_options, options_end


class MessageType(IntEnum):
    """The type byte without the options flag."""

    COMMAND = 0x00
    INFER_JPEG = 0x01
    INFER_RAW = 0x02
    INFER_BATCH = 0x03
    CACHE_FRAME = 0x04
    INFER_CACHED = 0x05
    INFER_SHARED = 0x06
    STREAM_DATA = 0x08
    STREAM_END = 0x09


OPTIONS_FLAG = 0x80
"""On a data request's type byte: options precede the ordinary payload."""

STREAM_TYPES = frozenset((MessageType.STREAM_DATA, MessageType.STREAM_END))
"""They are never answered under their own id, and take no options."""

PLAIN_TYPES = STREAM_TYPES | {MessageType.COMMAND}
"""They take no options: with the flag, they are no types at all."""

NAMING_TYPES = STREAM_TYPES | {MessageType.CACHE_FRAME}
"""Their payloads begin with an id that has to be known also where the rest is wrong."""

Parts: TypeAlias = list[bytes | memoryview]
"""A packet in pieces, the head first, to be written one after another."""

_NAMED_ID = struct.Struct("<I")


class _HasParts(Protocol):
    def encode_parts(self) -> Parts: ...


class Packet(msgspec.Struct, frozen=True, gc=False):
    """What comes as one packet: the base of every message."""

    def encode(self: _HasParts) -> bytes:
        """The packet whole."""
        return b"".join(self.encode_parts())


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A packet on its way to a message: its payload behind the options, and what is known beside it."""

    request_id: int
    payload: memoryview
    options: RequestOptions
    strict: bool
    """Excess bytes are a fault (protocol 3)."""
    payload_bytes: int
    """Payload length of the packet, options included."""

    def take_head(self, head: struct.Struct, kind: MessageType) -> tuple[tuple[Any, ...], memoryview]:
        """The fields at the payload's start, and the rest; WireError where it is shorter."""
        if len(self.payload) < head.size:
            text = errors.TRUNCATED_HEADER.format(kind.name.lower())
            raise bad_request(text, payload_fault=True)
        return head.unpack_from(self.payload), self.payload[head.size :]

    def check_end(self, rest: memoryview, kind: MessageType) -> None:
        """WireError where bytes are left over that may not be."""
        if self.strict and rest:
            text = f"excess bytes after {kind.name.lower()}: {len(rest)}"
            raise bad_request(text, payload_fault=True)


def packet_parts(
    request_id: int, kind: MessageType, options: RequestOptions, *payload: bytes | memoryview
) -> Parts:
    """Head, options where there are any, payload.

    Raises:
        ValueError: the options take more than 65,535 bytes.
        struct.error: a field is out of its range.
    """
    type_byte: int = kind
    parts: Parts = list(payload)
    if options != NO_OPTIONS:
        type_byte |= OPTIONS_FLAG
        parts.insert(0, encode_options(options))
    return [request_head(request_id, type_byte, sum(map(len, parts))), *parts]


def type_of(type_byte: int) -> int:
    """The type that a byte names: without the options flag, where that type takes options."""
    kind = type_byte & ~OPTIONS_FLAG
    return type_byte if kind in PLAIN_TYPES else kind


def named_id_end(type_byte: int, payload: memoryview) -> int:
    """How many bytes of the payload of one of NAMING_TYPES its id needs, as far as those here tell.

    With the options flag that shows only when the options' length is there: until then it is what
    that length needs.
    """
    if not type_byte & OPTIONS_FLAG:
        return _NAMED_ID.size
    if len(payload) < OPTIONS_LENGTH_BYTES:
        return OPTIONS_LENGTH_BYTES
    return options_end(payload) + _NAMED_ID.size


def peek_named_id(type_byte: int, payload: memoryview) -> int | None:
    """The id in one of NAMING_TYPES that is wrong in some other way; None where the bytes end before it.

    A failed CACHE_FRAME leaves its id empty, and a failed STREAM_DATA ends its stream.
    """
    end = named_id_end(type_byte, payload)
    if len(payload) < end:
        return None
    named_id: int = _NAMED_ID.unpack_from(payload, end - _NAMED_ID.size)[0]
    return named_id
