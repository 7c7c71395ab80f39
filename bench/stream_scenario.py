"""What is measured of streams: a video through the worker, against a loop that does without one, or alone."""

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from msgspec import Meta, field

from bench.scenario_base import Base, Positive, Seconds
from bench.target import Metric

Way: TypeAlias = Literal["rgb24", "I420"]
"""How a bare loop gets from a decoded frame to channels: by libswscale, or by OpenCV from packed planes."""


class Streamed(Base, frozen=True, kw_only=True):
    """A stream through one model."""

    DRIVEN: ClassVar[bool] = False

    model: str
    """As of every other scenario."""
    config: dict[str, Any] = field(default_factory=dict)
    """What the handshake says besides the defaults."""
    model_config: dict[str, Any] = field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model,)


class StreamRatio(Streamed, frozen=True, kw_only=True, tag="stream-ratio"):
    """Frames a second of a file, against bare loops that decode it and prepare the tensors."""

    METRICS = frozenset({Metric.RATIO, Metric.I420_RATIO})

    clip: str
    """A file of `../shared/data/videos`, or a path."""
    frames: Annotated[int, Meta(ge=0)] = 0
    """So many, from the first; 0: all."""
    through: Literal["pipe", "watch"] = "pipe"
    """`watch`: the command of this name, a process a run, from its first frame to its last on both sides."""
    predicts: bool = False
    """The bare loop predicts too."""
    ways: tuple[Way, ...] = ("rgb24",)
    """The first is the rival; a second one is measured beside it."""
    concurrency: Annotated[int, Meta(ge=0)] = 0
    """0: the better of 1 and 2, by a short trial."""

    def _made_name(self) -> str:
        return f"stream {self.clip} {self.model}" + (" by watch" if self.through == "watch" else "")


class StreamFirst(Streamed, frozen=True, kw_only=True, tag="stream-first"):
    """When the first result of a file comes that is pushed at the pace of an upload."""

    METRICS = frozenset({Metric.FIRST_SHARE, Metric.FIRST_S, Metric.FIRST_UPLOADED, Metric.FRAMES_MISSING})

    clip: str
    """As of `StreamRatio`."""
    bytes_a_second: Positive = 1_000_000
    chunk_bytes: Positive = 64 << 10
    allowed_share: float = 0.3
    """Of the upload; or `allowed_s`, whichever is later."""
    allowed_s: Seconds = 1.0

    def _made_name(self) -> str:
        return f"stream push first result, {self.clip}"


class StreamPushed(Streamed, frozen=True, kw_only=True, tag="stream-pushed"):
    """Several endless streams, pushed as fast as the worker takes them; then a worker is killed."""

    METRICS = frozenset(
        {
            *(Metric.RSS_SLOPE, Metric.RSS_GROWTH, Metric.MOST_LEAST, Metric.WRONG_FRAMES),
            *(Metric.FILES_LEFT, Metric.DISK_MB, Metric.RATE),
        }
    )

    container: Literal["mpegts", "mp4"] = "mpegts"
    """`mp4`: fragmented."""
    streams: Positive = 8
    seconds: Seconds = 60.0
    concurrency: Positive = 2

    def _made_name(self) -> str:
        return f"stream {self.streams} pushed, {self.container} {self.model}"
