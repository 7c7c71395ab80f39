import sys
from itertools import pairwise
from pathlib import Path

import pytest

from bench.schedule import LEAD_S, even, pace, random_sources
from bench.sides import Side
from bench.wire import GeneratorJob

DOUBLE = [sys.executable, str(Path(__file__).with_name("worker_double.py"))]
RATE = 200.0
STALL_S = 0.3
STALLS = ["stalls", "60", str(STALL_S)]
ERRORS = ["errors"]


class Clock:
    """A double of time: it passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.0001)


def test_requests_leave_at_their_moments() -> None:
    clock, left = Clock(), list[tuple[float, int, int]]()
    schedule = even(10.0, 5)
    began = pace(schedule, lambda first, end: left.append((clock.now, first, end)), clock, clock.sleep)
    assert began == 100.0
    assert [(first, end) for _, first, end in left] == [(n, n + 1) for n in range(5)]
    assert [at - began for at, _, _ in left] == pytest.approx(schedule, abs=0.0005)


def test_what_is_overdue_leaves_at_once_and_the_schedule_stays() -> None:
    clock, left = Clock(), list[tuple[float, int, int]]()

    def send(first: int, end: int) -> None:
        left.append((clock.now - 100.0, first, end))
        if first == 1:
            clock.sleep(0.35)  # a subject that takes nothing for a while

    pace(even(10.0, 7), send, clock, clock.sleep)
    assert [(first, end) for _, first, end in left] == [(0, 1), (1, 2), (2, 5), (5, 6), (6, 7)]
    assert left[-1][0] == pytest.approx(0.6 + LEAD_S, abs=0.001)


def test_random_arrivals_are_the_same_each_time_in_order_and_as_many_as_asked_for() -> None:
    arrivals = random_sources(1000.0, 8, 10.0, seed=1)
    assert arrivals == random_sources(1000.0, 8, 10.0, seed=1)
    assert all(first.at <= second.at for first, second in pairwise(arrivals))
    assert len(arrivals) == pytest.approx(10_000, rel=0.05)
    assert {arrival.source for arrival in arrivals} == set(range(8))


def generator(tmp_path, mode: list[str], **more) -> Side:
    payload = tmp_path / "payload"
    payload.write_bytes(b"0123456789")
    return Side(
        "bench.generator",
        GeneratorJob(command=DOUBLE + mode, config={}, type=2, payloads=[str(payload)], **more),
        "double",
    )


def test_a_stall_shows_in_every_latency_that_was_scheduled_into_it(tmp_path) -> None:
    """What keeps N in flight would send nothing meanwhile, and see one slow answer for each of them."""
    count = 200
    with generator(tmp_path, STALLS) as side:
        opened = side.run_open(RATE, count / RATE)
    assert opened.count == count
    assert opened.latency is not None
    assert opened.latency.curve[-1] >= 1000 * (STALL_S - 1 / RATE)
    # As many as arrive in the first half of the stall wait for at least its second half.
    slow = STALL_S / 2 * RATE / count
    at = next(share for share in range(len(opened.latency.curve)) if share / 50 >= 1 - slow)
    assert opened.latency.curve[at] >= 1000 * STALL_S / 2 * 0.9


def test_a_closed_loop_sees_the_same_stall_once_for_each_in_flight(tmp_path) -> None:
    with generator(tmp_path, STALLS) as side:
        closed = side.run(200, 1)
    assert closed.latency is not None
    assert closed.latency.curve[-1] >= 1000 * STALL_S * 0.9
    assert closed.latency.curve[45] < 1000 * STALL_S / 2


def test_errors_are_counted_by_code_and_are_no_results(tmp_path) -> None:
    with generator(tmp_path, ERRORS, options=[{"deadlineMs": 5}], features=["options"]) as side:
        measured = side.run_open(2000.0, 0.05)
    assert measured.errors == {"deadline_exceeded": 50}
    assert measured.count == 50


def test_a_subject_without_a_feature_is_sent_nothing(tmp_path) -> None:
    with generator(tmp_path, ERRORS, features=["options", "shared"]) as side:
        assert side.ready.lacking == ["shared"]
