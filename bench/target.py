"""Figures that scenarios give, and bounds that they should keep."""

from enum import StrEnum

from msgspec import Struct

from bench.intervals import Interval


class Metric(StrEnum):
    """A figure with an interval."""

    RATIO = "ratio"
    """Requests a second, worker / rival."""
    P50_RATIO = "p50 ratio"
    """Median latency, rival / worker: above 1 the worker is the quicker."""
    P99_RATIO = "p99 ratio"
    """99th percentile of latency, rival / worker."""
    P50_MS = "p50 ms"
    P99_MS = "p99 ms"
    RATE = "requests/s"
    EXTRA_S = "extra s"
    EXTRA_MB = "extra MB"
    CPU = "CPU %"
    """Of one core."""
    WAKE_UPS = "wake-ups/s"
    """Voluntary context switches of all threads together."""
    FLOODED_P99 = "p99 flooded / quiet"
    """Of the source that suffers most."""
    AGE = "p99 age / predict"
    """From scheduled arrival to answer, in predict times."""
    FRESH = "answered by a result %"
    RSS_GROWTH = "memory late / early"
    WRONG_ANSWERS = "lost or twice"
    """Requests without an answer, and answers beyond the first."""
    MISCOUNTED = "miscounted"
    """Answers `cancelled`, less what the answers to `cancel` say: should be none."""
    LAG_P99 = "p99 lag ms"
    """How late a timer of a host's event loop is."""
    REJECTED_OR_WRONG = "rejected or wrong"
    """Requests that were not answered by their own result."""
    WRONG = "wrong"
    """Answers that belong to another picture."""
    REJECTION_MS = "slowest rejection ms"
    """From a worker's death until a request that was in flight is rejected."""
    FAILED = "failed"
    """Requests that were answered by no result."""
    RECYCLED_P99 = "p99 recycling / calm"
    I420_RATIO = "ratio to I420"
    """Frames a second, worker / a bare loop that converts packed planes by OpenCV."""
    FIRST_SHARE = "first result / allowed"
    """When the first result of an upload comes, over when it has to."""
    FIRST_S = "first result s"
    """From the upload's begin."""
    FIRST_UPLOADED = "first result at % of the upload"
    FRAMES_MISSING = "frames missing"
    """Of a video; or too many of them."""
    RSS_SLOPE = "memory MB/min"
    """How fast it grows once it has settled."""
    MOST_LEAST = "frames most / least"
    """Of the streams that were pushed at once."""
    WRONG_FRAMES = "frames lost or twice"
    FILES_LEFT = "files left"
    """Temporary ones, after the end, and after a kill and a start."""
    DISK_MB = "disk MB"
    """The most that temporary files took."""


class Target(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bound that a figure should keep."""

    metric: Metric
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a target has either at_least or at_most")

    def met_by(self, interval: Interval) -> bool:
        """A target holds when the interval reaches it."""
        if self.at_least is not None:
            return interval.high >= self.at_least
        assert self.at_most is not None
        return interval.low <= self.at_most

    def __str__(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{self.metric} {sign} {bound:,.10g}"
