"""Libraries that only some sources need: imported when one is opened, and named where they are missing."""

from importlib import import_module
from typing import Any

from streaming.errors import UnsupportedStreamError


def library(name: str, extra: str) -> Any:
    """Return an imported library; untyped, as it may not be installed.

    Args:
        name: of the module: "av", "cv2", "mss".
        extra: of this distribution, that brings it: "video", "opencv", "screen".

    Raises:
        UnsupportedStreamError: it is not installed, or cannot be loaded.
    """
    try:
        return import_module(name)
    except ImportError as exc:
        missing = isinstance(exc, ModuleNotFoundError) and exc.name == name
        fault = "is not installed" if missing else f"cannot be loaded ({exc})"
        raise UnsupportedStreamError(
            f"{name} {fault} and this source needs it: pip install 'inferpipe[{extra}]'"
        ) from exc
