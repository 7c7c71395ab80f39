"""The pictures that `tune` sends: raw ones of a camera's size, or a file of the user's."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocol.messages import Picture
from worker.cli.demo import load_scenes
from worker.cli.failures import CommandFailed
from worker.cli.pictures import PictureFile, Unusable, read
from worker.cli.terminal import printable
from worker.client import encoded

WIDTH, HEIGHT = 640, 480


def pictures(file: Path | None) -> list[Picture]:
    """Return what is sent in turn: a file as it is, else the middles of the default scenes, raw.

    Raises:
        CommandFailed: the file cannot be read.
        ImportError: OpenCV, which decodes the scenes, is missing.
    """
    if file is not None:
        return [encoded(_bytes_of(file))]
    scenes = [scene.pixels for scene in load_scenes()]
    large = [pixels for pixels in scenes if pixels.width >= WIDTH and pixels.height >= HEIGHT]
    return [
        Picture(WIDTH, HEIGHT, pixels.format, memoryview(_middle(pixels.array).data).cast("B"))
        for pixels in large
    ]


def described(file: Path | None) -> str:
    """Return in words what is sent."""
    return f"raw pictures of {WIDTH}x{HEIGHT}" if file is None else file.name


def _bytes_of(file: Path) -> bytes:
    data = read(PictureFile(file))
    if isinstance(data, Unusable):
        then = "give a JPEG, PNG or WebP file; without --image scenes of the project's own are sent"
        raise CommandFailed(f"the picture {printable(file)} cannot be sent", data.why, then)
    return data


def _middle(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return HEIGHT x WIDTH pixels from the middle, their rows packed."""
    top, left = (array.shape[0] - HEIGHT) // 2, (array.shape[1] - WIDTH) // 2
    return np.ascontiguousarray(array[top : top + HEIGHT, left : left + WIDTH])
