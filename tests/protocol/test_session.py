"""The handshake and the protocol version."""

import json

import pytest

from protocol.errors import ErrorCode
from protocol.messages import Command, InferCached
from protocol.packet import RejectedPacket
from protocol.session import Handshake, HandshakeError, read_handshake

VERSIONS = [
    (None, 2),
    (0, 2),
    (1, 2),
    (2, 2),
    (3, 3),
    (4, 3),
    (-7, 2),
    (3.0, 3),
    (2.9, 2),
    ("3", 3),
    ("2", 2),
    (1e300, 3),
    ("three", 2),  # says nothing, as unknown values of v2 keys do
    (True, 2),
    ([3], 2),
]


@pytest.mark.parametrize(("asked", "protocol"), VERSIONS)
def test_version_in_effect(asked, protocol):
    config = {"protocol": asked, "models": []}
    assert read_handshake(Command(7, json.dumps(config).encode())) == Handshake(7, config, protocol)


def test_absent_version():
    assert read_handshake(Command(0, b"{}")) == Handshake(0, {}, 2)


NO_HANDSHAKES = [
    (InferCached(1, 2, 3), "^handshake: the first packet must be a COMMAND, got INFER_CACHED$"),
    (
        RejectedPacket(1, 0x42, 0, ErrorCode.UNKNOWN_TYPE, "unknown msg_type: 66", False, None, True),
        "^handshake: unknown msg_type: 66$",
    ),
    (Command(0, b""), "^handshake: the configuration is no JSON object: "),
    (Command(0, b"[]"), "^handshake: the configuration is no JSON object: "),
    (Command(0, b"\xff"), "^handshake: the configuration is no JSON object: "),
]


@pytest.mark.parametrize(("message", "text"), NO_HANDSHAKES)
def test_what_is_no_handshake(message, text):
    with pytest.raises(HandshakeError, match=text):
        read_handshake(message)
