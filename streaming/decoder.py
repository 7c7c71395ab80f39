"""Decodes the pictures of one stream in the order in which they are shown, over what is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
from av.codec.context import Flags
from av.error import FFmpegError, InvalidDataError

from streaming.damage import Damage, Place
from streaming.packet_plan import INTRA_CODECS, Plan, Planned, can_plan
from streaming.selection import Selection
from streaming.settings import DecodeSettings

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture, still in the decoder's memory."""

    frame: av.VideoFrame
    number: int
    timestamp_ms: float
    wanted: bool
    damaged: bool


class Decoder:
    """Decodes one stream of a container; for one thread."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        settings: DecodeSettings,
        selection: Selection,
        start_frame: int,
    ) -> None:
        self._container = container
        self._stream = stream
        self._context = stream.codec_context
        self._selection = selection
        self._keyframes_only = settings.keyframes_only
        self._clock = _Clock(stream)
        codec = self._context.codec.canonical_name
        self._intra = codec in INTRA_CODECS
        self._plan: Plan | None = None
        if (start_frame or not selection.everything) and can_plan(stream, container.format.name):
            self._plan = Plan(codec, selection, self._clock.milliseconds, start_frame)
        self._planned: dict[int, Planned] = {}
        """By their timestamps: packets that are in the decoder."""
        self._next_number = 0
        self._is_gapless = container.format.name == "matroska,webm" and len(container.streams) == 1
        self._read_to: int | None = None
        self.packets = 0
        """How many were read."""
        self.has_read_all = False
        self.damage = Damage()
        self.failure: FFmpegError | None = None
        """What ended the container before its end."""
        self.place = Place(None, 0.0)
        """The newest frame that was decoded."""
        _configure(stream, settings)

    def frames(self, stopped: Callable[[], bool]) -> Iterator[Decoded]:
        """Give what is decoded; ends early, and without an error, where `stopped` says so."""
        for packet in self._read():
            if stopped():
                return
            if self._plan is None:
                yield from self._decode(packet)
                continue
            for planned in self._plan.add(packet):
                yield from self._decode_planned(planned)
            if self._plan.is_past_the_end:
                break
        else:
            self.has_read_all = True
        for planned in self._plan.finish() if self._plan is not None else ():
            yield from self._decode_planned(planned)
        yield from self._decode(None)
        self.damage.finish(self.place)

    def _read(self) -> Iterator[Packet[VideoStream]]:
        """Give the packets, over what the container cannot make sense of."""
        attempts = 0
        while attempts < _ATTEMPTS:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:  # the last one is empty: it stands for the end
                        attempts = 0
                        self._note_packet(packet)
                        yield packet
                return
            except InvalidDataError as error:
                self.failure = error
                attempts += 1
            except FFmpegError as error:
                self.failure = error
                return

    def _note_packet(self, packet: Packet[VideoStream]) -> None:
        self.packets += 1
        if self.failure is not None:  # and yet it goes on
            self.damage.unreadable(self.failure, self.place, None)
            self.failure = None
        self._look_for_gap(packet)

    def _look_for_gap(self, packet: Packet[VideoStream]) -> None:
        """Matroska is read on after bytes that make no sense, in silence; frames were in them."""
        if not self._is_gapless or packet.pos is None or packet.pos < 0:
            return
        if self._read_to is not None and packet.pos - self._read_to > _HEADERS_BYTES:
            self.damage.lost(packet.pos - self._read_to, self.place, self._read_to)
        self._read_to = packet.pos + packet.size

    def _decode_planned(self, planned: Planned) -> Iterator[Decoded]:
        useless = self._intra or (self._keyframes_only and not planned.packet.is_keyframe)
        if useless and (planned.hidden or not planned.wanted):
            return
        # What nobody wants and nobody refers to is not decoded; the decoder knows which those are.
        self._context.skip_frame = "DEFAULT" if planned.wanted or planned.hidden else "NONREF"
        if planned.packet.pts is not None and not planned.hidden:
            self._planned[planned.packet.pts] = planned
        yield from self._decode(planned.packet)

    def _decode(self, packet: Packet[VideoStream] | None) -> Iterator[Decoded]:
        if packet is not None and packet.is_corrupt:
            self.damage.pieces.add(packet.pts)
        try:
            frames = self._context.decode(packet)
        except (av.error.EOFError, EOFError):
            return
        except FFmpegError as error:
            self.damage.unreadable(error, self.place, packet.pos if packet is not None else None)
            return
        for frame in frames:
            yield self._decoded(frame)

    def _decoded(self, frame: av.VideoFrame) -> Decoded:
        timestamp_ms = self._clock.timestamp_ms(frame)
        planned = self._planned.pop(frame.pts, None) if frame.pts is not None else None
        if planned is not None and planned.number is not None:
            number, wanted = planned.number, planned.wanted
            self._forget_before(number)
        else:
            number = self._next_number
            wanted = (
                self._selection.wants(number, timestamp_ms, frame.key_frame) if self._plan is None else False
            )
        self._next_number = number + 1
        self.place = Place(number, timestamp_ms)
        damaged = self.damage.is_damaged(frame, self.place)
        return Decoded(frame, number, timestamp_ms, wanted, damaged)

    def _forget_before(self, number: int) -> None:
        """Forget packets that gave no frame."""
        gone = [pts for pts, planned in self._planned.items() if (planned.number or 0) < number]
        for pts in gone:
            del self._planned[pts]


_ATTEMPTS = 16
"""At a packet that makes no sense; each goes on behind it."""
_HEADERS_BYTES = 1024
"""More than is between two packets of the only stream in a file."""


class _Clock:
    """Turns a stream's timestamps into milliseconds."""

    def __init__(self, stream: VideoStream) -> None:
        base = stream.time_base
        self._numerator, self._denominator = (base.numerator, base.denominator) if base else (1, 1000)
        self.milliseconds = self._numerator * 1000 / self._denominator
        rate = stream.average_rate
        self._period_ms = float(1000 / rate) if rate else 0.0
        self._last_ms: float | None = None

    def timestamp_ms(self, frame: av.VideoFrame) -> float:
        """Return when a frame is shown; where it does not say so, a period after the one before."""
        shown = frame.pts if frame.pts is not None else frame.dts
        if shown is not None:
            self._last_ms = shown * self._numerator * 1000 / self._denominator
        else:
            self._last_ms = 0.0 if self._last_ms is None else self._last_ms + self._period_ms
        return self._last_ms


def _configure(stream: VideoStream, settings: DecodeSettings) -> None:
    context = stream.codec_context
    context.thread_type = "SLICE" if settings.live else "AUTO"
    context.thread_count = settings.threads
    # A picture that is far too large is not even laid out in memory; the rest is told by its size.
    context.options = {**context.options, "max_pixels": str(min(settings.max_pixels * 4, 2**31 - 1))}
    if settings.live:
        context.flags |= Flags.low_delay
