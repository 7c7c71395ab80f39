"""A window on the screen, for people to look at pictures as they come."""

import os
import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_ESCAPE = 27


def lack() -> str:
    """Return why no window can be opened here; "" where one can."""
    interfaces = [line.split(":")[1] for line in cv2.getBuildInformation().splitlines() if " GUI:" in line]
    if any("NONE" in interface for interface in interfaces):
        return "this OpenCV is the headless one, without windows"
    # Qt ends the whole process where it finds no display.
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display (DISPLAY is not set)"
    return ""


class Window:
    """Shows one picture after another, on the thread that opens it."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._is_open = False

    def show(self, picture: NDArray[np.uint8]) -> bool:
        """Show a picture, (height, width, 3), BGR; False once q, Escape or the window's cross ends it."""
        if not self._is_open:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
            self._is_open = True
        cv2.imshow(self._title, picture)
        key: Any = cv2.waitKey(1)
        if key & 0xFF in {ord("q"), _ESCAPE}:
            return False
        return bool(cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1)

    def close(self) -> None:
        """Take the window away."""
        if self._is_open:
            cv2.destroyWindow(self._title)
            self._is_open = False
