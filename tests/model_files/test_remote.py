"""Files of models from a place in the network into the cache: whole, right, and fresh."""

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from folder_source import FolderSource
from remote_files import BUDGET, CONTENT, DIGEST, SIZE, URI, Files, Followed, breaks_at, nothing_left

from model_files.base import ModelRef
from model_files.download import TransferLimits
from model_files.errors import (
    CacheError,
    DigestMismatchError,
    FileTooLargeError,
    InvalidReferenceError,
    MissingFileError,
    SourceFailedError,
    SourceUnavailableError,
)
from model_files.remote import RemoteFiles
from model_files.source import RemoteFile, Transfer
from model_files.store import Store

FOR_EVER_S = 3600.0
"""Longer than a test may take: what would try again for so long fails it."""


def test_a_file_is_fetched_once_and_told_of(files: Files) -> None:
    source, provider = files()
    watch = Followed()
    found = provider.local_files(ModelRef(URI, DIGEST.upper()), watch)
    assert found.path.name == "m.tflite"
    assert found.path.read_bytes() == CONTENT
    assert watch.reports[0] == ("double://owner/name/m.tflite", 0, SIZE)
    assert watch.reports[-1][1:] == (SIZE, SIZE)
    assert [done for _, done, _ in watch.reports] == sorted({done for _, done, _ in watch.reports})
    source.is_down = True  # with a digest nothing is asked
    assert provider.local_files(ModelRef(URI, DIGEST)).path == found.path
    assert source.fetched == [("m.tflite", 0)]
    assert source.asked == []


@pytest.mark.parametrize("can_resume", [True, False])
def test_broken_off_at_every_tenth(files: Files, can_resume: bool) -> None:
    source, provider = files(can_resume=can_resume, revalidates=can_resume)
    tenths = [SIZE * tenth // 10 for tenth in range(1, 10)]
    source.before_chunk = breaks_at(*tenths)
    assert provider.local_files(ModelRef(URI)).path.read_bytes() == CONTENT
    offsets = [offset for _, offset in source.fetched]
    assert len(offsets) == 10
    assert all(
        offset <= tenth + source.chunk_bytes for offset, tenth in zip(offsets[1:], tenths, strict=True)
    )
    assert (offsets[-1] > SIZE // 2) == can_resume


def test_progress_counts_from_the_last_byte_and_not_from_the_first_attempt(files: Files) -> None:
    source, provider = files(retry_for_s=1.0)
    source.before_chunk = breaks_at(*[SIZE * part // 8 for part in range(1, 8)])
    began = time.monotonic()
    provider.local_files(ModelRef(URI))
    assert time.monotonic() - began > 0.7


def test_it_ends_when_nothing_comes_for_long(files: Files, tmp_path: Path) -> None:
    source, provider = files(retry_for_s=0.5)
    source.is_down = True
    with pytest.raises(SourceUnavailableError, match="nobody is there"):
        provider.local_files(ModelRef(URI))
    assert nothing_left(tmp_path / "cache")


def test_a_place_that_says_when_to_come_again_is_heard(files: Files) -> None:
    source, provider = files()
    asked = []

    def before_chunk(path: str, sent: int) -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            raise SourceUnavailableError("busy", retry_after_s=0.6)

    source.before_chunk = before_chunk
    provider.local_files(ModelRef(URI))
    assert asked[1] - asked[0] >= 0.6


def test_what_came_is_kept_for_a_later_attempt_and_only_where_that_can_go_on(
    files: Files, tmp_path: Path
) -> None:
    source, provider = files(retry_for_s=0.0)
    source.before_chunk = breaks_at(SIZE // 2)
    with pytest.raises(SourceUnavailableError):
        provider.local_files(ModelRef(URI))
    assert not list((tmp_path / "cache" / "blobs").glob("*"))
    assert provider.local_files(ModelRef(URI)).path.read_bytes() == CONTENT
    assert source.fetched == [("m.tflite", 0), ("m.tflite", SIZE // 2)]


def test_a_content_that_changes_midway_is_never_mixed(files: Files, root: Path) -> None:
    source, provider = files()
    other = bytes(reversed(CONTENT))

    def before_chunk(path: str, sent: int) -> None:
        if sent == SIZE // 2 and len(source.fetched) == 1:
            (root / "owner/name/m.tflite").write_bytes(other)
            raise SourceUnavailableError("broke off")

    source.before_chunk = before_chunk
    assert provider.local_files(ModelRef(URI)).path.read_bytes() == other
    assert source.fetched == [("m.tflite", 0), ("m.tflite", 0)]


class Lying(FolderSource):
    """A double of a place that says other than what it sends."""

    def __init__(self, root: Path, change: Callable[[Transfer], Transfer], **settings: object) -> None:
        super().__init__(root, **settings)
        self.change = change

    def fetch(self, file: RemoteFile, offset: int = 0, validator: str | None = None):
        inner = super().fetch(file, offset, validator)
        change = self.change

        class Changed:
            def __enter__(self) -> Transfer:
                return change(inner.__enter__())

            def __exit__(self, *error: object) -> None:
                inner.__exit__(*error)

        return Changed()


def restat(transfer: Transfer, **fields: object) -> Transfer:
    return dataclasses.replace(transfer, stat=dataclasses.replace(transfer.stat, **fields))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda t: restat(t, size=SIZE - 1), SourceFailedError, "longer than the"),
        (lambda t: restat(t, size=SIZE + 1), SourceUnavailableError, "broke off after"),
        (lambda t: restat(t, sha256="0" * 64), DigestMismatchError, "expected 000"),
        (lambda t: Transfer(t.stat, 5, t.chunks), SourceFailedError, "goes on at byte 5"),
    ],
)
def test_what_is_not_as_announced_leaves_nothing(
    root: Path, tmp_path: Path, change: Callable[[Transfer], Transfer], error: type[Exception], text: str
) -> None:
    source = Lying(root, change, can_resume=False, revalidates=False)
    limits = TransferLimits(2 * SIZE, 0.3)
    provider = RemoteFiles("double", source, Store(tmp_path / "cache", BUDGET), limits)
    with pytest.raises(error, match=text):
        provider.local_files(ModelRef(URI))
    assert nothing_left(tmp_path / "cache")


def test_another_digest_than_the_reference_names_leaves_nothing(files: Files, tmp_path: Path) -> None:
    for told in (False, True):
        source, provider = files(tells_sha256=told)
        with pytest.raises(DigestMismatchError) as caught:
            provider.local_files(ModelRef(URI, "0" * 64))
        assert DIGEST in str(caught.value)
        assert nothing_left(tmp_path / "cache")
        assert len(source.fetched) == 1
    with pytest.raises(InvalidReferenceError, match="64 hexadecimal"):
        provider.local_files(ModelRef(URI, "abc"))


def test_a_wrong_part_from_before_is_noticed_and_fetched_anew(files: Files, tmp_path: Path) -> None:
    source, provider = files(retry_for_s=0.0)
    source.before_chunk = breaks_at(SIZE // 2)
    with pytest.raises(SourceUnavailableError):
        provider.local_files(ModelRef(URI, DIGEST))
    (part,) = (tmp_path / "cache" / "partial").glob("*.part")
    part.write_bytes(b"x" * (SIZE // 2))
    source, provider = files()
    assert provider.local_files(ModelRef(URI, DIGEST)).path.read_bytes() == CONTENT
    assert [offset for _, offset in source.fetched] == [SIZE // 2, 0]


@pytest.mark.parametrize("tells_size", [True, False])
def test_a_file_over_the_cap(files: Files, tmp_path: Path, tells_size: bool) -> None:
    _, provider = files(max_file_bytes=SIZE - 1, tells_size=tells_size)
    with pytest.raises(FileTooLargeError, match=f"maxFileBytes allows {SIZE - 1}"):
        provider.local_files(ModelRef(URI))
    assert nothing_left(tmp_path / "cache")


def test_no_room_is_noticed_before_the_transfer(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 50, 50))
    _, provider = files()
    with pytest.raises(CacheError, match=r"no room in the cache of models.*50 are free"):
        provider.local_files(ModelRef(URI))
    assert nothing_left(tmp_path / "cache")


def test_the_same_content_of_another_name_is_not_fetched_where_the_place_tells(
    files: Files, root: Path
) -> None:
    (root / "owner/name/copy.tflite").write_bytes(CONTENT)
    source, provider = files(tells_sha256=True)
    provider.local_files(ModelRef(URI))
    sent: list[int] = []
    source.before_chunk = lambda path, done: sent.append(done)
    assert provider.local_files(ModelRef("double://owner/name/copy.tflite")).path.read_bytes() == CONTENT
    assert sent == []


def test_a_file_of_no_bytes(files: Files, root: Path) -> None:
    (root / "owner/name/empty.onnx").write_bytes(b"")
    for revalidates in (True, False):
        _, provider = files(revalidates=revalidates)
        for _ in range(2):
            assert provider.local_files(ModelRef("double://owner/name/empty.onnx")).path.read_bytes() == b""


@pytest.mark.parametrize(
    "settings", [{}, {"tells_sha256": True}, {"revalidates": False, "can_resume": False}]
)
def test_freshness(files: Files, root: Path, settings: dict[str, bool]) -> None:
    source, provider = files(**settings)
    first = provider.local_files(ModelRef(URI))
    assert provider.local_files(ModelRef(URI)).path == first.path
    other = CONTENT[::-1]
    (root / "owner/name/m.tflite").write_bytes(other)
    second = provider.local_files(ModelRef(URI))
    assert second.path.read_bytes() == other
    assert first.path.read_bytes() == CONTENT  # whoever reads the old one goes on
    assert bool(source.asked) == source.revalidates


def test_a_place_that_cannot_be_reached_leaves_what_is_there(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    source, provider = files(retry_for_s=FOR_EVER_S)
    provider.local_files(ModelRef(URI))
    source.is_down = True
    assert provider.local_files(ModelRef(URI)).path.read_bytes() == CONTENT
    assert "the one in the cache is used" in caplog.text


def test_a_file_that_the_place_has_no_longer_is_missing(files: Files, root: Path) -> None:
    _, provider = files()
    provider.local_files(ModelRef(URI))
    (root / "owner/name/m.tflite").unlink()
    with pytest.raises(MissingFileError):
        provider.local_files(ModelRef(URI))


def test_a_corrupt_one_is_fetched_again_once(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    source, provider = files()
    path = provider.local_files(ModelRef(URI)).path
    path.chmod(0o644)
    path.write_bytes(b"x" + CONTENT[1:])
    for _ in range(2):
        assert provider.local_files(ModelRef(URI)).path.read_bytes() == CONTENT
    assert len(source.fetched) == 2
    assert "corrupt" in caplog.text
