"""Makes small clips whose frames can be told apart: each is gray, and how bright says which it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

STEP = 4
"""Luma levels between one frame's picture and the next one's."""
LEVELS = 48
"""After so many frames the brightness begins anew."""


def luma_of(number: int) -> int:
    """Return the luma, 16 to 235, of frame `number`."""
    return 20 + number % LEVELS * STEP


def number_of(frame_data: NDArray[np.uint8], height: int) -> int:
    """Return which frame of a clip this is, modulo `LEVELS`, by its luma; of I420 and NV12."""
    return round((float(np.mean(frame_data[:height])) - 20) / STEP)


@dataclass(frozen=True, slots=True)
class Clip:
    """What to encode, and how to put it into a container."""

    container: str = "mp4"
    """A muxer of libavformat: "mp4", "matroska", "webm", "mpegts", "avi", "flv"."""
    codec: str = "libx264"
    frames: int = 30
    width: int = 64
    height: int = 48
    fps: int = 30
    pixel_format: str = "yuv420p"
    gop: int = 10
    """Frames from one key frame to the next."""
    b_frames: int = 0
    muxer: Mapping[str, str] = field(default_factory=dict)
    """Options of the muxer."""
    encoder: Mapping[str, str] = field(default_factory=dict)
    """Options of the encoder."""
    prepare: Callable[[Any], None] | None = None
    """Called with the stream before anything is encoded: for a rotation, a pixel aspect, colours."""
    picture: Callable[[int, int, int], NDArray[np.uint8]] | None = None
    """Luma (height, width) by number, height, width; None: one level all over."""


FASTSTART = Clip(muxer={"movflags": "faststart"})
FRAGMENTED = Clip(muxer={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
INDEX_AT_END = Clip()
MATROSKA = Clip(container="matroska")
WEBM = Clip(container="webm", codec="libvpx")
TRANSPORT = Clip(container="mpegts")

BY_NAME = {
    "faststart": FASTSTART,
    "fragmented": FRAGMENTED,
    "index_at_end": INDEX_AT_END,
    "matroska": MATROSKA,
    "webm": WEBM,
    "transport": TRANSPORT,
}
"""A clip of 30 frames of each kind that is pushed to the worker."""


def encode(clip: Clip) -> bytes:
    """Return the whole file."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "clip")  # a muxer that moves the index to the front reads its file by name
        _write(clip, path)
        return path.read_bytes()


def _write(clip: Clip, path: Path) -> None:
    with av.open(str(path), "w", format=clip.container, container_options=dict(clip.muxer)) as container:
        stream = container.add_stream(clip.codec, rate=clip.fps, options=_encoder_options(clip))
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, clip.pixel_format
        stream.codec_context.gop_size = clip.gop
        stream.codec_context.max_b_frames = clip.b_frames
        stream.codec_context.time_base = Fraction(1, clip.fps)
        if clip.prepare is not None:
            clip.prepare(stream)
        for number in range(clip.frames):
            container.mux(stream.encode(_frame(clip, number)))
        container.mux(stream.encode(None))


def _encoder_options(clip: Clip) -> dict[str, str]:
    known = {
        "libx264": {"preset": "ultrafast", "x264-params": "scenecut=0", "threads": "1"},
        "libvpx": {"deadline": "realtime", "cpu-used": "8", "b": "1M"},
    }
    return {**known.get(clip.codec, {}), **clip.encoder}


def _frame(clip: Clip, number: int) -> av.VideoFrame:
    gray = np.full((clip.height * 3 // 2, clip.width), 128, np.uint8)
    luma = luma_of(number) if clip.picture is None else clip.picture(number, clip.height, clip.width)
    gray[: clip.height] = luma
    frame = av.VideoFrame.from_ndarray(gray, format="yuv420p")
    if clip.pixel_format != "yuv420p":
        frame = frame.reformat(format=clip.pixel_format)
    frame.pts = number
    frame.time_base = Fraction(1, clip.fps)
    return frame
