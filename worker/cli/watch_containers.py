"""The video files that `watch --out` writes: by the suffix of the name, the encoders and how time is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

_MICROSECOND = Fraction(1, 1_000_000)
_MILLISECOND = Fraction(1, 1000)
_COMMON = Fraction(1, 60_000)
"""Whole for 24, 25, 30, 50, 60 and 30000/1001 frames a second; MPEG-4 part 2 takes at most 65,535."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """One of PyAV's, set so that a packet comes for each picture, in order."""

    name: str
    tick: Fraction
    """Seconds; times are whole multiples of it."""
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of file."""

    encoders: tuple[Encoder, ...]
    """The first that is there is used."""
    options: Mapping[str, str] = field(default_factory=dict)


_X264 = {"preset": "veryfast", "crf": "20", "bf": "0"}
_MPEG4 = {"qscale": "3", "bf": "0"}
_REALTIME = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0", "crf": "31"}

_MP4 = Container(
    (Encoder("libx264", _MICROSECOND, _X264), Encoder("mpeg4", _COMMON, _MPEG4)),
    # The time of a first frame that is not at 0 is kept in units of the movie's, not of the track's.
    {"movie_timescale": "1000000"},
)
_MATROSKA = Container((Encoder("libx264", _MILLISECOND, _X264), Encoder("mpeg4", _MILLISECOND, _MPEG4)))
_WEBM = Container(
    (
        Encoder("libvpx-vp9", _MILLISECOND, {**_REALTIME, "row-mt": "1", "b": "0"}),
        Encoder("libvpx", _MILLISECOND, {**_REALTIME, "b": "8M"}),
    )
)

CONTAINERS: dict[str, Container] = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _MP4,
    ".mkv": _MATROSKA,
    ".webm": _WEBM,
}
"""Matroska and WebM count milliseconds; the others keep every microsecond."""
