"""Any bytes, split anywhere: messages, RejectedPackets or FramingLost, and always the same ones."""

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.commands import COMMANDS, CommandRequest, parse_command
from protocol.errors import ErrorCode, FramingLost, WireError
from protocol.framing import ResponseDecoder, encode_request, encode_response
from protocol.messages import Command, Message
from protocol.options import RequestOptions, parse_options
from protocol.packet import RejectedPacket
from protocol.session import Handshake, HandshakeError, read_handshake

MAX_PACKET_BYTES = 70_000

OPTIONS = st.sampled_from(
    [
        b"{}",
        b'{"iou":0.5}',
        b'{"iou":5}',
        b'{"x":1}',
        b"[",
        b"",
        b'{"source":"\\n"}',
        b'{"priority":"\\n"}',
        b'{"classes":["\xff"]}',
    ]
)
TYPES = st.integers(0, 255) | st.sampled_from([0, 1, 2, 3, 4, 5, 6, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86])
HEADS = st.builds(
    struct.pack,
    st.just("<BIIB"),
    st.integers(0, 3),
    st.integers(0, 4),
    st.integers(0, 4),
    st.integers(0, 8) | st.just(0x7F),
)
SHARED = st.builds(
    struct.pack,
    st.just("<BIQIIBI"),
    *(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2**64 - 1), st.integers(0, 4), st.integers(0, 4)),
    *(st.integers(0, 8) | st.just(0x7F), st.integers(0, 70)),
)
PAYLOADS = st.one_of(
    st.binary(max_size=60),
    st.builds(bytes.__add__, HEADS, st.binary(max_size=60)),
    st.builds(bytes.__add__, SHARED, st.binary(max_size=3)),
    st.builds(lambda text, rest: struct.pack("<H", len(text)) + text + rest, OPTIONS, st.binary(max_size=40)),
    st.builds(bytes.__mul__, st.binary(min_size=1, max_size=4), st.integers(8_000, 20_000)),
)
PACKETS = st.builds(encode_request, st.integers(0, 2**32 - 1), TYPES, PAYLOADS)
STREAMS = st.builds(bytes.__add__, st.lists(PACKETS, max_size=6).map(b"".join), st.binary(max_size=20))
ANY_BYTES = st.binary(max_size=200) | STREAMS


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    return [
        data[begin:end]
        for begin, end in pairwise([0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)])
    ]


@given(data=ANY_BYTES, cuts=st.lists(st.integers(0, 10**6), max_size=12), strict=st.booleans())
@settings(max_examples=400, deadline=None)
def test_the_results_are_well_formed_and_do_not_depend_on_the_split(decode, data, cuts, strict):
    def results(*chunks: bytes) -> list:
        return decode(*chunks, strict=strict, max_packet_bytes=MAX_PACKET_BYTES)

    whole = results(data)
    for result in whole:
        assert isinstance(result, Message | RejectedPacket) or result == "framing lost"
        if isinstance(result, RejectedPacket):
            assert isinstance(result.code, ErrorCode)
            assert result.error.isprintable()
            assert len(result.error) < 300
    assert results(*split(data, cuts)) == whole
    if len(data) < 3_000:
        assert results(*(data[at : at + 1] for at in range(len(data)))) == whole


@given(packets=st.lists(PACKETS, max_size=6))
@settings(deadline=None)
def test_each_packet_gets_one_result(decode, packets):
    results = decode(b"".join(packets), max_packet_bytes=MAX_PACKET_BYTES)
    ids = [struct.unpack_from("<I", packet, 4)[0] for packet in packets]
    assert [result.request_id for result in results] == ids


KEYS = [
    *(b'"index"', b'"frameId"', b'"requestId"', b'"runs"', b'"format"'),
    *(b'"regionId"', b'"path"', b'"size"', b'"trusted"'),
]

JSON_LIKE = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace")),
    st.recursive(
        st.sampled_from(
            [b"1", b"-1.5", b"1e400", b"null", b"true", b'"3"', b'"cmd"', b"1" * 400, b"1" * 5000]
        ),
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda items: b"[" + b",".join(items) + b"]")
            | st.dictionaries(
                st.sampled_from(
                    [
                        *(b'"cmd"', b'"index"', b'"config"', b'"frameId"', b'"iou"', b'"roi"', b'"\\u0000"'),
                        *(b'"priority"', b'"source"', b'"supersede"', b'"batchHint"', b'"batchHintMs"'),
                    ]
                ),
                inner,
                max_size=4,
            ).map(lambda items: b"{" + b",".join(key + b":" + value for key, value in items.items()) + b"}")
        ),
        max_leaves=8,
    ),
    st.sampled_from(
        [b"[" * 100_000, b'{"config":' * 100_000, b'{"a":' + b"[" * 100_000, b'"\xff"', b'{"\xff":1}']
    ),
    st.builds(
        lambda name, value: (
            b'{"cmd":"' + name + b'",' + b"".join(key + b":" + value + b"," for key in KEYS) + b'"config":{}}'
        ),
        st.sampled_from([*(name.encode() for name in COMMANDS), b"x"]),
        st.sampled_from(
            [
                b"1",
                b"-1",
                b"256",
                b'"7"',
                b'"x"',
                b'""',
                b'"\\u0000"',
                b"true",
                b"null",
                b"1" * 400,
                b"1e300",
                b"[1]",
            ]
        ),
    ),
)


def outcome(read: Callable[[Any], Any], data: Any) -> Any:
    """What reading gives, or the error of this protocol; no other may come."""
    caught: WireError | HandshakeError
    try:
        return read(data)
    except (WireError, HandshakeError) as error:
        caught = error
    assert str(caught).isprintable()
    assert len(str(caught)) < 300
    return caught


@given(JSON_LIKE)
@settings(max_examples=400, deadline=None)
def test_any_bytes_as_a_command(data):
    assert isinstance(outcome(parse_command, data), CommandRequest | WireError)


@given(JSON_LIKE)
@settings(max_examples=400, deadline=None)
def test_any_bytes_as_options(data):
    assert isinstance(outcome(parse_options, data), RequestOptions | WireError)


@given(JSON_LIKE)
@settings(deadline=None)
def test_any_bytes_as_a_handshake(data):
    assert isinstance(outcome(read_handshake, Command(0, data)), Handshake | HandshakeError)


def responses(chunks: list[bytes]) -> list:
    decoder, results = ResponseDecoder(max_bytes=1_000), []
    for chunk in chunks:
        decoder.feed(chunk)
        try:
            for answer in decoder:
                results.append(answer)  # noqa: PERF402  those before the loss count
        except FramingLost:
            return [*results, "framing lost"]
    return [*results, decoder.mid_packet]


@given(
    data=st.binary(max_size=100)
    | st.lists(st.builds(encode_response, st.integers(0, 2**32 - 1), st.binary(max_size=40))).map(b"".join),
    cuts=st.lists(st.integers(0, 10**6), max_size=12),
)
@settings(deadline=None)
def test_any_bytes_as_responses(data, cuts):
    whole = responses([data])
    assert responses(split(data, cuts)) == whole
    assert responses([data[at : at + 1] for at in range(len(data))] or [b""]) == whole


@pytest.mark.parametrize("length", [0, 3, 1_001, 2**32 - 1])
def test_a_length_that_no_answer_has(length):
    decoder = ResponseDecoder(max_bytes=1_000)
    decoder.feed(struct.pack("<I", length))
    with pytest.raises(FramingLost, match=str(length)):
        list(decoder)
