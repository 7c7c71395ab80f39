"""Medians and quantiles, and the intervals that they lie in."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import comb, exp, lgamma, log
from statistics import median

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and bounds that hold the true one with a probability of `coverage` or more."""

    median: float
    low: float
    high: float
    coverage: float
    """At least `CONFIDENCE` where there are values enough (six for a median); fewer cannot give it."""


def exact(value: float) -> Interval:
    """Return a figure that was counted, or measured once: its bounds are itself."""
    return Interval(value, value, value, 0.0)


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


def quantile_interval(values: Sequence[float], share: float, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of any quantile by order statistics, as `median_interval` does for the median.

    How many values lie below the true quantile is binomial with probability `share`. Either side
    is left outside with at most half of what the confidence allows, or ends at an extreme.

    Raises:
        ValueError: there are no values, or `share` is not between 0 and 1.
    """
    if not values or not 0 < share < 1:
        raise ValueError("no values, or no share between 0 and 1")
    ordered, count = sorted(values), len(values)
    below = list(accumulate(_binomial(count, share)))  # below[k]: the chance of at most k
    tail = (1 - confidence) / 2
    low = max((rank for rank in range(1, count + 1) if below[rank - 1] <= tail), default=1)
    high = min((rank for rank in range(1, count + 1) if below[rank - 1] >= 1 - tail), default=count)
    covered = below[high - 1] - below[low - 1]
    return Interval(percentile(ordered, share), ordered[low - 1], ordered[high - 1], max(0.0, covered))


def _binomial(count: int, chance: float) -> list[float]:
    """Return the probabilities of 0 to `count`; by logarithms, as the factors leave a float's range."""
    whole = lgamma(count + 1)
    return [
        exp(
            whole
            - lgamma(hits + 1)
            - lgamma(count - hits + 1)
            + hits * log(chance)
            + (count - hits) * log(1 - chance)
        )
        for hits in range(count + 1)
    ]


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of the ordered values do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
