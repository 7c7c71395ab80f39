"""What a decoder is told: how to decode, and what the container may open."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.pixel_format import PixelFormat


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """How a stream is decoded, the same for every kind of source."""

    threads: int = 0
    """Threads of the decoder; 0 = the library's choice."""
    hwaccel: str | None = None
    """None decodes in software; "auto" or a device type ("cuda", "vaapi", "qsv", "videotoolbox",
    "d3d11va") tries that and falls back to software, which "started" then says."""
    keyframes_only: bool = False
    every_nth: int = 1
    """Gives frames 0, n, 2n, … of all frames."""
    max_fps: float | None = None
    """Frames a second at most, by their timestamps."""
    rotate: bool = True
    """Apply the display matrix. Pixels are made square in any case."""
    max_pixels: int = 64 << 20
    """A larger picture is a `StreamTooLargeError`, before any frame is decoded where the container tells."""
    pixel_format: PixelFormat | None = None
    """None gives frames as they were decoded where the worker reads them so (I420 and NV12 of limited
    range, even sides, upright, square pixels), else BGR; RGB, BGR and GRAY are converted to."""
    live: bool = False
    """Low delay (slice threads, little probing) instead of throughput (frame threads)."""


@dataclass(frozen=True, slots=True)
class Access:
    """What libavformat may open, and how long that may take."""

    protocols: tuple[str, ...]
    """Its protocols, such as "file" or "tcp"; () for file objects."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of libavformat, by their names there."""
    open_timeout_s: float | None = None
    """Seconds; None waits for ever."""
    read_timeout_s: float | None = None
