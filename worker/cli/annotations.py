"""Copies of pictures with their boxes drawn in, under names that take no other file's place."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from postprocessors.draw import annotate, save_jpeg
from postprocessors.results import Detection
from preprocess.buffers import BufferPool
from preprocess.decode import decode
from preprocess.frame import Frame
from preprocess.options import ChannelOrder, DecodeOptions
from protocol.pixel_format import PixelFormat


class AnnotatedCopies:
    """A folder of copies."""

    def __init__(self, folder: Path, originals: Iterable[Path]) -> None:
        """Make the folder.

        Args:
            folder: where they go.
            originals: files that no copy may overwrite.

        Raises:
            OSError: it cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._taken = {path.resolve() for path in originals}

    def name_for(self, original: Path) -> Path:
        """Return a path for a copy, and keep it: same names from several folders get a number."""
        names = (f"{original.stem}{number}.jpg" for number in _numbers())
        path = next(path for name in names if (path := self._folder / name).resolve() not in self._taken)
        self._taken.add(path.resolve())
        return path


def write_copy(path: Path, data: bytes, detections: Sequence[dict[str, Any]]) -> None:
    """Write a JPEG with boxes and labels, turned as its EXIF orientation says.

    Raises:
        OSError: the file cannot be written.
    """
    pixels = decode(Frame(memoryview(data), 0, 0, PixelFormat.ENCODED), _TURNED, BufferPool(0)).array
    colored = pixels if pixels.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, axis=2)
    found = msgspec.convert(detections, list[Detection])
    save_jpeg(path, annotate(colored, found, ChannelOrder.BGR), ChannelOrder.BGR)


_TURNED = DecodeOptions(exif=True)


def _numbers() -> Iterable[str]:
    yield ""
    number = 2
    while True:
        yield f"-{number}"
        number += 1
