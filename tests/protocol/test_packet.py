"""The incremental decoder: admission, skipping, waiting, large bodies, the staging buffer."""

import dataclasses
import struct

import pytest

from protocol.errors import ErrorCode, FramingLost
from protocol.framing import encode_request
from protocol.messages import CacheFrame, Command, InferCached, InferJpeg, InferRaw, MessageType
from protocol.options import RequestOptions
from protocol.packet import (
    PEEK_BYTES,
    SMALL_PAYLOAD_BYTES,
    STAGING_BYTES,
    PacketDecoder,
    PacketHeader,
    RejectedPacket,
    Verdict,
)
from protocol.picture import Picture
from protocol.pixel_format import PixelFormat


class Gate:
    """An `admit` that answers from a list, then ADMIT, and keeps what it was asked."""

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = list(verdicts)
        self.asked: list[PacketHeader] = []

    def __call__(self, header: PacketHeader) -> Verdict:
        self.asked.append(header)
        return self.verdicts.pop(0) if self.verdicts else Verdict.ADMIT


def cached(request_id: int) -> bytes:
    return InferCached(request_id, 0, 7).encode()


def jpeg(request_id: int, size: int, type_byte: int = MessageType.INFER_JPEG) -> bytes:
    """A packet whose payload has that many bytes."""
    return encode_request(request_id, type_byte, bytes(1), bytes(size - 1))


def frame(request_id: int, frame_id: int, side: int, options: RequestOptions | None = None) -> bytes:
    picture = Picture(side, side, PixelFormat.GRAY, memoryview(bytes(side * side)))
    return CacheFrame(request_id, frame_id, picture, options or RequestOptions()).encode()


def summary(results) -> list[tuple]:
    """Type name, request_id, and code and frame_id of rejected ones."""
    return [
        (result.request_id, result.code, result.named_id)
        if isinstance(result, RejectedPacket)
        else (result.request_id, type(result).__name__)
        for result in results
    ]


EACH_SIZE = {
    "fixed size": cached(1),
    "empty": encode_request(2, MessageType.COMMAND),
    "small": jpeg(3, 100),
    "largest small": jpeg(4, SMALL_PAYLOAD_BYTES),
    "smallest large": jpeg(5, SMALL_PAYLOAD_BYTES + 1),
    "larger than staging": jpeg(6, STAGING_BYTES + 1),
    "large command": jpeg(7, 3 * STAGING_BYTES, MessageType.COMMAND),
    "unknown type": jpeg(8, 100, 0x42),
    "unknown type, large": jpeg(9, 3 * STAGING_BYTES, 0x42),
}


@pytest.mark.parametrize("packet", EACH_SIZE.values(), ids=EACH_SIZE)
@pytest.mark.parametrize("pieces", [1, 2, 3, 7])
def test_admit_is_asked_once_a_packet_in_order(feed, packet, pieces):
    gate = Gate()
    stream = cached(100) + packet + cached(101)
    size = -(-len(stream) // pieces)
    feed(PacketDecoder(gate), [stream[at : at + size] for at in range(0, len(stream), size)])
    _, request_id, type_byte = struct.unpack_from("<IIB", packet)
    assert [header.request_id for header in gate.asked] == [100, request_id, 101]
    assert gate.asked[1] == PacketHeader(request_id, type_byte, len(packet) - 9)


@pytest.mark.parametrize("packet", EACH_SIZE.values(), ids=EACH_SIZE)
def test_admit_is_asked_as_soon_as_the_header_is_there(feed, packet):
    gate = Gate()
    decoder = PacketDecoder(gate)
    assert feed(decoder, [packet[:8]]) == []
    assert gate.asked == []
    feed(decoder, [packet[8:9]])
    assert len(gate.asked) == 1


@pytest.mark.parametrize("packet", EACH_SIZE.values(), ids=EACH_SIZE)
def test_wait_consumes_nothing_and_asks_again(feed, packet):
    gate = Gate(Verdict.WAIT, Verdict.WAIT, Verdict.WAIT)
    decoder = PacketDecoder(gate)
    assert feed(decoder, [packet[:9]]) == []
    assert decoder.next_message() is None
    assert decoder.next_message() is None
    assert len(gate.asked) == 3
    results = [decoder.next_message(), *feed(decoder, [packet[9:]])]
    assert len([result for result in results if result is not None]) == 1
    assert gate.asked == gate.asked[:1] * 4


def test_staging_full_of_waiting_packets_takes_no_more(read_once):
    decoder = PacketDecoder(Gate(*[Verdict.WAIT] * 2))
    stream = b"".join(map(cached, range(20_000)))
    assert read_once(decoder, stream) == STAGING_BYTES
    assert decoder.next_message() is None
    assert decoder.get_buffers() == []
    assert decoder.next_message() is None
    taken = 0
    while decoder.next_message() is not None:
        taken += 1
    assert taken == STAGING_BYTES // len(cached(0))
    assert decoder.get_buffers()


def test_packets_after_a_waiting_one_keep_their_order(feed, read_once):
    decoder = PacketDecoder(Gate(Verdict.ADMIT, Verdict.WAIT))
    read_once(decoder, cached(1) + jpeg(2, 50_000) + cached(3))
    assert summary([decoder.next_message()]) == [(1, "InferCached")]
    assert decoder.next_message() is None
    assert summary([decoder.next_message(), decoder.next_message()]) == [(2, "InferJpeg"), (3, "InferCached")]


@pytest.mark.parametrize("packet", EACH_SIZE.values(), ids=EACH_SIZE)
def test_skipped_packets_are_answered_at_their_header(feed, packet):
    decoder = PacketDecoder(Gate(Verdict.SKIP))
    (rejected,) = feed(decoder, [packet[:9]])
    assert rejected.code is ErrorCode.OVERLOADED
    assert not rejected.admitted
    assert rejected.payload_bytes == len(packet) - 9
    assert summary(feed(decoder, [packet[9:] + cached(99)])) == [(99, "InferCached")]


def test_too_large_is_told_at_the_header_stored_nowhere_and_not_offered(feed):
    gate = Gate()
    decoder = PacketDecoder(gate, allocate=lambda size: pytest.fail("stored"))
    head = struct.pack("<IIB", 0xFFFF_FFFF, 5, MessageType.INFER_RAW)
    (rejected,) = feed(decoder, [head])
    assert (rejected.code, rejected.admitted) == (ErrorCode.TOO_LARGE, False)
    assert gate.asked == []
    assert decoder.mid_packet
    for _ in range(100):
        assert feed(decoder, [bytes(STAGING_BYTES)]) == []
    assert [len(buffer) for buffer in decoder.get_buffers()] == [STAGING_BYTES]


def test_life_goes_on_after_a_packet_too_large(feed):
    decoder = PacketDecoder(Gate(), max_packet_bytes=SMALL_PAYLOAD_BYTES)
    results = feed(decoder, [jpeg(1, 10 * STAGING_BYTES) + cached(2)])
    assert summary(results) == [(1, ErrorCode.TOO_LARGE, None), (2, "InferCached")]
    assert not decoder.mid_packet


def test_the_limit_is_on_the_length_field_and_may_change_between_packets(feed, read_once):
    decoder = PacketDecoder(Gate(), max_packet_bytes=15)
    assert summary(feed(decoder, [jpeg(1, 10), jpeg(2, 11)])) == [
        (1, "InferJpeg"),
        (2, ErrorCode.TOO_LARGE, None),
    ]
    read_once(decoder, jpeg(3, 11) + jpeg(4, 11))
    assert summary([decoder.next_message()]) == [(3, ErrorCode.TOO_LARGE, None)]
    decoder.max_packet_bytes = 16
    assert summary([decoder.next_message()]) == [(4, "InferJpeg")]


def test_strict_holds_from_the_very_next_message(read_once):
    decoder = PacketDecoder(Gate())
    excess = encode_request(1, MessageType.INFER_CACHED, bytes(6))
    read_once(decoder, excess * 2)
    assert isinstance(decoder.next_message(), InferCached)
    decoder.strict = True
    assert isinstance(decoder.next_message(), RejectedPacket)


REJECTIONS = {
    "skipped": (Gate(Verdict.SKIP), 1 << 20, ErrorCode.OVERLOADED),
    "too large": (Gate(), 100, ErrorCode.TOO_LARGE),
}


@pytest.mark.parametrize("case", REJECTIONS.values(), ids=REJECTIONS)
@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (None, 9 + 4),
        (RequestOptions(exif=True), 9 + 2 + 13 + 4),
        (RequestOptions(classes=("x" * 65_000,)), 9 + 2 + 65_016 + 4),
    ],
    ids=["plain", "options", "longest options"],
)
@pytest.mark.parametrize("before", [0, 8_000], ids=["at the start", "deep in the staging buffer"])
def test_a_rejected_cache_frame_waits_for_its_frame_id(feed, case, options, needed, before):
    gate, limit, code = case
    gate = Gate(*[Verdict.ADMIT] * before, *gate.verdicts or [Verdict.SKIP] * (code is ErrorCode.OVERLOADED))
    decoder = PacketDecoder(gate, max_packet_bytes=limit)
    packet = frame(5, 0xABCDEF01, 400, options)
    assert len(feed(decoder, [cached(1) * before + packet[: needed - 1]])) == before
    (rejected,) = feed(decoder, [packet[needed - 1 : needed]])
    assert (rejected.code, rejected.named_id, rejected.type) == (code, 0xABCDEF01, MessageType.CACHE_FRAME)
    decoder.max_packet_bytes = 1 << 20
    assert summary(feed(decoder, [packet[needed:], cached(6)])) == [(6, "InferCached")]


@pytest.mark.parametrize("size", range(4))
@pytest.mark.parametrize("type_byte", [0x04, 0x84])
def test_a_rejected_cache_frame_too_short_for_its_frame_id(feed, type_byte, size):
    decoder = PacketDecoder(Gate(Verdict.SKIP))
    packet = encode_request(5, type_byte, bytes(size))
    assert summary(feed(decoder, [packet, cached(6)])) == [
        (5, ErrorCode.OVERLOADED, None),
        (6, "InferCached"),
    ]


def test_large_bodies_land_in_the_allocated_buffer(feed):
    given: list[bytearray] = []

    def allocate(size: int) -> memoryview:
        given.append(bytearray(size + 100))  # a pool's buffer may be longer
        return memoryview(given[-1])

    side = 300
    pixels = bytes(range(250)) * (side * side * 3 // 250)
    packet = InferRaw(1, 0, Picture(side, side, PixelFormat.RGB, memoryview(pixels))).encode()
    messages = feed(PacketDecoder(Gate(), allocate), [packet * 2 + cached(2)])
    assert summary(messages) == [(1, "InferRaw"), (1, "InferRaw"), (2, "InferCached")]
    for message, buffer in zip(messages, given, strict=False):
        assert message.picture.data.obj is buffer
        assert message.picture.data == pixels
    assert messages[0].payload_bytes == len(pixels) + 10
    assert len(given) == 2


def test_a_large_body_is_read_in_place(read_once):
    decoder = PacketDecoder(Gate())
    packet = jpeg(1, 4 * STAGING_BYTES)
    read_once(decoder, packet[:20])
    assert decoder.next_message() is None
    body, staging = decoder.get_buffers()
    assert len(body) == len(packet) - 20
    assert decoder.mid_body
    assert len(staging) == PEEK_BYTES
    read_once(decoder, packet[20:] + cached(2))
    # Not taken yet: the body has all its bytes, further ones go behind the next packet.
    assert [len(buffer) for buffer in decoder.get_buffers()] == [STAGING_BYTES - len(cached(2))]
    assert not decoder.mid_body
    assert isinstance(decoder.next_message(), InferJpeg)
    assert isinstance(decoder.next_message(), InferCached)


def test_little_is_staged_where_large_packets_come_in_rows(read_once):
    decoder = PacketDecoder(Gate())
    for _ in range(2):
        read_once(decoder, jpeg(1, 4 * STAGING_BYTES)[:20])
        assert decoder.next_message() is None
        read_once(decoder, jpeg(1, 4 * STAGING_BYTES)[20:])
        assert isinstance(decoder.next_message(), InferJpeg)
        assert [len(buffer) for buffer in decoder.get_buffers()] == [PEEK_BYTES]
    read_once(decoder, jpeg(2, 100))
    assert isinstance(decoder.next_message(), InferJpeg)
    assert [len(buffer) for buffer in decoder.get_buffers()] == [STAGING_BYTES]


def test_a_large_command_takes_no_buffer_of_the_pool(feed):
    decoder = PacketDecoder(Gate(), lambda size: pytest.fail("allocated"))
    text = b" " * 100_000
    assert feed(decoder, [Command(1, text).encode()]) == [Command(1, text)]


def test_no_memory_for_a_body(feed):
    def allocate(size: int) -> memoryview:
        raise MemoryError

    decoder = PacketDecoder(Gate(), allocate)
    (rejected, after) = feed(decoder, [jpeg(1, 100_000) + cached(2)])
    assert (rejected.code, rejected.admitted) == (ErrorCode.OVERLOADED, True)
    assert isinstance(after, InferCached)


@pytest.mark.parametrize("length", range(5))
def test_lost_framing_shows_at_four_bytes_and_stays(read_once, length):
    decoder = PacketDecoder(Gate())
    read_once(decoder, struct.pack("<I", length)[:3])
    assert decoder.next_message() is None
    read_once(decoder, struct.pack("<I", length)[3:])
    for _ in range(2):
        with pytest.raises(FramingLost):
            decoder.next_message()
    read_once(decoder, bytes(20))
    with pytest.raises(FramingLost):
        decoder.next_message()


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("packet", [*EACH_SIZE.values(), frame(5, 6, 400)], ids=[*EACH_SIZE, "cache_frame"])
def test_mid_packet_at_every_kind_of_end(feed, packet, verdict):
    for end in {0, 1, 3, 4, 8, 9, 10, 13, 14, len(packet) // 2, len(packet) - 1, len(packet)}:
        decoder = PacketDecoder(Gate(*[verdict] * 50))
        room = STAGING_BYTES - len(cached(1)) if verdict is Verdict.WAIT else len(packet)
        part = packet[: min(end, room)]
        feed(decoder, [cached(1), part])
        assert decoder.mid_packet == (0 < len(part) < len(packet)), end


def test_small_messages_do_not_point_into_the_staging_buffer(feed):
    decoder = PacketDecoder(Gate())
    (message,) = feed(decoder, [InferJpeg(1, 2, memoryview(b"abc")).encode()])
    feed(decoder, [b"\xff" * 4 + bytes(STAGING_BYTES)])
    assert message.data == b"abc"


def test_messages_are_frozen():
    for thing in (InferCached(1, 2, 3), PacketHeader(1, 2, 3)):
        with pytest.raises(AttributeError):
            thing.request_id = 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        RejectedPacket(1, 2, 3, ErrorCode.INTERNAL, "", False, None, True).code = ErrorCode.CANCELLED
