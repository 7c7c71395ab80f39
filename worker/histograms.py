"""Latency histograms of slots and stages: folded by the hundred with numpy, read as frozen objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from worker.requests import Timings

STAGES = ("queue", "decode", "prepare", "wait", "predict", "postprocess", "total")
"""In the order in which an item passes them; the last spans them all."""

BOUNDS_US = (
    *(50, 100, 200, 300, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 30_000, 50_000, 100_000),
    *(200_000, 300_000, 500_000, 1_000_000, 2_000_000, 3_000_000, 5_000_000),
    *(10_000_000, 20_000_000, 30_000_000, 60_000_000),
)
"""Upper bounds of the buckets, inclusive, in µs: as integers, so that both units below come out short."""

BOUNDS_MS = tuple(bound / 1_000 for bound in BOUNDS_US)
BOUNDS_S = tuple(bound / 1_000_000 for bound in BOUNDS_US)

_BUCKETS = len(BOUNDS_US) + 1
"""The last has what is over every bound."""
_EDGES = np.array(BOUNDS_MS)
_STAGE_OFFSETS = np.arange(len(STAGES))[:, None]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long one stage took, over all items of a slot that passed it."""

    counts: tuple[int, ...]
    """By bucket of `BOUNDS_US`, and one more for what is over them all."""
    sum_ms: float
    max_ms: float

    @property
    def count(self) -> int:
        """How many items passed the stage."""
        return sum(self.counts)

    @property
    def mean_ms(self) -> float:
        """The mean; 0 where nothing passed."""
        return self.sum_ms / self.count if self.count else 0.0

    def quantile_ms(self, share: float) -> float:
        """Estimate a quantile by a straight line through the bucket that it falls into.

        Args:
            share: from 0 to 1, as 0.99 for p99.

        Returns:
            Milliseconds, never above the maximum; 0 where nothing passed.
        """
        rank = share * self.count
        lower, below = 0.0, 0
        for count, upper in zip(self.counts, (*BOUNDS_MS, self.max_ms), strict=True):
            if count and below + count >= rank:
                inside = lower + (min(upper, self.max_ms) - lower) * (rank - below) / count
                return min(inside, self.max_ms)
            lower, below = upper, below + count
        return self.max_ms

    def cumulative(self) -> list[int]:
        """Return how many were at or below each bound, and last how many there were."""
        return list(accumulate(self.counts))


EMPTY = Histogram((0,) * _BUCKETS, 0.0, 0.0)


class LatencyTable:
    """The histograms of all slots. Belongs to one thread."""

    def __init__(self) -> None:
        self._rows = 0
        """Slots that there is room for."""
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)
        """Of (slot, stage, bucket), flat."""
        self._sums: NDArray[np.float64] = np.zeros(0)
        """Milliseconds of (slot, stage), flat."""
        self._maxima: NDArray[np.float64] = np.zeros(0)
        """Milliseconds of (slot, stage), flat."""

    def fold(self, slots: Sequence[int], answered: Sequence[float], timings: Sequence[Timings]) -> list[bool]:
        """Add answered items; a stage that an item skipped gets nothing of it.

        Args:
            slots: index of each item's slot.
            answered: when each was answered, seconds of the performance counter.
            timings: of each.

        Returns:
            Which items have a result; the others count in no histogram.
        """
        rows = np.array(slots)
        self._make_room(int(rows.max()) + 1)
        spans, ran = _spans(np.array(answered), timings)
        cells = (rows * len(STAGES) + _STAGE_OFFSETS)[ran]
        values = spans[ran]
        buckets = np.searchsorted(_EDGES, values)
        self._counts += np.bincount(cells * _BUCKETS + buckets, minlength=self._counts.size)
        self._sums += np.bincount(cells, weights=values, minlength=self._sums.size)
        np.maximum.at(self._maxima, cells, values)
        done: list[bool] = ran[-1].tolist()
        return done

    def stages(self, slot: int) -> dict[str, Histogram]:
        """Return a slot's histograms by the name of the stage."""
        if slot >= self._rows:
            return dict.fromkeys(STAGES, EMPTY)
        first = slot * len(STAGES)
        counts = self._counts.reshape(-1, _BUCKETS)
        return {
            stage: Histogram(tuple(counts[cell].tolist()), float(self._sums[cell]), float(self._maxima[cell]))
            for cell, stage in enumerate(STAGES, first)
        }

    def _make_room(self, rows: int) -> None:
        if rows <= self._rows:
            return
        cells = rows * len(STAGES)
        self._counts = np.pad(self._counts, (0, cells * _BUCKETS - self._counts.size))
        self._sums = np.pad(self._sums, (0, cells - self._sums.size))
        self._maxima = np.pad(self._maxima, (0, cells - self._maxima.size))
        self._rows = rows


def _spans(
    answered: NDArray[np.float64], timings: Sequence[Timings]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return how long each stage took, (stages, items) in ms, and which stages each item passed."""
    spans = np.zeros((len(STAGES), len(timings)))
    ran = np.zeros(spans.shape, np.bool_)
    arrived, began = _column("arrived", timings), _column("prepare_began", timings)
    predicted = _column("predict_began", timings)
    ready = arrived
    if began.any():  # else all tensors came from the frame cache
        prepared = _column("prepared", timings)
        ready = np.where(prepared > 0, prepared, arrived)
        spans[0] = (began - arrived) * 1000
        spans[1] = _column("decode_ms", timings)
        spans[2] = _column("prepare_ms", timings)
    spans[3] = (predicted - ready) * 1000
    spans[4] = _column("predict_ms", timings)
    spans[5] = _column("postprocess_ms", timings)
    spans[6] = (answered - arrived) * 1000
    ran[3:] = (predicted > 0) & (spans[5] > 0)  # else it failed, in a batch whose other items did not
    ran[:3] = ran[3] & (began > 0)
    return spans, ran


def _column(name: str, timings: Sequence[Timings]) -> NDArray[np.float64]:
    """Read one attribute of all: 0.7 times what reading the rows takes."""
    return np.fromiter(map(attrgetter(name), timings), np.float64, len(timings))
