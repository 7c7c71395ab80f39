"""The cache on disk: what it keeps, what it throws away, and what it makes of damage."""

import gc
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from model_files.errors import CacheError
from model_files.source import RemoteFile, RemoteStat
from model_files.store import Store
from model_files.store_blobs import Blob
from model_files.store_pins import Lease

BUDGET = 1 << 20


def remote(name: str) -> RemoteFile:
    return RemoteFile("double", "place", "owner/name", name)


def put(store: Store, name: str, content: bytes, lease: Lease) -> Blob:
    """Bring a content into the store as a download does."""
    partial = store.partial(remote(name))
    with partial.writing(0, '"1"') as writer:
        writer.write(content)
    return store.commit(remote(name), partial, writer.sha256, RemoteStat(len(content), '"1"'), lease)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", BUDGET)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_comes_in_is_found_again_by_another_process_s_store(store: Store) -> None:
    blob = put(store, "m.onnx", b"content", store.lease())
    assert blob.sha256 == hashlib.sha256(b"content").hexdigest()
    other = Store(store.folder, BUDGET)
    entry = other.entry(remote("m.onnx"))
    assert entry is not None
    assert (entry.uri, entry.sha256, entry.size, entry.validator) == (
        "double://place/owner/name/m.onnx",
        blob.sha256,
        7,
        '"1"',
    )
    found = other.find(entry.sha256, other.lease())
    assert found is not None
    assert found.path.read_bytes() == b"content"
    assert names_in(store.folder / "partial") == []
    assert (
        (store.folder / "CACHEDIR.TAG")
        .read_bytes()
        .startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    )


def test_the_same_content_lies_there_once(store: Store) -> None:
    lease = store.lease()
    first, second = put(store, "a", b"same", lease), put(store, "b", b"same", lease)
    assert first == second
    assert len(store.blobs()) == 1
    assert len(store.entries()) == 2


def test_a_tree_has_the_files_under_their_names_without_a_copy(store: Store) -> None:
    lease = store.lease()
    blobs = {"onnx/m.onnx": put(store, "m", b"m", lease), "onnx/m.onnx_data": put(store, "d", b"data", lease)}
    folder = store.lay(blobs, lease)
    assert (folder / "onnx" / "m.onnx_data").read_bytes() == b"data"
    assert (folder / "onnx" / "m.onnx").samefile(blobs["onnx/m.onnx"].path)
    assert store.lay(blobs, lease) == folder
    assert folder.is_relative_to(store.folder / "trees")


def test_a_tree_that_was_damaged_is_laid_again(store: Store) -> None:
    lease = store.lease()
    blobs = {"m": put(store, "m", b"m", lease), "d": put(store, "d", b"data", lease)}
    folder = store.lay(blobs, lease)
    (folder / "d").unlink()
    assert (store.lay(blobs, lease) / "d").read_bytes() == b"data"
    (folder / "m").unlink()
    (folder / "m").write_bytes(b"other")
    assert (store.lay(blobs, lease) / "m").read_bytes() == b"m"


@pytest.mark.parametrize("ways", [("link",), ("link", "symlink")])
def test_a_tree_where_the_system_cannot_link(
    store: Store, monkeypatch: pytest.MonkeyPatch, ways: tuple[str, ...]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    for way in ways:
        monkeypatch.setattr(os, way, refuse)
    lease = store.lease()
    blobs = {"m": put(store, "m", b"content", lease)}
    folder = store.lay(blobs, lease)
    assert (folder / "m").read_bytes() == b"content"
    assert store.lay(blobs, lease) == folder


def damage(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.parametrize("content", [b"cONTENT", b"content and more", b""])
def test_a_corrupt_content_is_thrown_away_with_what_leads_to_it(
    store: Store, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    lease = store.lease()
    blob = put(store, "m", b"content", lease)
    store.lay({"m": blob}, lease)
    damage(blob.path, content)
    assert store.find(blob.sha256, store.lease()) is None
    assert "corrupt" in caplog.text
    assert store.blobs() == []
    assert store.entries() == []
    assert names_in(store.folder / "trees") == []


def test_damage_that_hides_behind_size_and_time_is_found_by_rehashing(store: Store) -> None:
    blob = put(store, "m", b"content", store.lease())
    before = blob.path.stat()
    damage(blob.path, b"cONTENT")
    os.utime(blob.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.find(blob.sha256, store.lease()) is not None
    assert store.find(blob.sha256, store.lease(), rehash=True) is None
    assert not blob.path.exists()


def test_a_content_that_was_only_touched_is_read_once_and_trusted_again(store: Store) -> None:
    blob = put(store, "m", b"content", store.lease())
    os.utime(blob.path, (1, 1))
    assert store.find(blob.sha256, store.lease()) is not None
    seal = store.seal(blob.sha256)
    assert seal is not None
    assert seal.mtime_ns == 10**9


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"scheme": 5, "sha256": "../../x"}', "\xff"])
def test_an_index_that_was_damaged_counts_as_nothing(store: Store, text: str) -> None:
    blob = put(store, "m", b"content", store.lease())
    for path in [*(store.folder / "entries").iterdir(), *(store.folder / "blobs").glob("*.json")]:
        path.write_text(text)
    assert store.entry(remote("m")) is None
    assert store.entries() == []
    assert store.find(blob.sha256, store.lease()) is not None  # read again, and sealed
    assert store.seal(blob.sha256) is not None


def test_what_was_least_recently_used_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", 3000)
    blobs = [put(store, str(index), bytes([index]) * 1000, store.lease()) for index in range(3)]
    gc.collect()
    for age, blob in zip((300, 100, 200), blobs, strict=True):
        used = time.time() - age
        os.utime(blob.path.with_suffix(".json"), (used, used))
    assert store.find(blobs[0].sha256, store.lease()) is not None  # used now: 2 is the oldest
    put(store, "3", b"x" * 1000, store.lease())
    assert {blob.sha256 for blob in store.blobs()} == {
        blobs[0].sha256,
        blobs[1].sha256,
        hashlib.sha256(b"x" * 1000).hexdigest(),
    }
    assert store.entry(remote("2")) is None


def test_what_is_in_use_stays_and_goes_when_nobody_holds_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", 1500)
    lease = store.lease()
    held = put(store, "held", b"h" * 1000, lease)
    folder = store.lay({"held": held}, lease)
    put(store, "next", b"n" * 1000, store.lease())
    assert (folder / "held").read_bytes() == b"h" * 1000
    del lease
    gc.collect()
    store.make_room(1000)
    assert store.blobs() == []
    assert not folder.exists()


HOLDER = """
import sys, time
from pathlib import Path
from model_files.store import Store
store = Store(Path(sys.argv[1]), 1500)
lease = store.lease()
assert store.find(sys.argv[2], lease)
print("held", flush=True)
time.sleep(60)
"""


def test_what_another_process_uses_stays_until_it_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", 1500)
    blob = put(store, "held", b"h" * 1000, store.lease())
    gc.collect()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.folder), blob.sha256], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        store.make_room(1500)
        assert store.remove({blob.sha256}) == set()
        assert blob.path.exists()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    store.make_room(1500)
    assert not blob.path.exists()
    assert len(list((store.folder / "users").glob("*.json"))) == 1  # our own


def test_leftovers_of_the_killed_are_swept_when_they_are_old(store: Store) -> None:
    put(store, "m", b"content", store.lease())
    old, young = store.folder / "blobs" / ".tmp-0123", store.folder / "entries" / ".tmp-4567"
    tree = store.folder / "trees" / ".tmp-89ab"
    tree.mkdir(parents=True)
    (tree / "file").write_bytes(b"x")
    forgotten = store.folder / "partial" / f"{'0' * 64}.part"
    forgotten.with_suffix(".json").write_text("{}")
    lock = store.folder / "locks" / f"{'0' * 64}.lock"
    for path in (old, young, forgotten, lock):
        path.write_bytes(b"x")
    for path in (old, tree, forgotten):
        os.utime(path, (1, 1))
    Store(store.folder, BUDGET).make_room(0)
    assert young.exists()
    assert not any(path.exists() for path in (old, tree, forgotten, forgotten.with_suffix(".json"), lock))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    store = Store(path / "cache", BUDGET)
    with pytest.raises(CacheError, match="cannot be used"):
        store.make_room(0)


AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
import filelock
from model_files.errors import CacheError
from model_files.store import Store
os.setgid(65534); os.setuid(65534)
store = Store(Path(sys.argv[1]), 1500)
lease = store.lease()
blob = store.find(sys.argv[2], lease)
print(blob.path.read_bytes().decode() if blob else "nothing")
try:
    store.add_bytes(b"more", "0" * 64, lease)
except CacheError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to become another user")
def test_a_cache_that_can_only_be_read_serves_and_says_what_it_cannot() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        Path(folder).chmod(0o755)
        store = Store(Path(folder) / "cache", BUDGET)
        blob = put(store, "m", b"content", store.lease())
        words = [sys.executable, "-c", AS_ANOTHER_USER, str(store.folder), blob.sha256]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    served, refused = done.stdout.splitlines()
    assert served == "content"
    assert f"cannot write to the cache of models {store.folder}: Permission denied" in refused
    assert "INFERPIPE_CACHE" in refused


def test_bytes_that_came_in_one_piece(store: Store) -> None:
    digest = hashlib.sha256(b"small").hexdigest()
    blob = store.add_bytes(b"small", digest, store.lease())
    assert blob.path.read_bytes() == b"small"
    assert json.loads(blob.path.with_suffix(".json").read_text())["size"] == 5
