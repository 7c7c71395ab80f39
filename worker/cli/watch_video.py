"""Writes the annotated video: one picture a frame of the source, at that frame's very time."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from postprocessors.draw import annotate
from postprocessors.results import Detection
from preprocess.buffers import BufferPool
from preprocess.decode import decode
from preprocess.frame import Frame
from preprocess.options import ChannelOrder, ColorSpace, DecodeOptions
from protocol.pixel_format import PixelFormat
from streaming.base import VideoFrame
from worker.cli.failures import CommandFailed
from worker.cli.terminal import printable
from worker.cli.watch_containers import CONTAINERS, Encoder

_POOL_BYTES = 64 << 20
_LATEST_START_MS = 60_000.0
"""Of what begins later, or before 0, the beginning is moved to 0: broadcasts count from anywhere."""
_H273 = {ColorSpace.BT709: 1, ColorSpace.BT601: 6}
"""ITU-T H.273: the number of matrix, primaries and transfer, of HD and of SD (SMPTE 170M)."""
_MATRICES = {ColorSpace.BT709: Colorspace.ITU709, ColorSpace.BT601: Colorspace.ITU601}
_USUAL_RATE = 30.0
_AS_IS = {PixelFormat.I420: "yuv420p", PixelFormat.NV12: "nv12"}
"""What an encoder takes without a conversion to colours and back, as PyAV calls it."""
_ORDERS = {
    PixelFormat.RGB: ChannelOrder.RGB,
    PixelFormat.RGBA: ChannelOrder.RGB,
}
"""All others are blue first once they are decoded."""


class Artist:
    """Draws boxes into frames. Not thread-safe."""

    def __init__(self) -> None:
        self._pool = BufferPool(_POOL_BYTES)

    def draw(self, frame: VideoFrame, found: list[Detection]) -> NDArray[np.uint8]:
        """Return a copy, (height, width, 3), blue first."""
        options = DecodeOptions(color_space=frame.color_space or ColorSpace.BT601)
        source = Frame(frame.frame_data.data.cast("B"), frame.width, frame.height, frame.format)
        pixels = decode(source, options, self._pool).array
        colored = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
        if _ORDERS.get(frame.format) is ChannelOrder.RGB:
            colored = colored[..., ::-1]
        return annotate(colored, found, ChannelOrder.BGR)


class AnnotatedVideo:
    """A video file that has its name once it is whole. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        """Create it; nothing is written before the first frame.

        Args:
            path: of the file; its suffix is one of `CONTAINERS`.
        """
        self.path = path
        self.rate: float | None = None
        """Frames a second on average, for the encoder's choices; to be set before the first frame."""
        self._part = path.with_name(f"{path.stem}.part{path.suffix}")
        self._reformatter = VideoReformatter()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._color_space = ColorSpace.BT601
        self._tick = Fraction(1)
        self._shift_ms = 0.0
        self._last = -1
        self._last_step = 1

    def write(self, frame: VideoFrame, drawn: NDArray[np.uint8] | None) -> None:
        """Add a picture.

        Args:
            frame: the source's.
            drawn: what is shown in its place, (height, width, 3), blue first; None: itself.

        Raises:
            CommandFailed: the file cannot be written.
        """
        try:
            if self._container is None:
                self._open(frame)
            picture = self._picture(frame, drawn)
            picture.pts, picture.time_base = self._time_of(frame), self._tick
            self._encode(picture)
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def finish(self) -> bool:
        """Write what is left and give the file its name; returns whether there is one.

        Raises:
            CommandFailed: the file cannot be written.
        """
        container, self._container = self._container, None
        if container is None:
            return False
        try:
            assert self._stream is not None
            for packet in self._stream.encode(None):
                self._mux(container, packet)
            container.close()
            self._part.replace(self.path)
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error
        return True

    def _open(self, frame: VideoFrame) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kind = CONTAINERS[self.path.suffix.lower()]
        encoder = next(one for one in kind.encoders if one.name in av.codecs_available)
        container = av.open(str(self._part), "w", options=dict(kind.options))
        self._container = container
        self._tick = encoder.tick
        self._color_space = frame.color_space or ColorSpace.BT601
        self._shift_ms = 0.0 if 0 <= frame.timestamp_ms < _LATEST_START_MS else frame.timestamp_ms
        self._stream = self._added(container, encoder, frame)

    def _added(self, container: OutputContainer, encoder: Encoder, frame: VideoFrame) -> VideoStream:
        rate = Fraction(self.rate or _USUAL_RATE).limit_denominator(1001)
        stream = container.add_stream(encoder.name, rate=rate, options=dict(encoder.options))
        assert isinstance(stream, VideoStream)
        # 4:2:0 has even sides: an odd one grows by the last row or column once more.
        stream.width, stream.height = frame.width + frame.width % 2, frame.height + frame.height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = encoder.tick
        context.color_range = ColorRange.MPEG
        context.colorspace = context.color_primaries = context.color_trc = _H273[self._color_space]
        return stream

    def _picture(self, frame: VideoFrame, drawn: NDArray[np.uint8] | None) -> av.VideoFrame:
        """Return what is encoded: of the video's size, 4:2:0, limited range."""
        assert self._stream is not None
        if drawn is None:
            picture = av.VideoFrame.from_ndarray(frame.frame_data, format=_AS_IS[frame.format])
        else:
            picture = av.VideoFrame.from_ndarray(_even(drawn), format="bgr24")
        matrix = _MATRICES[self._color_space]
        return self._reformatter.reformat(
            picture,
            width=self._stream.width,
            height=self._stream.height,
            format="yuv420p",
            src_colorspace=matrix,
            dst_colorspace=matrix,
            dst_color_range=ColorRange.MPEG,
        )

    def _time_of(self, frame: VideoFrame) -> int:
        """Return a frame's time in ticks, later than the one before it."""
        exact = round((frame.timestamp_ms - self._shift_ms) / 1000 / self._tick)
        time = max(exact, self._last + 1)
        self._last_step = time - self._last
        self._last = time
        return time

    def _encode(self, picture: av.VideoFrame) -> None:
        assert self._container is not None
        assert self._stream is not None
        for packet in self._stream.encode(picture):
            self._mux(self._container, packet)

    def _mux(self, container: OutputContainer, packet: "av.Packet[Any]") -> None:
        if not packet.duration:
            packet.duration = (
                self._last_step
            )  # matters for the last one alone: all others end where the next begins
        container.mux(packet)

    def _failed(self, error: Exception) -> CommandFailed:
        why = getattr(error, "strerror", None) or str(error)
        then = "check the path, its permissions and the space that is left"
        return CommandFailed(f"{printable(self.path)} cannot be written", why, then)


def is_encodable(frame: VideoFrame) -> bool:
    """Return whether an encoder takes a frame as it is."""
    return frame.format in _AS_IS


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    if height % 2 == width % 2 == 0:
        return picture
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
