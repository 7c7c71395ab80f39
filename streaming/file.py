"""A file on this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from io import FileIO
from pathlib import Path

from streaming.base import Notify, VideoFrame
from streaming.errors import SourceUnavailableError
from streaming.settings import Access, DecodeSettings


class FileSource:
    """The frames of a regular file, by its path; nothing else is opened."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: DecodeSettings,
        start_frame: int = 0,
        end_frame: int | None = None,
    ) -> None:
        """Create it; nothing is opened before `frames`.

        Args:
            path: of the file; a URL is taken for a file's name.
            settings: how it is decoded.
            start_frame: number of the first frame to give.
            end_frame: number of the first that is not given any more; None: all to the end.
        """
        self._path = Path(path)
        self._settings = settings
        self._range = (start_frame, end_frame)
        self._closed = False

    def frames(self, notify: Notify) -> Generator[VideoFrame, None, None]:
        """Give the frames to the end.

        Raises:
            SourceUnavailableError: there is no such file ("not_found"), it may not be read ("refused"), or is
                no regular file ("refused").
            StreamError: what is in it cannot be decoded, or not to its end.
        """
        from streaming.video import decode_video  # noqa: PLC0415 - PyAV is loaded by whoever uses it

        # Opened here, not by libavformat: then no name can mean anything but this file.
        with _opened(self._path) as file:
            yield from decode_video(file, self._settings, Access(()), notify, self._is_closed, *self._range)

    def close(self) -> None:
        """Make `frames` end soon, without an error; from any thread."""
        self._closed = True

    def _is_closed(self) -> bool:
        return self._closed


def _opened(path: Path) -> FileIO:
    try:
        mode = path.stat().st_mode  # looked at first: opening a named pipe or a device could block for ever
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise SourceUnavailableError(f"{path} is {kind}; name a video file", "refused")
        return path.open("rb", buffering=0)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name with a zero byte
        raise SourceUnavailableError(f"there is no file {path}", "not_found") from None
    except OSError as error:
        raise SourceUnavailableError(f"{path} cannot be read: {error.strerror}", "refused") from None
