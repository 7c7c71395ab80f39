"""Makes frames with headers, whose pictures can be told apart as those of `clips`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from streaming.header import FrameFormat, FrameHeader
from tests.streaming.clips import luma_of

_ENCODERS = {
    FrameFormat.H264: ("libx264", {"preset": "ultrafast", "x264-params": "scenecut=0", "threads": "1"}),
    FrameFormat.VP8: ("libvpx", {"deadline": "realtime", "cpu-used": "8", "b": "1M"}),
}
PERIOD_MS = 40


@dataclass(frozen=True, slots=True)
class Item:
    """One frame, encoded."""

    header: FrameHeader
    data: bytes
    keyframe: bool

    @property
    def packed(self) -> bytes:
        return self.header.pack() + self.data


def coded(
    format_: FrameFormat,
    numbers: Sequence[int],
    *,
    width: int = 64,
    height: int = 48,
    gop: int = 10,
    b_frames: int = 0,
    aspect: Fraction = Fraction(1),
) -> list[Item]:
    """Encode the gray pictures of these numbers, in the order in which they are decoded."""
    name, options = _ENCODERS[format_]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 1000)
    encoder.framerate = Fraction(1000, PERIOD_MS)
    encoder.gop_size, encoder.max_b_frames = gop, b_frames
    encoder.sample_aspect_ratio = aspect
    encoder.options = dict(options)
    packets = [packet for number in numbers for packet in encoder.encode(_gray(number, width, height))]
    packets += encoder.encode(None)
    headers = [FrameHeader(packet.pts or 0, width, height, format_) for packet in packets]
    return [
        Item(header, bytes(packet), packet.is_keyframe)
        for header, packet in zip(headers, packets, strict=True)
    ]


def _gray(number: int, width: int, height: int) -> av.VideoFrame:
    pixels = np.full((height * 3 // 2, width), 128, np.uint8)
    pixels[:height] = luma_of(number)
    frame = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
    frame.pts, frame.time_base = number * PERIOD_MS, Fraction(1, 1000)
    return frame


def raw(timestamp_ms: int, pixels: np.ndarray, format_: FrameFormat = FrameFormat.RGB) -> bytes:
    """Return an item of pixels (height, width, 3)."""
    height, width = pixels.shape[:2]
    return FrameHeader(timestamp_ms, width, height, format_).pack() + pixels.tobytes()


def packed(items: Iterable[Item]) -> list[bytes]:
    """Return the items as a data channel brings them."""
    return [item.packed for item in items]
