"""The handshake: the first packet, and the protocol version that it asks for."""

from dataclasses import dataclass
from typing import Any

from protocol.json_values import decode_object, lenient_int
from protocol.messages import Command, Message
from protocol.packet import RejectedPacket

LOWEST_PROTOCOL = 2
"""What hosts speak that do not say: the one before there was a key for it."""
HIGHEST_PROTOCOL = 3


class HandshakeError(Exception):
    """The first packet does not configure the worker; the process ends with this text on stderr."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """The configuration as it came."""

    request_id: int
    """The answer carries it."""
    config: dict[str, Any]  # Any: JSON; the worker parses it
    protocol: int
    """2 or 3, in effect."""


def read_handshake(message: Message | RejectedPacket) -> Handshake:
    """Read the first packet of a session.

    Raises:
        HandshakeError: it is no COMMAND, or its payload no JSON object.
    """
    if isinstance(message, RejectedPacket):
        raise HandshakeError(f"handshake: {message.error}")
    if not isinstance(message, Command):
        raise HandshakeError(f"handshake: the first packet must be a COMMAND, got {message.TYPE.name}")
    try:
        config = decode_object(message.body)
    except ValueError as error:
        raise HandshakeError(f"handshake: the configuration is no JSON object: {error}") from error
    return Handshake(message.request_id, config, _protocol(config.get("protocol")))


def _protocol(asked: object) -> int:
    """The version to speak: the highest that both know; 2 where the key is absent or says nothing."""
    try:
        version = lenient_int(asked)
    except ValueError:
        return LOWEST_PROTOCOL
    return max(LOWEST_PROTOCOL, min(version, HIGHEST_PROTOCOL))
