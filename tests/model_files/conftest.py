"""A folder that is served, and providers over it that share one cache."""

from collections.abc import Callable
from pathlib import Path

import pytest
from folder_source import FolderSource
from remote_files import BUDGET, CONTENT, SIZE

from model_files.download import TransferLimits
from model_files.remote import RemoteFiles
from model_files.store import Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder that is served, with one file of 16 chunks in it."""
    folder = tmp_path / "served" / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "m.tflite").write_bytes(CONTENT)
    return tmp_path / "served"


@pytest.fixture
def files(root: Path, tmp_path: Path) -> Callable[..., tuple[FolderSource, RemoteFiles]]:
    """Make a source of the folder and a provider over it; all of a test share one cache."""

    def make(
        max_file_bytes: int = SIZE, retry_for_s: float = 5.0, **source: object
    ) -> tuple[FolderSource, RemoteFiles]:
        double = FolderSource(root, **source)
        limits = TransferLimits(max_file_bytes, retry_for_s)
        return double, RemoteFiles("double", double, Store(tmp_path / "cache", BUDGET), limits)

    return make
