"""Decodes H.264 and VP8 that come one picture a packet, without a container; the adapter of PyAV for that."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import av
from av.codec.context import Flags
from av.error import FFmpegError, InvalidDataError
from av.video.codeccontext import VideoCodecContext

from streaming.base import VideoFrame
from streaming.channel import IncomingFrame
from streaming.errors import StreamTooLargeError
from streaming.header import FrameFormat, refuse_larger
from streaming.key_pictures import Role, role_of, size_of
from streaming.packet_decoders import Candidate, Damage, metadata
from streaming.pixels import PixelReader
from streaming.settings import DecodeSettings

_NAMES = {FrameFormat.H264: "h264", FrameFormat.VP8: "vp8"}

_REMEMBERED = 64
"""Packets whose times are kept; H.264 shows a picture at most 16 pictures late."""
_MAX_PARAMETER_BYTES = 1 << 20
"""Of parameter sets that wait for their picture; real ones have a hundred."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """What is known of a packet in the decoder's hands."""

    timestamp_ms: int
    damaged: bool
    """It builds upon something that could not be read."""


class CodedDecoder:
    """Keeps the decoder's state from packet to packet; shows pictures in their order, each at its own time.

    Nothing is shown before the first key frame. What follows a packet that cannot be read is shown
    as damaged, to the next key frame.
    """

    def __init__(self, format_: FrameFormat, settings: DecodeSettings, damage: Damage) -> None:
        self.codec = _NAMES[format_]
        self.pixel_aspect = Fraction(1)
        self._format = format_
        self._settings = settings
        self._damage = damage
        # Without a container nothing says how a picture is to be turned.
        self._reader = PixelReader(replace(settings, rotate=False))
        self._context = _open(self.codec, settings)
        self._parameters = b""  # sets that came by themselves; the decoder takes them with a picture only
        self._sent: dict[int, _Sent] = {}  # by what a packet has as its pts, and so its frame
        self._count = 0
        self._begun = False  # a key frame has been read
        self._tainted = False  # something that the next pictures build upon is missing

    def decode(self, incoming: IncomingFrame) -> list[Candidate]:
        timestamp_ms = incoming.header.timestamp_ms
        role = role_of(self._format, incoming.data)
        if role is Role.PARAMETERS:
            self._hold(incoming)
            return []
        if role is Role.KEY:
            refuse_larger(*(size_of(self._format, incoming.data) or (0, 0)), self._settings.max_pixels)
            self._tainted = False
        elif not self._begun:
            return []
        elif self._settings.keyframes_only:
            return [Candidate(timestamp_ms, False, _left_out)]
        return self._pictures(incoming, role)

    def flush(self) -> list[Candidate]:
        return self._drain() if self._begun else []

    def _hold(self, incoming: IncomingFrame) -> None:
        if len(self._parameters) + len(incoming.data) > _MAX_PARAMETER_BYTES:
            raise StreamTooLargeError(
                f"more than {_MAX_PARAMETER_BYTES} bytes of parameter sets without a picture"
            )
        self._parameters += incoming.data

    def _pictures(self, incoming: IncomingFrame, role: Role) -> list[Candidate]:
        data, self._parameters = self._parameters + incoming.data, b""
        candidates: list[Candidate] = []
        try:
            candidates += self._send(data, incoming.header.timestamp_ms)
            self._begun = True
            if self._settings.keyframes_only:  # the next one is far: what is held back is wanted now
                candidates += self._drain()
                self._context.flush_buffers()
        except FFmpegError:
            self._fail(incoming.header.timestamp_ms)
        return candidates

    def _send(self, data: bytes, timestamp_ms: int) -> list[Candidate]:
        if not data:
            raise InvalidDataError(0, "an empty packet")  # to the decoder it would be the stream's end
        packet = av.Packet(data)
        packet.pts = self._count
        self._sent[self._count] = _Sent(timestamp_ms, self._tainted)
        self._sent.pop(self._count - _REMEMBERED, None)
        self._count += 1
        return [self._candidate(frame) for frame in self._context.decode(packet)]

    def _drain(self) -> list[Candidate]:
        try:
            return [self._candidate(frame) for frame in self._context.decode(None)]
        except FFmpegError:
            return []  # what is held back is of packets that were counted when they failed

    def _fail(self, timestamp_ms: int) -> None:
        """Go on after a packet that could not be read, unless it is too large; the context has its size."""
        refuse_larger(self._context.width, self._context.height, self._settings.max_pixels)
        self._damage.add(timestamp_ms)
        self._tainted = True

    def _candidate(self, frame: av.VideoFrame) -> Candidate:
        sent = self._sent.pop(-1 if frame.pts is None else frame.pts, None) or _Sent(0, self._tainted)
        self.pixel_aspect = self._context.sample_aspect_ratio or Fraction(1)
        if frame.is_corrupt:
            self._damage.add(sent.timestamp_ms)
            self._tainted = True
        damaged = frame.is_corrupt or sent.damaged
        make = partial(self._frame, frame, self.pixel_aspect, sent.timestamp_ms, damaged)
        return Candidate(sent.timestamp_ms, frame.key_frame, make)

    def _frame(
        self, frame: av.VideoFrame, aspect: Fraction, timestamp_ms: float, damaged: bool, number: int
    ) -> VideoFrame:
        picture = self._reader.read(frame, aspect)
        known = metadata(frame.key_frame, damaged)
        return VideoFrame(
            picture.pixels,
            picture.format,
            picture.width,
            picture.height,
            timestamp_ms,
            number,
            known,
            picture.color_space,
        )


def _open(name: str, settings: DecodeSettings) -> VideoCodecContext:
    context = av.CodecContext.create(name, "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_type = "SLICE"  # by frames, each thread would hold one back
    context.thread_count = settings.threads
    context.flags |= Flags.low_delay
    # Coded sizes are a little larger than those shown, which are looked at afterwards.
    context.options = {"max_pixels": str(settings.max_pixels + settings.max_pixels // 4 + 4096)}
    return context


def _left_out(_number: int) -> None:
    """Stand for a picture that is not decoded, as it is no key frame."""
