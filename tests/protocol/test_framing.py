"""Packets whole and in pieces, and the decoder of answers."""

import pytest

from protocol.framing import ResponseDecoder, encode_request, encode_response, request_head
from protocol.messages import InferCached


def test_requests_byte_for_byte():
    expected = bytes.fromhex("0a000000 07000000 05 01 63000000")
    assert encode_request(7, 5, b"\x01", memoryview(b"\x63\0\0\0")) == expected
    assert request_head(7, 5, 5) + expected[9:] == expected
    assert InferCached(7, 1, 99).encode() == expected


def test_responses_byte_for_byte():
    assert encode_response(0x01020304, b"{}") == bytes.fromhex("06000000 04030201 7b7d")


def test_responses_come_as_soon_as_they_are_whole():
    decoder = ResponseDecoder()
    stream = encode_response(1, b"{}") + encode_response(2, b"") + encode_response(3, b"x" * 100)
    seen = []
    for at in range(len(stream)):
        decoder.feed(stream[at : at + 1])
        seen += [(at + 1, request_id, len(body)) for request_id, body in decoder]
    assert seen == [(10, 1, 2), (18, 2, 0), (126, 3, 100)]
    assert not decoder.mid_packet


def test_iteration_may_be_left_and_taken_up_again():
    decoder = ResponseDecoder()
    decoder.feed(encode_response(1, b"a") + encode_response(2, b"b") + b"\x05")
    assert next(iter(decoder)) == (1, b"a")
    assert decoder.mid_packet
    decoder.feed(bytes(3))
    assert list(decoder) == [(2, b"b")]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_feed_takes_what_reads_give(kind):
    decoder = ResponseDecoder()
    decoder.feed(kind(encode_response(1, b"a")))
    assert list(decoder) == [(1, b"a")]
