"""Which frames are given: every n-th, so many a second by their timestamps, a range."""

import pytest

from streaming.selection import Selection
from streaming.settings import DecodeSettings


def chosen(selection: Selection, times_ms: list[float], keyframes: frozenset[int] | None = None) -> list[int]:
    return [
        number
        for number, time_ms in enumerate(times_ms)
        if selection.wants(number, time_ms, keyframes is None or number in keyframes)
    ]


def steady(fps: float, frames: int) -> list[float]:
    return [number * 1000 / fps for number in range(frames)]


def test_all_frames_are_given_where_nothing_is_asked() -> None:
    selection = Selection(DecodeSettings())
    assert selection.everything
    assert chosen(selection, steady(30, 10)) == list(range(10))


def test_every_nth_begins_with_the_first() -> None:
    assert chosen(Selection(DecodeSettings(every_nth=4)), steady(30, 10)) == [0, 4, 8]


def test_every_nth_counts_from_the_start_of_the_range() -> None:
    selection = Selection(DecodeSettings(every_nth=4), start_frame=3, end_frame=9)
    assert chosen(selection, steady(30, 20)) == [3, 7]


def test_every_nth_counts_key_frames_where_only_those_are_given() -> None:
    selection = Selection(DecodeSettings(every_nth=2, keyframes_only=True))
    assert chosen(selection, steady(30, 50), frozenset({0, 10, 20, 30, 40})) == [0, 20, 40]


@pytest.mark.parametrize(("fps", "max_fps"), [(30, 20), (30, 10), (30, 7), (12.5, 5), (60, 59), (24, 23.976)])
def test_max_fps_is_kept_on_average(fps: float, max_fps: float) -> None:
    given = chosen(Selection(DecodeSettings(max_fps=max_fps)), steady(fps, int(fps * 20)))
    assert len(given) / 20 == pytest.approx(max_fps, abs=0.06)


def test_max_fps_above_the_rate_leaves_nothing_out() -> None:
    rounded = [float(round(time)) for time in steady(30, 90)]  # as Matroska has them
    assert len(chosen(Selection(DecodeSettings(max_fps=30)), rounded)) == 90


def test_max_fps_goes_by_timestamps_and_not_by_count() -> None:
    bursts = [0, 5, 10, 1000, 1005, 1010, 5000, 5001]
    assert chosen(Selection(DecodeSettings(max_fps=10)), [float(time) for time in bursts]) == [0, 3, 6]


def test_max_fps_goes_on_where_the_timestamps_begin_anew() -> None:
    times = [*steady(10, 100), *steady(10, 20)]
    assert len(chosen(Selection(DecodeSettings(max_fps=5)), times)) == 60


def test_a_range_has_its_start_and_not_its_end() -> None:
    selection = Selection(DecodeSettings(), start_frame=2, end_frame=5)
    assert chosen(selection, steady(30, 9)) == [2, 3, 4]
    assert [selection.ended(number) for number in (4, 5)] == [False, True]
