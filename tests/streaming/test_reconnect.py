"""When to connect again, and how numbers and times go on."""

import numpy as np
import pytest

from protocol.pixel_format import PixelFormat
from streaming.base import VideoFrame
from streaming.reconnect import Attempts, Backoff, Timeline


class Clock:
    """A double of the clock: stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def frame(number: int, time_ms: float) -> VideoFrame:
    return VideoFrame(np.zeros((2, 2), np.uint8), PixelFormat.GRAY, 2, 2, time_ms, number, {"keyframe": True})


def placed(timeline: Timeline, number: int, time_ms: float) -> tuple[int, float]:
    there = timeline.placed(frame(number, time_ms))
    return there.frame_number, pytest.approx(there.timestamp_ms)


def test_the_limit_doubles_up_to_the_most() -> None:
    attempts = Attempts(Backoff(random=lambda: 1.0))
    assert [attempts.next_delay_s() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert attempts.count == 9


def test_waits_are_spread_over_all_of_it() -> None:
    numbers = iter((0.0, 0.25, 0.5))
    attempts = Attempts(Backoff(random=lambda: next(numbers)))
    assert [attempts.next_delay_s() for _ in range(3)] == [0.0, 0.25, 1.0]
    assert 0.0 <= Backoff().delay_s(1) < 0.5


def test_no_number_of_attempts_is_too_large() -> None:
    assert Backoff(random=lambda: 1.0).delay_s(100_000) == 30.0


def test_ten_seconds_of_frames_end_the_trouble() -> None:
    clock = Clock()
    attempts = Attempts(Backoff(random=lambda: 1.0, clock=clock))
    attempts.next_delay_s()
    attempts.next_delay_s()
    attempts.frame()
    clock.now += 9.9
    attempts.frame()
    assert attempts.count == 2
    clock.now += 0.2
    attempts.frame()
    assert attempts.count == 0
    assert attempts.next_delay_s() == 0.5


def test_frames_of_an_earlier_connection_do_not_count() -> None:
    clock = Clock()
    attempts = Attempts(Backoff(random=lambda: 1.0, clock=clock))
    for _ in range(3):
        attempts.frame()
        clock.now += 6
        attempts.next_delay_s()
    attempts.frame()
    assert attempts.count == 3


def test_the_first_connection_is_as_the_container_has_it() -> None:
    timeline = Timeline(Clock(), steady=False)
    timeline.connected()
    assert [placed(timeline, n, t) for n, t in ((3, 1400.0), (5, 1380.0))] == [(3, 1400.0), (5, 1380.0)]


def test_the_next_one_goes_on_after_the_clocks_gap() -> None:
    clock = Clock()
    timeline = Timeline(clock, steady=True)
    timeline.connected()
    placed(timeline, 0, 5000.0)
    placed(timeline, 1, 5040.0)
    timeline.connected()  # without any frame
    clock.now += 3.0
    timeline.connected()
    assert placed(timeline, 0, 0.0) == (2, 8040.0)
    clock.now += 0.04
    assert placed(timeline, 1, 40.0) == (3, 8080.0)
    clock.now += 1.0
    timeline.connected()
    assert placed(timeline, 0, 9_000_000.0) == (4, 9080.0)


def test_a_time_that_jumps_back_goes_on_by_the_clock() -> None:
    clock = Clock()
    timeline = Timeline(clock, steady=True)
    timeline.connected()
    placed(timeline, 0, 700.0)
    clock.now += 0.1
    assert placed(timeline, 1, 20.0) == (1, 800.0)
    assert placed(timeline, 2, 60.0) == (2, 840.0)


def test_the_picture_and_what_is_known_of_it_stay() -> None:
    timeline = Timeline(Clock(), steady=True)
    timeline.connected()
    timeline.placed(frame(0, 0.0))
    timeline.connected()
    given = frame(0, 0.0)
    there = timeline.placed(given)
    assert there.frame_data is given.frame_data
    assert there.metadata == {"keyframe": True}
