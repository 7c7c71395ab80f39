"""Folders in which a model's files lie beside each other under their own names, linked to the contents.

A tree is named by what is in it and never changes, so nobody who reads one sees half of a new version.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from model_files.names import check_path
from model_files.store_blobs import Blob
from model_files.store_files import place, remove_folder, temporary_beside, write_whole


def tree_name(files: Mapping[str, str]) -> str:
    """Return the name of the tree with these files: path → digest."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


class Trees:
    """The folder of trees. Changed under the store's lock alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lay(self, blobs: Mapping[str, Blob]) -> Path:
        """Return the tree with these files, made where it is not there or not as it was.

        Args:
            blobs: relative path → content.
        """
        names = {check_path(path): blob.sha256 for path, blob in blobs.items()}
        name = tree_name(names)
        folder = self._folder / name
        if _is_whole(folder, blobs):
            return folder
        remove_folder(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = temporary_beside(folder)
        try:
            for path, blob in blobs.items():
                target = draft / path
                target.parent.mkdir(parents=True, exist_ok=True)
                place(blob.path, target)
            write_whole(self._list_path(name), json.dumps(names).encode(), durable=False)
            draft.replace(folder)
        except BaseException:
            remove_folder(draft)
            raise
        return folder

    def contents(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Yield every tree's name, and its files as path → digest."""
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                names = json.loads(path.read_bytes())
                if isinstance(names, dict):
                    yield path.stem, names

    def remove(self, name: str) -> None:
        """Throw a tree away; the contents stay."""
        remove_folder(self._folder / name)
        self._list_path(name).unlink(missing_ok=True)

    def _list_path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _is_whole(folder: Path, blobs: Mapping[str, Blob]) -> bool:
    """Whether each file is the content itself, or an untouched copy of it."""
    try:
        for path, blob in blobs.items():
            there, wanted = (folder / path).stat(), blob.path.stat()
            if (there.st_size, there.st_mtime_ns) != (wanted.st_size, wanted.st_mtime_ns):
                return False
    except OSError:
        return False
    return True
