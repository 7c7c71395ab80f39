"""What the log is told of a download, and what `status` shows of it."""

import logging

import pytest

from worker import fetching as module
from worker.fetching import Fetching


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """Return a list whose one element is the time."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_the_log_at_sensible_moments(clock, caplog):
    caplog.set_level(logging.INFO)
    watch = Fetching(3, lambda: True)
    watch.begin()
    for second in range(13):
        clock[0] = 100.0 + second
        watch.report("x://m", second * 1_000_000, 12_000_000)
    assert watch.is_under_way
    watch.report("x://other", 5_000_000, None)
    assert watch.fields() == {"file": "x://other", "bytes": 5_000_000, "total": None}
    clock[0] += 2
    watch.report("x://other", 6_000_000, None)
    watch.end()
    assert [record.getMessage() for record in caplog.records] == [
        "slot 3: fetching x://m (12.0 MB)",
        "slot 3: x://m: 5.0 MB of 12.0 MB",
        "slot 3: x://m: 10.0 MB of 12.0 MB",
        "slot 3: fetched x://m: 12.0 MB in 12.0 s (1.0 MB/s)",
        "slot 3: fetching x://other",
        "slot 3: fetched x://other: 6.0 MB in 2.0 s (0.5 MB/s)",
    ]
    assert watch.fields() is None
    assert not watch.is_under_way


def test_what_breaks_off_is_not_called_fetched(clock, caplog):
    caplog.set_level(logging.INFO)
    watch = Fetching(0, lambda: False)
    watch.begin()
    watch.report("x://m", 1, 2)
    watch.end()
    assert [record.getMessage() for record in caplog.records] == ["slot 0: fetching x://m (2 bytes)"]
    assert watch.cancelled
