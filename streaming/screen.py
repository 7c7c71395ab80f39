"""What a screen shows, by mss."""

import threading
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import numpy as np

from protocol.pixel_format import PixelFormat
from streaming.base import Notify, StreamEvent, VideoFrame
from streaming.errors import BadStreamError, SourceUnavailableError
from streaming.header import refuse_larger
from streaming.libraries import library
from streaming.packet_decoders import pixel_frame
from streaming.selection import Selection
from streaming.settings import DecodeSettings

Region = tuple[int, int, int, int]
"""x, y, width, height in pixels of the virtual screen, which has all monitors on it."""


class ScreenSource:
    """Pictures of the screen at a steady pace, BGRA unless the settings name another format."""

    def __init__(
        self, region: Region | None = None, fps: float = 30, settings: DecodeSettings | None = None
    ) -> None:
        """Create it; nothing is opened before `frames`.

        Args:
            region: the part to take; None takes all of it.
            fps: pictures a second. Those that are late are not made up for.
            settings: how frames are chosen, and their pixel format.
        """
        self._region = region
        self._fps = fps
        self._settings = settings or DecodeSettings(live=True)
        self._selection = Selection(self._settings)
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()

    def frames(self, notify: Notify) -> Generator[VideoFrame, None, None]:
        """Give the frames; `timestamp_ms` is when each was taken, since the screen was opened.

        Raises:
            BadStreamError: the region is empty, or not on the screen; or `fps` is no pace.
            SourceUnavailableError: no screen can be read ("not_found"), or none any more ("interrupted").
            StreamTooLargeError: the pictures have too many pixels.
            UnsupportedStreamError: mss is not installed.
        """
        if not self._fps > 0:
            raise BadStreamError(f"a screen cannot be taken {self._fps} times a second")
        mss = library("mss", "screen")
        screens = _opened(mss)
        try:
            area = _area(screens.monitors[0], self._region)
            refuse_larger(area["width"], area["height"], self._settings.max_pixels)
            yield from self._taken(mss, screens, area, notify)
        finally:
            with suppress(mss.ScreenShotError):  # the display has gone before
                screens.close()

    def _taken(
        self, mss: Any, screens: Any, area: dict[str, int], notify: Notify
    ) -> Generator[VideoFrame, None, None]:
        started = False
        for number, timestamp_ms in enumerate(self._ticks()):
            if not self._selection.wants(number, timestamp_ms, keyframe=True):
                continue
            shot = _grabbed(mss, screens, area)
            pixels = np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)
            frame = pixel_frame(pixels, PixelFormat.BGRA, self._settings.pixel_format, timestamp_ms, number)
            if not started:
                notify(_started(frame, self._fps))
                started = True
            yield frame

    def _ticks(self) -> Generator[float, None, None]:
        """Give the milliseconds since the start, when it is time for a picture, until it is closed.

        All times are reckoned from the start, so that nothing adds up. The times that have passed
        while a picture was taken or waited for its taker are left out.
        """
        opened = time.monotonic()
        tick = 0
        while True:
            passed = time.monotonic() - opened
            if self._closed.wait(max(0.0, tick / self._fps - passed)):
                return
            passed = time.monotonic() - opened
            yield passed * 1000
            tick = max(tick + 1, int((time.monotonic() - opened) * self._fps))


def _opened(mss: Any) -> Any:
    try:
        return mss.MSS()
    except (mss.ScreenShotError, OSError) as exc:
        raise SourceUnavailableError(
            f"no screen can be read: {exc}. On Linux set DISPLAY to an X server that this user may read "
            "(a Wayland session alone is none); on macOS allow it under Privacy & Security, Screen Recording",
            "not_found",
        ) from exc


def _grabbed(mss: Any, screens: Any, area: dict[str, int]) -> Any:
    try:
        return screens.grab(area)
    except (
        mss.ScreenShotError,
        AssertionError,
        ValueError,
        OSError,
    ) as exc:  # mss asserts that a display answers
        fault = str(exc) or "the display has gone"
        raise SourceUnavailableError(f"the screen cannot be read any more: {fault}", "interrupted") from exc


def _area(screen: dict[str, int], region: Region | None) -> dict[str, int]:
    """Return a region as mss has it."""
    if region is None:
        return screen
    left, top, width, height = region
    right, bottom = screen["left"] + screen["width"], screen["top"] + screen["height"]
    across = screen["left"] <= left < left + width <= right
    if not (across and screen["top"] <= top < top + height <= bottom):
        raise BadStreamError(
            f"the region {list(region)} is not on the screen, which has [x, y, width, height] "
            f"{[screen[key] for key in ('left', 'top', 'width', 'height')]}"
        )
    return {"left": left, "top": top, "width": width, "height": height}


def _started(first: VideoFrame, fps: float) -> StreamEvent:
    fields = {
        "codec": None,
        "container": "screen",
        "width": first.width,
        "height": first.height,
        "fps": fps,
        "durationMs": None,
        "frames": None,
        "rotation": 0,
        "pixelAspect": "1:1",
        "hardware": None,
    }
    return StreamEvent("started", fields)
