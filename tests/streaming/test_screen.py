"""What a screen shows, taken from a virtual one."""

import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from protocol.pixel_format import PixelFormat
from streaming.base import StreamEvent, VideoFrame
from streaming.errors import (
    BadStreamError,
    SourceUnavailableError,
    StreamTooLargeError,
    UnsupportedStreamError,
)
from streaming.screen import Region, ScreenSource
from streaming.settings import DecodeSettings
from tests.streaming.virtual_screen import VirtualScreen

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualScreen]:
    screen = VirtualScreen(tmp_path_factory.mktemp("screen"), WIDTH, HEIGHT)
    yield screen
    screen.close()


@pytest.fixture
def screen(server: VirtualScreen, monkeypatch: pytest.MonkeyPatch) -> VirtualScreen:
    """Each pixel tells where it is: blue by its column, green by its row, red by both."""
    monkeypatch.setenv("DISPLAY", server.display)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    server.pixels[..., :3] = np.stack([columns % 256, rows, (rows + columns) % 251], axis=-1)
    return server


def taken(count: int, source: ScreenSource, events: list[StreamEvent] | None = None) -> list[VideoFrame]:
    with closing(source.frames((events if events is not None else []).append)) as frames:
        return list(islice(frames, count))


def test_the_whole_screen_has_the_pixels_that_were_drawn(screen: VirtualScreen) -> None:
    events: list[StreamEvent] = []
    (frame,) = taken(1, ScreenSource(), events)
    assert (frame.format, frame.width, frame.height) == (PixelFormat.BGRA, WIDTH, HEIGHT)
    assert np.array_equal(frame.frame_data[..., :3], screen.pixels[..., :3])
    (event,) = events
    told = ("container", "width", "height", "fps")
    assert [event.name, *(event.fields[key] for key in told)] == ["started", "screen", WIDTH, HEIGHT, 30]


@pytest.mark.parametrize("region", [(10, 20, 33, 17), (WIDTH - 5, HEIGHT - 3, 5, 3), (0, 0, 1, 1)])
def test_a_region_is_where_it_says(screen: VirtualScreen, region: Region) -> None:
    (frame,) = taken(1, ScreenSource(region))
    x, y, width, height = region
    assert np.array_equal(frame.frame_data[..., :3], screen.pixels[y : y + height, x : x + width, :3])


def test_pixels_are_converted_where_a_format_is_asked_for(screen: VirtualScreen) -> None:
    (frame,) = taken(1, ScreenSource(settings=DecodeSettings(pixel_format=PixelFormat.RGB)))
    assert frame.format is PixelFormat.RGB
    assert np.array_equal(frame.frame_data, screen.pixels[..., 2::-1])


def test_each_frame_shows_what_is_there_then(screen: VirtualScreen) -> None:
    with closing(ScreenSource((0, 0, 4, 4), 100).frames(lambda event: None)) as frames:
        before = next(frames)
        screen.pixels[:4, :4] = 77
        after = next(frames)
    assert np.all(after.frame_data[..., :3] == 77)
    assert not np.any(before.frame_data[..., :3] == 77)


def test_the_pace_is_kept_without_drift(screen: VirtualScreen) -> None:
    frames = taken(21, ScreenSource((0, 0, 4, 4), 50))
    assert [frame.frame_number for frame in frames] == list(range(21))
    assert frames[0].timestamp_ms < 20
    assert frames[20].timestamp_ms >= 400
    assert all(earlier.timestamp_ms < later.timestamp_ms for earlier, later in pairwise(frames))


def test_late_frames_are_not_made_up_for(screen: VirtualScreen) -> None:
    with closing(ScreenSource((0, 0, 4, 4), 50).frames(lambda event: None)) as frames:
        first = next(frames)
        threading.Event().wait(0.2)  # who takes them is late by ten
        after = list(islice(frames, 4))
    times = [frame.timestamp_ms for frame in after]
    assert first.timestamp_ms + 200 <= times[0]
    assert times[3] - times[0] >= 2 * 20
    assert [frame.frame_number for frame in after] == [1, 2, 3, 4]


def test_frames_that_are_left_out_are_counted(screen: VirtualScreen) -> None:
    source = ScreenSource((0, 0, 4, 4), 200, DecodeSettings(every_nth=5))
    assert [frame.frame_number for frame in taken(3, source)] == [0, 5, 10]


@pytest.mark.parametrize(
    "region", [(0, 0, 0, 5), (0, 0, WIDTH + 1, 1), (-1, 0, 5, 5), (0, HEIGHT, 1, 1), (0, 0, 5, -5)]
)
def test_a_region_that_is_not_on_the_screen_is_refused(screen: VirtualScreen, region: Region) -> None:
    with pytest.raises(BadStreamError, match=rf"\[0, 0, {WIDTH}, {HEIGHT}\]"):
        taken(1, ScreenSource(region))


@pytest.mark.parametrize("fps", [0, -1, float("nan")])
def test_a_pace_that_is_none_is_refused(fps: float) -> None:
    with pytest.raises(BadStreamError, match="times a second"):
        taken(1, ScreenSource(fps=fps))


def test_too_large_a_screen_is_refused(screen: VirtualScreen) -> None:
    with pytest.raises(StreamTooLargeError, match=f"{WIDTH}x{HEIGHT}"):
        taken(1, ScreenSource(settings=DecodeSettings(max_pixels=1000)))


def test_closing_wakes_a_source_that_waits_for_its_time(screen: VirtualScreen) -> None:
    source = ScreenSource((0, 0, 4, 4), fps=0.01)
    given: list[VideoFrame] = []
    thread = threading.Thread(target=lambda: given.extend(source.frames(lambda event: None)))
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    source.close()
    thread.join(5)
    assert not thread.is_alive()
    assert len(given) == 1


def test_a_screen_that_goes_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = VirtualScreen(tmp_path)
    monkeypatch.setenv("DISPLAY", server.display)
    with closing(ScreenSource(fps=100).frames(lambda event: None)) as frames:
        next(frames)
        server.close()
        with pytest.raises(SourceUnavailableError, match="any more") as raised:
            next(frames)
    assert raised.value.reason == "interrupted"


@pytest.mark.skipif(sys.platform != "linux", reason="screens elsewhere are not found by DISPLAY")
@pytest.mark.parametrize("display", ["", ":9876"])
def test_no_screen_is_told_with_the_next_step(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(SourceUnavailableError, match="set DISPLAY") as raised:
        taken(1, ScreenSource())
    assert raised.value.reason == "not_found"


def test_without_mss_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mss", None)
    with pytest.raises(UnsupportedStreamError, match=r"pip install 'inferpipe\[screen\]'"):
        taken(1, ScreenSource())
