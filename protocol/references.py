"""Request packets that name a picture which lies elsewhere: in the frame cache, or in a shared region.

As the others in `messages`, which exports them too: a frozen struct each, with `decode` and `encode_parts`.
"""

import struct
from typing import ClassVar, Self

from protocol import errors
from protocol.errors import bad_request
from protocol.options import NO_OPTIONS, RequestOptions
from protocol.payload import Envelope, MessageType, Packet, Parts, packet_parts
from protocol.picture import SharedPicture, describe_picture

_CACHED = struct.Struct("<BI")  # model, frame_id
_SHARED = struct.Struct("<BIQIIBI")  # model, region_id, offset, width, height, pixel_format, size

CACHED_BYTES = _CACHED.size
"""The whole payload of an INFER_CACHED without options."""


class InferCached(Packet, frozen=True, gc=False):
    """INFER_CACHED: a model over a picture that was cached before."""

    TYPE: ClassVar = MessageType.INFER_CACHED

    request_id: int
    model: int
    frame_id: int
    options: RequestOptions = NO_OPTIONS
    payload_bytes: int = 0
    """Payload length of the packet it came in."""

    @classmethod
    def decode(cls, packet: Envelope) -> Self:
        (model, frame_id), rest = packet.take_head(_CACHED, cls.TYPE)
        packet.check_end(rest, cls.TYPE)
        return cls(packet.request_id, model, frame_id, packet.options, packet.payload_bytes)

    @classmethod
    def unpack_from(cls, request_id: int, buffer: bytearray, offset: int) -> Self:
        """Decode a payload of exactly CACHED_BYTES, without options, where it lies."""
        model, frame_id = _CACHED.unpack_from(buffer, offset)
        return cls(request_id, model, frame_id, NO_OPTIONS, CACHED_BYTES)

    def encode_parts(self) -> Parts:
        head = _CACHED.pack(self.model, self.frame_id)
        return packet_parts(self.request_id, self.TYPE, self.options, head)


class InferShared(Packet, frozen=True, gc=False):
    """INFER_SHARED: a model over a picture in a region of shared memory."""

    TYPE: ClassVar = MessageType.INFER_SHARED

    request_id: int
    model: int
    region_id: int
    offset: int
    """Where in the region the picture begins, in bytes. Nothing here knows how long the region is."""
    picture: SharedPicture
    options: RequestOptions = NO_OPTIONS
    payload_bytes: int = 0
    """Payload length of the packet it came in; the picture is not part of it."""

    @classmethod
    def decode(cls, packet: Envelope) -> Self:
        head, rest = packet.take_head(_SHARED, cls.TYPE)
        packet.check_end(rest, cls.TYPE)
        model, region_id, offset, width, height, pixel_format, size = head
        try:
            picture = describe_picture(width, height, pixel_format, size, packet.strict)
        except ValueError as error:
            raise bad_request(f"{errors.RAW_WRAP_PREFIX}{error}", payload_fault=True) from error
        return cls(packet.request_id, model, region_id, offset, picture, packet.options, packet.payload_bytes)

    def encode_parts(self) -> Parts:
        it = self.picture
        head = _SHARED.pack(self.model, self.region_id, self.offset, it.width, it.height, it.format, it.size)
        return packet_parts(self.request_id, self.TYPE, self.options, head)
