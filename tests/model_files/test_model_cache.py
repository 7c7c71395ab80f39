"""Files of a model cache through the source, from the real server."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_servers.model_cache import ModelCacheServer, serving
from model_servers.model_cache_source import FILE, source, take

from model_files.errors import (
    MissingFileError,
    ModelFileError,
    SourceFailedError,
    SourceUnavailableError,
)
from model_files.source import RemoteStat

pytestmark = pytest.mark.timeout(120, func_only=True)

CONTENT = bytes(range(256)) * 4096  # four chunks of the real server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    (root / "demo/m/folder").mkdir(parents=True)
    (root / "demo/m/folder/a.bin").write_bytes(CONTENT)
    (root / "demo/m/empty").touch()
    (root / "demo/m/out").symlink_to("/etc/hostname")
    (root / "gpt2/onnx").mkdir(parents=True)
    (root / "gpt2/config.json").write_bytes(b"{}")
    (root / "gpt2/onnx/model.onnx").write_bytes(b"onnx")
    return root


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ModelCacheServer]:
    with serving(folder) as running:
        yield running


@pytest.mark.parametrize(
    ("uri", "content"),
    [
        (FILE, CONTENT),
        ("modelcache://demo/m/empty", b""),
        ("modelcache://gpt2/config.json", b"{}"),
        ("modelcache://gpt2//onnx/model.onnx", b"onnx"),
    ],
)
def test_a_file(server: ModelCacheServer, uri: str, content: bytes) -> None:
    assert take(source(server.target), uri) == content


def test_stat_tells_the_size_and_leaves(server: ModelCacheServer) -> None:
    cache = source(server.target)
    assert cache.stat(cache.locate(FILE)) == RemoteStat(size=len(CONTENT))
    assert cache.list_files(cache.locate(FILE)) is None


def test_an_offset_is_answered_by_the_whole_file(server: ModelCacheServer) -> None:
    cache = source(server.target)
    with cache.fetch(cache.locate(FILE), 1000, "anything") as transfer:
        assert (transfer.offset, b"".join(transfer.chunks)) == (0, CONTENT)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        (
            "demo/m/none",
            MissingFileError,
            'the model cache has no such file: model "demo/m" has no file "none"',
        ),
        ("demo/none/a", MissingFileError, 'the model cache has no such file: there is no model "demo/none"'),
        ("demo/m/folder", SourceFailedError, "FAILED_PRECONDITION"),
        ("demo/m/out", SourceFailedError, "the model cache refuses the name"),
    ],
)
def test_refusals(server: ModelCacheServer, name: str, kind: type[ModelFileError], words: str) -> None:
    with pytest.raises(kind) as caught:
        take(source(server.target), f"modelcache://{name}")
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"modelcache://{server.target}/{name}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_unix_socket(folder: Path, tmp_path: Path) -> None:
    with serving(folder, listen=f"unix:{tmp_path}/cache.sock"):
        assert take(source(f"unix://{tmp_path}/cache.sock")) == CONTENT
        assert take(source(f"unix:{tmp_path}/cache.sock")) == CONTENT


def test_nobody_is_there() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(SourceUnavailableError, match=r"cannot be reached: .*Connection refused"):
            take(source(target))


def test_a_server_that_is_started_again_is_found_at_once(folder: Path) -> None:
    with serving(folder) as server:
        cache = source(server.target)
        assert take(cache) == CONTENT
        server.kill()
        for _ in range(3):  # each is an attempt of its own, not the echo of the first one
            with pytest.raises(SourceUnavailableError):
                take(cache)
        server.start()
        began = time.monotonic()
        assert take(cache) == CONTENT
        assert time.monotonic() - began < 5


def test_a_server_that_is_killed_within_a_file(tmp_path: Path) -> None:
    (tmp_path / "demo/m/folder").mkdir(parents=True)
    with open(tmp_path / "demo/m/folder/a.bin", "wb") as file:
        file.truncate(1 << 28)
    with serving(tmp_path) as server:
        cache = source(server.target)
        with cache.fetch(cache.locate(FILE)) as transfer:
            next(transfer.chunks)
            server.kill()
            with pytest.raises(SourceUnavailableError, match="the model cache"):
                list(transfer.chunks)


def test_a_server_that_hangs(folder: Path) -> None:
    with serving(folder) as server:
        server.pause()
        began = time.monotonic()
        with pytest.raises(SourceUnavailableError, match=r"has sent nothing for 0\.5 s"):
            take(source(server.target, stall_s=0.5))
        assert 0.5 <= time.monotonic() - began < 5


def test_leaving_early_ends_the_call(tmp_path: Path) -> None:
    (tmp_path / "demo/m/folder").mkdir(parents=True)
    with open(tmp_path / "demo/m/folder/a.bin", "wb") as file:
        file.truncate(1 << 30)
    with serving(tmp_path) as server:
        cache = source(server.target)
        with cache.fetch(cache.locate(FILE)) as transfer:
            next(transfer.chunks)
        assert server.calls(1) == [("folder/a.bin", "the client went away")]


def test_a_file_that_changes_while_it_is_read_is_to_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "demo/m/folder/a.bin"
    path.parent.mkdir(parents=True)
    with open(path, "wb") as file:
        file.truncate(1 << 28)
    with serving(tmp_path) as server:
        cache = source(server.target)
        with cache.fetch(cache.locate(FILE)) as transfer:
            next(transfer.chunks)
            with open(path, "ab") as file:
                file.write(b"more")
            with pytest.raises(SourceUnavailableError, match="the model cache broke off"):
                list(transfer.chunks)


def test_many_threads_at_once(server: ModelCacheServer) -> None:
    cache = source(server.target)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(take(cache))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 16


def test_a_proxy_in_the_environment_is_not_asked(
    server: ModelCacheServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert take(source(server.target)) == CONTENT


QUIET = """
import os, sys, time
from model_files.model_cache import ModelCacheSource
from model_files.settings import ModelCacheSettings, ProviderSettings
assert "grpc" not in sys.modules
for target in sys.argv[1:]:
    cache = ModelCacheSource(ProviderSettings(modelcache=ModelCacheSettings(target), stall_s=1))
    try:
        with cache.fetch(cache.locate("modelcache://demo/m/folder/a.bin")) as transfer:
            print(sum(map(len, transfer.chunks)))
    except Exception as error:
        print(type(error).__name__)
until = time.monotonic() + 10
while (threads := len(os.listdir("/proc/self/task"))) > 1 and time.monotonic() < until:
    time.sleep(0.05)
print(threads)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_nothing_on_stderr_and_no_threads_left(server: ModelCacheServer) -> None:
    """gRPC writes past our log, and would keep an idle worker awake."""
    command = [sys.executable, "-c", QUIET, server.target, "127.0.0.1:1", "unix:///none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    *outcomes, threads = done.stdout.split()
    assert outcomes == [str(len(CONTENT)), "SourceUnavailableError", "SourceUnavailableError"]
    assert threads == "1"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "grpc":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(SourceFailedError, match=r"grpc is not installed .*pip install 'inferpipe\[grpc\]'"):
        take(source("127.0.0.1:1"))
