import pytest

from bench.intervals import coverage_of, median_interval, percentile

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
