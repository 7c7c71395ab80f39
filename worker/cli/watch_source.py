"""From the word SOURCE on the command line of `watch` to what it names."""

import argparse
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from protocol.stream_open import CameraFrom, FileFrom, PushFrom, ScreenFrom, StreamSource, UrlFrom
from worker.cli.failures import CommandFailed
from worker.cli.terminal import printable

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_SCHEMES = ("rtsp", "rtsps", "http", "https")
_LIVE_SCHEMES = ("rtsp", "rtsps")


@dataclass(frozen=True, slots=True)
class Watched:
    """What is to be watched."""

    name: str
    """For people; without the user and the password of a URL."""
    source: StreamSource
    live: bool
    """Whether it goes on, whoever keeps up or not."""

    @property
    def is_stdin(self) -> bool:
        return isinstance(self.source, PushFrom)

    @property
    def path(self) -> Path | None:
        return Path(self.source.path) if isinstance(self.source, FileFrom) else None


def parse(text: str) -> Watched:
    """Read the word; nothing is opened.

    Raises:
        argparse.ArgumentTypeError: it is none of what can be watched.
    """
    if text == "-":
        return Watched("stdin", PushFrom(), live=False)
    if (camera := re.fullmatch(r"camera:(\d{1,3})", text)) is not None:
        return Watched(text, CameraFrom(int(camera[1])), live=True)
    if text == "screen" or text.startswith("screen:"):
        return Watched(text, ScreenFrom(_region(text.removeprefix("screen"))), live=True)
    if (scheme := _SCHEME.match(text)) is not None:
        return _url(text, scheme[1].lower())
    return Watched(printable(Path(text)), FileFrom(str(Path(text).absolute())), live=False)


def check(watched: Watched, *, here: bool) -> None:
    """See that it is there, and that its libraries are, before anything is started.

    Args:
        watched: the source.
        here: its frames come to this process, which may write a video of them.

    Raises:
        CommandFailed: it, or a library that it needs, is missing.
    """
    if watched.path is not None:
        _check_file(watched.path, watched.name)
    if watched.is_stdin and sys.stdin.isatty():
        then = "pipe a container into it: … | inferpipe watch -"
        raise CommandFailed("stdin is a terminal", "a video is expected there", then)
    wanted = _LIBRARIES.get(type(watched.source), ("av",)) + (("av",) if here else ())
    for library in wanted:
        if find_spec(library) is None:
            raise ModuleNotFoundError(f"watching {watched.name} needs it", name=library)


_LIBRARIES: dict[type[StreamSource], tuple[str, ...]] = {CameraFrom: ("cv2",), ScreenFrom: ("mss",)}
"""Where something other than PyAV reads."""


def _check_file(path: Path, name: str) -> None:
    if path.is_file():
        return
    if path.is_dir():
        raise CommandFailed(f"{name} cannot be watched", "it is a folder", "name one video file")
    if path.exists():  # a FIFO or a device: it can be read once, and no worker needs to know its name
        then = f"pipe it in: … watch - < {name}"
        raise CommandFailed(f"{name} cannot be watched", "it is no regular file", then)
    then = "check the path; cameras are camera:0, the screen is screen, a URL begins with rtsp:// or http://"
    raise CommandFailed(f"{name} cannot be watched", "there is no such file", then)


def _region(text: str) -> tuple[int, int, int, int] | None:
    if not text:
        return None
    numbers = re.fullmatch(r":(-?\d{1,5}),(-?\d{1,5}),(\d{1,5}),(\d{1,5})", text)
    if numbers is None or not int(numbers[3]) or not int(numbers[4]):
        raise argparse.ArgumentTypeError(f"expected screen:x,y,width,height, got 'screen{text}'")
    left, top, width, height = map(int, numbers.groups())
    return left, top, width, height


def _url(text: str, scheme: str) -> Watched:
    if scheme not in _SCHEMES:
        raise argparse.ArgumentTypeError(f"expected a URL of {', '.join(_SCHEMES)}, got {scheme}://")
    return Watched(_without_secrets(text), UrlFrom(text), live=scheme in _LIVE_SCHEMES)


def _without_secrets(url: str) -> str:
    """Return a URL without its user, its password, and its query, where tokens stand."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
