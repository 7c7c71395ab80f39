"""Makes frames of what came with a header: one decoder a format, each with what it remembers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import DecodeError
from preprocess.frame import Frame
from preprocess.image_header import probe
from preprocess.options import DecodeOptions
from protocol.pixel_format import PixelFormat
from streaming.base import VideoFrame
from streaming.channel import IncomingFrame
from streaming.channel_order import reordered
from streaming.header import FrameFormat, refuse_larger
from streaming.libraries import library
from streaming.settings import DecodeSettings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A frame of which only is known that it is there: whether it is given is still to be decided."""

    timestamp_ms: float
    keyframe: bool
    frame: Callable[[int], VideoFrame | None]
    """Makes the frame, of this number; None where it turns out to be damaged beyond use."""


@dataclass(slots=True)
class Damage:
    """What could not be read, or not wholly."""

    count: int = 0
    first_ms: float | None = None

    def add(self, timestamp_ms: float) -> None:
        """Count one more, of this time."""
        self.count += 1
        if self.first_ms is None:
            self.first_ms = timestamp_ms


class PacketDecoder(Protocol):
    """Decodes consecutive frames of one format; for one thread."""

    codec: str
    """As "started" has it."""
    pixel_aspect: Fraction
    """Width to height of a pixel as it was coded; what comes out has square ones."""

    def decode(self, incoming: IncomingFrame) -> list[Candidate]:
        """Return what can be shown now, in the order in which it is shown.

        Raises:
            StreamTooLargeError: a frame has more pixels than it may.
        """
        ...

    def flush(self) -> list[Candidate]:
        """Return what was held back: nothing of this format comes any more."""
        ...


def open_decoder(format_: FrameFormat, settings: DecodeSettings, damage: Damage) -> PacketDecoder:
    """Return a fresh decoder.

    Raises:
        UnsupportedStreamError: a library is not installed.
    """
    return _DECODERS[format_](format_, settings, damage)


def metadata(keyframe: bool, damaged: bool) -> Mapping[str, Any]:
    """Return the metadata of a frame."""
    return {"keyframe": keyframe, "damaged": True} if damaged else {"keyframe": keyframe}


class RawDecoder:
    """RGB and BGR: the pixels stay where they are, unless another order is asked for."""

    pixel_aspect = Fraction(1)

    def __init__(self, format_: FrameFormat, settings: DecodeSettings, _damage: Damage) -> None:
        self.codec = f"{format_.name.lower()}24"
        self._asked = settings.pixel_format

    def decode(self, incoming: IncomingFrame) -> list[Candidate]:
        return [Candidate(incoming.header.timestamp_ms, True, partial(self._frame, incoming))]

    def flush(self) -> list[Candidate]:
        return []

    def _frame(self, incoming: IncomingFrame, number: int) -> VideoFrame:
        header = incoming.header
        pixels = np.frombuffer(incoming.data, np.uint8).reshape(header.height, header.width, 3)
        have = PixelFormat[header.format.name]
        return pixel_frame(pixels, have, self._asked, header.timestamp_ms, number)


class JpegDecoder:
    """JPEG: passed on as it is, for whoever takes it to decode; decoded where a format is asked for."""

    codec = "mjpeg"
    pixel_aspect = Fraction(1)

    def __init__(self, _format: FrameFormat, settings: DecodeSettings, damage: Damage) -> None:
        self._settings = settings
        self._damage = damage

    def decode(self, incoming: IncomingFrame) -> list[Candidate]:
        timestamp_ms = incoming.header.timestamp_ms
        try:
            width, height = probe(incoming.data)
        except DecodeError:
            self._damage.add(timestamp_ms)
            return []
        refuse_larger(width, height, self._settings.max_pixels)
        return [Candidate(timestamp_ms, True, partial(self._frame, incoming, width, height))]

    def flush(self) -> list[Candidate]:
        return []

    def _frame(self, incoming: IncomingFrame, width: int, height: int, number: int) -> VideoFrame | None:
        timestamp_ms = incoming.header.timestamp_ms
        if self._settings.pixel_format is None:
            encoded = np.frombuffer(incoming.data, np.uint8)
            known = metadata(keyframe=True, damaged=False)
            return VideoFrame(encoded, PixelFormat.ENCODED, width, height, timestamp_ms, number, known)
        try:
            pixels, have = self._pixels(Frame(incoming.data, width, height, PixelFormat.ENCODED))
        except DecodeError:
            self._damage.add(timestamp_ms)
            return None
        return pixel_frame(pixels, have, self._settings.pixel_format, timestamp_ms, number)

    def _pixels(self, picture: Frame) -> tuple[NDArray[np.uint8], PixelFormat]:
        library("cv2", "opencv")
        from preprocess.buffers import BufferPool  # noqa: PLC0415 - with the next
        from preprocess.decode import decode  # noqa: PLC0415 - loads OpenCV

        # Nothing is kept for the next one: who takes the frames may hold on to any number of them.
        decoded = decode(picture, DecodeOptions(max_pixels=self._settings.max_pixels), BufferPool(0))
        return decoded.array, decoded.format


def pixel_frame(
    pixels: NDArray[np.uint8], have: PixelFormat, asked: PixelFormat | None, timestamp_ms: float, number: int
) -> VideoFrame:
    """Return a frame of pixels that need no decoding, in the order that is asked for.

    Args:
        pixels: (height, width, channels), or (height, width) of GRAY.
        have: their order.
        asked: the order to give; None for theirs.
        timestamp_ms: of the frame.
        number: of the frame.
    """
    wanted = have if asked is None else asked
    given = reordered(pixels, have, wanted)
    height, width = given.shape[:2]
    return VideoFrame(
        given, wanted, width, height, timestamp_ms, number, metadata(keyframe=True, damaged=False)
    )


def _coded(format_: FrameFormat, settings: DecodeSettings, damage: Damage) -> PacketDecoder:
    library("av", "video")
    from streaming.coded import CodedDecoder  # noqa: PLC0415 - loads PyAV

    return CodedDecoder(format_, settings, damage)


_DECODERS: dict[FrameFormat, Callable[[FrameFormat, DecodeSettings, Damage], PacketDecoder]] = {
    FrameFormat.RGB: RawDecoder,
    FrameFormat.BGR: RawDecoder,
    FrameFormat.H264: _coded,
    FrameFormat.VP8: _coded,
    FrameFormat.JPEG: JpegDecoder,
}
