"""Typed bodies: round trips, every truncation, every field that can be wrong."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ErrorCode, WireError
from protocol.messages import (
    MESSAGE_TYPES,
    OPTIONS_FLAG,
    SERVED_TYPES,
    CacheFrame,
    Command,
    InferBatch,
    InferCached,
    InferJpeg,
    InferRaw,
    InferShared,
    MessageType,
    decode_message,
)
from protocol.options import MAX_DETECTIONS, NO_OPTIONS, RequestOptions
from protocol.picture import Picture, SharedPicture
from protocol.pixel_format import SUBSAMPLED, PixelFormat, pixel_bytes

U8, U32 = st.integers(0, 255), st.integers(0, 2**32 - 1)
OPTIONS = st.just(NO_OPTIONS) | st.builds(
    RequestOptions,
    confidence=st.none() | st.floats(0, 1),
    iou=st.floats(0, 1),
    classes=st.none() | st.lists(U32 | st.text(max_size=5), max_size=3).map(tuple),
    max_detections=st.integers(1, MAX_DETECTIONS),
    agnostic=st.booleans(),
    roi=st.none() | st.tuples(U32, U32, U32.filter(bool), U32.filter(bool)),
    exif=st.booleans(),
    color_space=st.sampled_from(["bt601", "bt709"]),
    deadline_ms=st.none() | st.floats(0, 1e9, exclude_min=True),
    priority=st.sampled_from(["high", "normal", "low"]),
    source=st.none() | st.text(max_size=5),
    supersede=st.booleans(),
    batch_hint=st.none() | st.integers(1, 65535),
    batch_hint_ms=st.floats(0, 60_000, exclude_min=True),
)


@st.composite
def pictures(draw: Any) -> Picture:
    pixel_format = draw(st.sampled_from(PixelFormat))
    if pixel_format is PixelFormat.ENCODED:
        return Picture(
            draw(U32), draw(U32), pixel_format, memoryview(draw(st.binary(min_size=1, max_size=20)))
        )
    step = 2 if pixel_format in SUBSAMPLED else 1
    width, height = draw(st.integers(1, 4)) * step, draw(st.integers(1, 4)) * step
    size = pixel_bytes(pixel_format, width, height)
    return Picture(width, height, pixel_format, memoryview(draw(st.binary(min_size=size, max_size=size))))


def shared(picture: Picture) -> SharedPicture:
    return SharedPicture(picture.width, picture.height, picture.format, len(picture.data))


MESSAGES = st.one_of(
    st.builds(Command, U32, st.binary(max_size=30)),
    st.builds(InferJpeg, U32, U8, st.binary(max_size=30).map(memoryview), OPTIONS),
    st.builds(InferRaw, U32, U8, pictures(), OPTIONS),
    st.builds(InferBatch, U32, U8, st.lists(pictures(), max_size=4).map(tuple), OPTIONS),
    st.builds(CacheFrame, U32, U32, pictures(), OPTIONS),
    st.builds(InferCached, U32, U8, U32, OPTIONS),
    st.builds(InferShared, U32, U8, U32, st.integers(0, 2**64 - 1), pictures().map(shared), OPTIONS),
)


@given(st.lists(MESSAGES, max_size=4), st.booleans())
@settings(deadline=None)
def test_round_trip(decode, messages, strict):
    packets = [message.encode() for message in messages]
    expected = [
        message
        if isinstance(message, Command)
        else msgspec.structs.replace(message, payload_bytes=len(packet) - 9)
        for message, packet in zip(messages, packets, strict=True)
    ]
    assert decode(b"".join(packets), strict=strict) == expected
    assert [result.payload_bytes for result in expected] == [len(packet) - 9 for packet in packets]


GRAY = Picture(3, 2, PixelFormat.GRAY, memoryview(b"abcdef"))
IN_REGION = SharedPicture(3, 2, PixelFormat.GRAY, 6)
OPTED = RequestOptions(iou=0.5)
SAMPLES = {
    "raw": (InferRaw(1, 2, GRAY), 16),
    "batch": (InferBatch(1, 2, (GRAY, GRAY)), 40),
    "cache": (CacheFrame(1, 2, GRAY), 19),
    "cached": (InferCached(1, 2, 3), 5),
    "shared": (InferShared(1, 2, 3, 4, IN_REGION), 26),
    "raw, options": (InferRaw(1, 2, GRAY, OPTED), 16),
    "batch, options": (InferBatch(1, 2, (GRAY, GRAY), OPTED), 40),
    "cache, options": (CacheFrame(1, 2, GRAY, OPTED), 19),
    "cached, options": (InferCached(1, 2, 3, OPTED), 5),
    "shared, options": (InferShared(1, 2, 3, 4, IN_REGION, OPTED), 26),
    "jpeg, options": (InferJpeg(1, 2, memoryview(b""), OPTED), 1),
}
"""Messages, and how many bytes their payload has behind the options."""

HAVE_AN_END = set(MessageType) - {MessageType.COMMAND, MessageType.INFER_JPEG}


@pytest.mark.parametrize(("message", "size"), SAMPLES.values(), ids=SAMPLES)
def test_every_truncation_is_a_bad_request(message, size):
    packet = message.encode()
    type_byte, payload = packet[8], packet[9:]
    prefix = len(payload) - size
    for end in range(len(payload)):
        with pytest.raises(WireError) as caught:
            decode_message(type_byte, 1, payload[:end], strict=False)
        assert caught.value.code is ErrorCode.BAD_REQUEST
        in_item = message.TYPE is MessageType.INFER_BATCH and end >= prefix + 2
        assert caught.value.payload_fault is (end >= prefix and not in_item), end


@pytest.mark.parametrize(
    "message", [message for message, _ in SAMPLES.values() if message.TYPE in HAVE_AN_END]
)
def test_excess_bytes_pass_for_v2_only(message):
    packet = message.encode()
    decoded = decode_message(packet[8], 1, packet[9:] + b"excess", strict=False)
    assert decoded == msgspec.structs.replace(message, payload_bytes=len(packet) - 9 + 6)
    with pytest.raises(WireError) as caught:
        decode_message(packet[8], 1, packet[9:] + b"excess", strict=True)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_raw_pictures_are_cut_to_their_pixels_without_a_copy():
    payload = InferRaw(1, 2, GRAY).encode()[9:] + b"excess"
    message = decode_message(MessageType.INFER_RAW, 1, payload, strict=False)
    assert message.picture.data == b"abcdef"
    assert message.picture.data.obj is payload


def in_packet(*header: int) -> InferRaw:
    return InferRaw(1, 2, Picture(*header, memoryview(b"abc")))


def in_region(*header: int) -> InferShared:
    return InferShared(1, 2, 3, 4, SharedPicture(*header, 3))


BOTH_KINDS = pytest.mark.parametrize("make", [in_packet, in_region])
"""Three bytes for a picture of any header, in a packet and in a region: the same checks hold."""


@BOTH_KINDS
@pytest.mark.parametrize("value", sorted(set(range(256)) - set(PixelFormat)))
def test_every_unknown_pixel_format(value, make):
    packet = make(1, 1, value).encode()
    with pytest.raises(WireError, match=rf"^raw wrap failed: unknown pixel format {value}$"):
        decode_message(packet[8], 1, packet[9:], strict=False)


@BOTH_KINDS
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("pixel_format", sorted(set(PixelFormat) - {PixelFormat.ENCODED}))
@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 2), (2, 0), (2**32 - 2, 2**32 - 2), (2, 4)])
def test_sizes_that_the_bytes_do_not_fill(pixel_format, width, height, strict, make):
    packet = make(width, height, pixel_format).encode()
    with pytest.raises(WireError, match=r"^raw wrap failed: ") as caught:
        decode_message(packet[8], 1, packet[9:], strict)
    assert caught.value.payload_fault


def test_a_picture_in_a_region_takes_no_more_than_its_pixels():
    packet = InferShared(1, 2, 3, 4, SharedPicture(3, 2, PixelFormat.GRAY, 4096)).encode()
    assert decode_message(packet[8], 1, packet[9:], strict=False).picture == IN_REGION
    with pytest.raises(WireError, match=r"^raw wrap failed: 3x2 GRAY takes 6 bytes, got 4096$") as caught:
        decode_message(packet[8], 1, packet[9:], strict=True)
    assert caught.value.payload_fault


def test_an_encoded_picture_in_a_region_is_the_whole_file():
    message = in_region(0, 0, PixelFormat.ENCODED)
    packet = message.encode()
    assert decode_message(packet[8], 1, packet[9:], strict=True).picture == message.picture


def test_types_are_served_with_options_but_for_commands():
    assert set(MESSAGE_TYPES) == set(MessageType)
    assert {kind for kind in SERVED_TYPES if kind & OPTIONS_FLAG} == {0x81, 0x82, 0x83, 0x84, 0x85, 0x86}
    for kind, message_class in MESSAGE_TYPES.items():
        assert kind == message_class.TYPE


def test_types_that_are_not_served_are_rejected(decode):
    for type_byte in set(range(256)) - SERVED_TYPES:
        (rejected,) = decode(bytes((8, 0, 0, 0, 9, 0, 0, 0, type_byte, 1, 2, 3)))
        assert rejected.code is ErrorCode.UNKNOWN_TYPE
        assert rejected.error == f"unknown msg_type: {type_byte}"
        takes_none = type_byte in {0x80, 0x88, 0x89}  # the flag makes another type of those
        assert rejected.type == (type_byte if takes_none else type_byte & 0x7F)
        assert not rejected.payload_fault


def test_options_too_long_for_their_length_are_not_written():
    with pytest.raises(ValueError, match="at most 65535"):
        InferCached(1, 2, 3, RequestOptions(classes=("x" * 70_000,))).encode()


def test_pixel_bytes():
    sizes = {member: pixel_bytes(member, 4, 2) for member in PixelFormat if member is not PixelFormat.ENCODED}
    assert list(sizes.values()) == [24, 24, 8, 32, 32, 12, 12]
    with pytest.raises(KeyError):
        pixel_bytes(PixelFormat.ENCODED, 4, 2)
