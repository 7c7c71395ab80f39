"""Cameras, by OpenCV."""

import os
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from protocol.pixel_format import PixelFormat
from streaming.base import Notify, StreamEvent, VideoFrame
from streaming.errors import SourceUnavailableError
from streaming.header import refuse_larger
from streaming.libraries import library
from streaming.packet_decoders import pixel_frame
from streaming.selection import Selection
from streaming.settings import DecodeSettings


class CameraSource:
    """Frames of a camera, BGR unless the settings name another format; ends when it is unplugged."""

    def __init__(
        self,
        index: int | str = 0,
        width: int = 640,
        height: int = 480,
        fps: float = 30,
        settings: DecodeSettings | None = None,
    ) -> None:
        """Create it; nothing is opened before `frames`.

        Args:
            index: which camera, from 0; or a device, a file or a URL that OpenCV opens.
            width: wanted, pixels. Cameras take the nearest that they have: "started" tells it.
            height: wanted, pixels.
            fps: wanted, frames a second.
            settings: how frames are chosen, and their pixel format.
        """
        self._place = index
        self._wanted = {"FRAME_WIDTH": width, "FRAME_HEIGHT": height, "FPS": fps}
        self._settings = settings or DecodeSettings(live=True)
        self._selection = Selection(self._settings)
        self._closed = threading.Event()

    def close(self) -> None:
        """Make `frames` end with the picture that the camera is about to give."""
        self._closed.set()

    def frames(self, notify: Notify) -> Generator[VideoFrame, None, None]:
        """Give the frames; `timestamp_ms` is when each came, since the camera was opened.

        Raises:
            SourceUnavailableError: there is no such camera, or another program has it ("not_found"); it
                gives no more pictures ("interrupted").
            StreamTooLargeError: its pictures have too many pixels.
            UnsupportedStreamError: OpenCV is not installed.
        """
        cv2 = _quiet_opencv()
        camera = cv2.VideoCapture(self._place)
        try:
            if not camera.isOpened():
                raise SourceUnavailableError(_absent(self._place), "not_found")
            for name, wanted in self._wanted.items():
                camera.set(getattr(cv2, f"CAP_PROP_{name}"), wanted)
            yield from self._read(cv2, camera, notify)
        finally:
            camera.release()

    def _read(self, cv2: Any, camera: Any, notify: Notify) -> Generator[VideoFrame, None, None]:
        opened = time.monotonic()
        number = 0
        while not self._closed.is_set():
            taken = camera.grab()
            timestamp_ms = (time.monotonic() - opened) * 1000
            if self._closed.is_set():
                return
            if not taken:
                raise _ended(self._place, number)  # one that another program uses may open, too
            if self._selection.wants(number, timestamp_ms, keyframe=True):
                frame = self._frame(camera, timestamp_ms, number)
                if number == 0:
                    notify(_started(cv2, camera, frame))
                yield frame
            number += 1

    def _frame(self, camera: Any, timestamp_ms: float, number: int) -> VideoFrame:
        got, pixels = camera.retrieve()
        if not got:
            raise _ended(self._place, number)
        height, width = pixels.shape[:2]
        refuse_larger(width, height, self._settings.max_pixels)
        have = PixelFormat.BGR if pixels.ndim == 3 else PixelFormat.GRAY
        return pixel_frame(pixels, have, self._settings.pixel_format, timestamp_ms, number)


def _quiet_opencv() -> Any:
    """Return OpenCV, which tells of every camera that is not there, and FFmpeg within it of every file."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when a capture is made
    cv2 = library("cv2", "opencv")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def _absent(place: int | str) -> str:
    here = (
        [device.name for device in sorted(Path("/dev").glob("video*"))] if sys.platform == "linux" else None
    )
    if here is not None and isinstance(place, int) and f"video{place}" not in here:
        found = (
            f"there are {', '.join(here)}"
            if here
            else "no camera is connected, or this process may not see it"
        )
        return f"camera {place} is not there: there is no /dev/video{place}; {found}"
    return (
        f"camera {place} cannot be opened: see that it is connected, that no other program uses it, "
        "and that this user may (on Linux: is in the group video; on macOS: Privacy & Security, Camera)"
    )


def _ended(place: int | str, number: int) -> SourceUnavailableError:
    if not number:
        return SourceUnavailableError(_absent(place), "not_found")
    text = f"camera {place} gives no more pictures after {number}: see that it is still connected"
    return SourceUnavailableError(text, "interrupted")


def _started(cv2: Any, camera: Any, first: VideoFrame) -> StreamEvent:
    fourcc = int(camera.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    fps = camera.get(cv2.CAP_PROP_FPS)
    fields = {
        "codec": fourcc.decode("ascii", "replace").strip("\0 ").lower() if fourcc.isascii() else None,
        "container": "camera",
        "width": first.width,
        "height": first.height,
        "fps": fps if fps > 0 else None,
        "durationMs": None,
        "frames": None,
        "rotation": 0,
        "pixelAspect": "1:1",
        "hardware": None,
    }
    return StreamEvent("started", {**fields, "codec": fields["codec"] or None})
