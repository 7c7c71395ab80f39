import random

import pytest

from bench.intervals import coverage_of, exact, median_interval, percentile, quantile_interval
from bench.wire import CURVE, Latency

# count, ranks of the bounds (from each end, 1 = the extreme), coverage: n choose k over 2**n
CASES = [
    (1, 1, 0.0),
    (2, 1, 0.5),
    (3, 1, 0.75),
    (5, 1, 1 - 2 / 32),
    (6, 1, 1 - 2 / 64),
    (9, 2, 1 - 2 * 10 / 512),
    (10, 2, 1 - 2 * 11 / 1024),
    (12, 3, 1 - 2 * (1 + 12 + 66) / 4096),
    (20, 6, 0.958610),
    (30, 10, 0.957226),
]


@pytest.mark.parametrize(("count", "rank", "coverage"), CASES)
def test_bounds_are_the_innermost_that_reach_95_percent(count: int, rank: int, coverage: float) -> None:
    values = [float(value) for value in range(count, 0, -1)]
    interval = median_interval(values)
    assert interval.median == (count + 1) / 2
    assert (interval.low, interval.high) == (rank, count - rank + 1)
    assert interval.coverage == pytest.approx(coverage, abs=1e-6)
    assert coverage_of(count, rank + 1) < 0.95


def test_no_values_have_no_median() -> None:
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 6), (0.95, 10), (1.0, 10)])
def test_percentile(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 11)], share) == expected


def test_interval_of_the_median_as_a_quantile_is_that_of_the_median() -> None:
    values = [float(value) for value in range(1, 21)]
    as_median, as_quantile = median_interval(values), quantile_interval(values, 0.5)
    assert (as_quantile.low, as_quantile.high) == (as_median.low, as_median.high)
    assert as_quantile.coverage == pytest.approx(as_median.coverage)


# The ranks that the tables of the binomial distribution give: of 500 values, about 5 lie above the p99.
@pytest.mark.parametrize(("count", "low", "high"), [(500, 490, 500), (1000, 983, 996)])
def test_bounds_of_the_99th_percentile(count: int, low: int, high: int) -> None:
    interval = quantile_interval([float(value) for value in range(1, count + 1)], 0.99)
    assert interval.low == pytest.approx(low, abs=1)
    assert interval.high == pytest.approx(high, abs=1)
    assert interval.coverage >= 0.94


def test_intervals_hold_the_true_quantile_as_often_as_they_say() -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(200):
        interval = quantile_interval([chance.random() for _ in range(400)], 0.9)
        held += interval.low <= 0.9 <= interval.high
    assert held >= 0.9 * 200


def test_too_few_values_for_a_far_quantile_end_at_the_extremes() -> None:
    interval = quantile_interval([3.0, 1.0, 2.0], 0.99)
    assert (interval.low, interval.high) == (2.0, 3.0)
    assert interval.coverage < 0.95


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.0)])
def test_impossible_quantiles(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="no values, or no share"):
        quantile_interval(values, share)


def test_what_was_counted_has_itself_as_bounds() -> None:
    assert (exact(3).low, exact(3).high) == (3, 3)


def test_latency_is_told_in_milliseconds_with_its_curve() -> None:
    latency = Latency.of([second / 1000 for second in range(1000, 0, -1)])
    assert (latency.p50, latency.p90, latency.p99, latency.p999) == pytest.approx((501, 901, 991, 1000))
    assert len(latency.curve) == len(CURVE)
    assert latency.curve == sorted(latency.curve)
    assert Latency.of([]).p99 == 0
