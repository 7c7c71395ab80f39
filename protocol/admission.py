"""What the decoder and its shell tell each other about a packet before it is a message."""

from dataclasses import dataclass
from enum import Enum, auto

import msgspec

from protocol.errors import ErrorCode, WireError
from protocol.payload import type_of


class Verdict(Enum):
    """What the shell decides about a packet whose header has come."""

    ADMIT = auto()
    SKIP = auto()
    """Refuse: it is not stored, and answered `overloaded`."""
    WAIT = auto()
    """Leave it where it is and ask again at the next call."""


class PacketHeader(msgspec.Struct, frozen=True, gc=False):
    """What is known of a packet before its payload. A struct for the reason given in `messages`."""

    request_id: int
    type: int
    """The byte as it came, with the options flag."""
    payload_length: int


@dataclass(frozen=True, slots=True)
class RejectedPacket:
    """A packet that is answered with an error instead of being served."""

    request_id: int
    type: int
    """Without the options flag where its type takes options; else as it came: 0x80 is no COMMAND."""
    payload_bytes: int
    """Payload length by its header."""
    code: ErrorCode
    error: str
    payload_fault: bool
    """As in WireError."""
    named_id: int | None
    """Of a packet that came far enough: the frame id of a CACHE_FRAME, which is empty from here on, or the
    stream of a STREAM_DATA or STREAM_END."""
    admitted: bool
    """`admit` answered ADMIT, so whatever it booked must be given back."""


def rejected_packet(header: PacketHeader, fault: WireError, admitted: bool) -> RejectedPacket:
    """The answerable form of a fault; its named_id is still to be filled in."""
    return RejectedPacket(
        request_id=header.request_id,
        type=type_of(header.type),
        payload_bytes=header.payload_length,
        code=fault.code,
        error=fault.text,
        payload_fault=fault.payload_fault,
        named_id=None,
        admitted=admitted,
    )
