"""From the words on a command line to pictures: files, folders and globs."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.cli.terminal import printable

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""What is taken for a picture in a folder or by a glob; a file that is named itself is always tried."""

MAX_FILE_BYTES = 255 << 20
"""A file must fit into one packet, which the worker limits to 256 MiB."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture to be read when its turn has come."""

    path: Path

    @property
    def name(self) -> str:
        return printable(self.path)


@dataclass(frozen=True, slots=True)
class Unusable:
    """A word, or a file, that gives no picture."""

    name: str
    code: str
    """In the manner of the protocol's codes."""
    why: str


def find(words: Iterable[str]) -> list[PictureFile | Unusable]:
    """Return what the words name, in their order, each file once. No file is read yet."""
    return list(dict.fromkeys(found for word in words for found in _find_one(word)))


def read(picture: PictureFile) -> bytes | Unusable:
    """Return a file's bytes, or why there are none."""
    try:
        if (size := picture.path.stat().st_size) > MAX_FILE_BYTES:
            return Unusable(picture.name, "too_large", f"{size >> 20} MiB, at most 255 MiB can be sent")
        return picture.path.read_bytes() or Unusable(picture.name, "decode_failed", "the file is empty")
    except OSError as error:
        return Unusable(picture.name, "unreadable", f"cannot be read: {error.strerror or error}")


def _find_one(word: str) -> Iterator[PictureFile | Unusable]:
    path = Path(word)
    if path.is_dir():
        yield from _in_folder(path)
    elif path.is_file():
        yield PictureFile(path)
    elif path.exists():
        yield Unusable(printable(path), "unreadable", "neither a file nor a folder")
    elif glob.has_magic(word):
        yield from _by_glob(word)
    else:
        yield Unusable(printable(path), "not_found", "no such file or folder")


def _in_folder(folder: Path) -> Iterator[PictureFile | Unusable]:
    try:
        pictures = _only_pictures(folder.iterdir())
    except OSError as error:
        yield Unusable(printable(folder), "unreadable", f"cannot be read: {error.strerror or error}")
        return
    yield from pictures
    if not pictures:
        why = f"no pictures in this folder ({' '.join(SUFFIXES)})"
        yield Unusable(printable(folder), "not_found", why)


def _by_glob(pattern: str) -> Iterator[PictureFile | Unusable]:
    pictures = _only_pictures(map(Path, glob.iglob(pattern, recursive=True)))  # noqa: PTH207 - absolute ones too
    yield from pictures
    if not pictures:
        yield Unusable(printable(Path(pattern)), "not_found", "no picture matches this pattern")


def _only_pictures(paths: Iterable[Path]) -> list[PictureFile]:
    return [PictureFile(path) for path in sorted(paths) if path.suffix.lower() in SUFFIXES and path.is_file()]
