"""The median of a few rounds, and the interval that it lies in."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A median, and bounds that hold the true one with a probability of `coverage` or more."""

    median: float
    low: float
    high: float
    coverage: float
    """At least `CONFIDENCE` for six values or more; fewer cannot give it."""


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of the median by order statistics.

    Each value lies below the true median with probability 1/2, whatever the distribution, so
    the count below it is binomial. The bounds are the innermost k-th smallest and k-th largest
    values that still reach the confidence; where not even the extremes do, the extremes.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = _innermost_rank(len(ordered), confidence)
    return Interval(median(ordered), ordered[rank - 1], ordered[-rank], coverage_of(len(ordered), rank))


def coverage_of(count: int, rank: int) -> float:
    """Return the probability that the median lies between the rank-th smallest and largest of `count`."""
    outside = sum(comb(count, below) for below in range(rank)) / float(2**count)
    return max(0.0, 1 - 2 * outside)


def _innermost_rank(count: int, confidence: float) -> int:
    ranks = (rank for rank in range(1, count // 2 + 1) if coverage_of(count, rank) >= confidence)
    return max(ranks, default=1)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of the ordered values do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
