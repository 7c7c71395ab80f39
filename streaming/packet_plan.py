"""Decides about packets before they are decoded: which frame each will be, and whether anybody wants it.

A packet holds one frame in the codecs named here. Their order of decoding is not that of showing; a
packet's place there is known as soon as one comes that is decoded when, or after, this one is shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from streaming.selection import Selection

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

PLANNED_CODECS = frozenset({"h264", "hevc", "mpeg4", "mjpeg", "prores", "vp8", "vp9", "av1"})
INTRA_CODECS = frozenset({"mjpeg", "prores"})
"""No frame refers to another one."""


@dataclass(slots=True)
class Planned:
    """A packet and what becomes of it."""

    packet: Packet[VideoStream]
    order: int
    """Place in the order of decoding."""
    number: int | None = None
    """Place in the order of showing; None while that is unknown."""
    wanted: bool = True
    hidden: bool = False
    """It is never shown, others refer to it."""


def can_plan(stream: VideoStream, container: str) -> bool:
    """Whether packets of this stream are frames one to one, and say when they are shown."""
    return stream.codec_context.codec.canonical_name in PLANNED_CODECS and container not in _PACKED


_PACKED = frozenset({"avi", "h264", "hevc", "m4v", "rtsp", "rtp", "sdp"})
"""Containers without times of showing, or that may have two frames of MPEG-4 in one packet."""


class Plan:
    """Takes packets as they come and gives them, in the same order, once their number is known."""

    def __init__(self, codec: str, selection: Selection, milliseconds: float, start_frame: int) -> None:
        """Create it.

        Args:
            codec: one of `PLANNED_CODECS`.
            selection: asked for every packet in the order of showing.
            milliseconds: that one unit of the packets' timestamps takes.
            start_frame: packets before the last key frame that leads there are dropped.
        """
        self._is_hidden = _HIDDEN.get(codec, _never_hidden)
        self._selection = selection
        self._milliseconds = milliseconds
        self._start_frame = start_frame
        self._skipping = start_frame > 0
        self._has_new_keyframe = False
        self._pending: deque[Planned] = deque()
        self._pending_bytes = 0
        self._unnumbered: list[tuple[int, int, Planned]] = []
        self._packets = 0
        self._numbered = 0

    def add(self, packet: Packet[VideoStream]) -> Iterator[Planned]:
        """Take a packet, give those that are decided."""
        planned = Planned(packet, self._packets)
        self._packets += 1
        self._pending.append(planned)
        self._pending_bytes += packet.size
        planned.hidden = self._is_hidden(packet)
        if not planned.hidden:
            heappush(self._unnumbered, (_shown(packet), planned.order, planned))
        if packet.dts is not None:
            self._number(packet.dts)
        if len(self._unnumbered) > _REORDERED:
            self._number(self._unnumbered[0][0])
        yield from self._decided()

    @property
    def is_past_the_end(self) -> bool:
        """Whether no packet that is still to come is given."""
        return self._selection.ended(self._numbered)

    def finish(self) -> Iterator[Planned]:
        """Give all that is left; nothing follows."""
        self._number(_END)
        self._skipping = False
        yield from self._decided()

    def _number(self, decoded: int) -> None:
        """Number what is shown at or before this time: what comes now is decoded, and shown, no earlier."""
        while self._unnumbered and self._unnumbered[0][0] <= decoded:
            shown, _, planned = heappop(self._unnumbered)
            planned.number = self._numbered
            self._has_new_keyframe |= planned.packet.is_keyframe
            self._numbered += 1
            planned.wanted = self._selection.wants(
                planned.number, shown * self._milliseconds, planned.packet.is_keyframe
            )

    def _decided(self) -> Iterator[Planned]:
        if self._skipping:
            self._skip()
        while self._pending and not self._skipping:
            planned = self._pending[0]
            if planned.number is None and not planned.hidden:
                return
            self._pending.popleft()
            self._pending_bytes -= planned.packet.size
            yield planned

    def _skip(self) -> None:
        """Drop what comes before the newest key frame that is not after the start."""
        for index in range(len(self._pending) - 1 if self._has_new_keyframe else 0, 0, -1):
            planned = self._pending[index]
            if (
                planned.packet.is_keyframe
                and planned.number is not None
                and planned.number <= self._start_frame
            ):
                for _ in range(index):
                    self._pending_bytes -= self._pending.popleft().packet.size
                break
        self._has_new_keyframe = False
        reached = self._numbered > self._start_frame
        if reached or self._pending_bytes > _GROUP_BYTES:
            self._skipping = False


_END = 1 << 63
"""After every timestamp."""
_REORDERED = 16
"""No codec shows a frame later than so many that are decoded after it."""
_GROUP_BYTES = 32 << 20
"""Of one key frame to the next that may wait; longer ones are decoded from where they begin."""


def _never_hidden(_packet: Packet[VideoStream]) -> bool:
    return False


def _hidden_vp8(packet: Packet[VideoStream]) -> bool:
    """Read the frame tag: RFC 6386, 9.1."""
    return not memoryview(packet)[0] & 0x10


def _hidden_vp9(packet: Packet[VideoStream]) -> bool:
    """Read the head of the uncompressed header; one of several frames in a packet is shown."""
    data = memoryview(packet)
    several = data[-1] & 0xE0 == 0xC0
    return not several and not data[0] & 0x0A


_HIDDEN = {"vp8": _hidden_vp8, "vp9": _hidden_vp9}


def _shown(packet: Packet[VideoStream]) -> int:
    shown = packet.pts if packet.pts is not None else packet.dts
    return 0 if shown is None else shown
