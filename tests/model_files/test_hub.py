"""`hf:` references against a hub on loopback that speaks the real one's API, with its library in between."""

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_servers.hub import TOKEN, Hub, HubModel, hub_of
from model_servers.web import Answer

from model_files.errors import (
    InvalidReferenceError,
    MissingFileError,
    SourceFailedError,
    SourceUnavailableError,
)
from model_files.hub import HubSource, hub_names
from model_files.settings import HubSettings, ProviderSettings
from model_files.source import RemoteFile, RemoteStat

pytest.importorskip("huggingface_hub")

SMALL = b'{"model_type": "none"}'
LARGE = bytes(range(256)) * 4000
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    files = {"config.json": SMALL, "sub/m.onnx": LARGE, "empty.txt": b""}
    with hub_of(
        owner__name=HubModel(files, ("main", "v1", "refs/pr/7")),
        owner__secret=HubModel(files, private=True),
        owner__gated=HubModel(files, gated=True),
    ) as served:
        yield served


def source_of(hub: Hub, stall_s: float = 5.0) -> HubSource:
    return HubSource(
        ProviderSettings(cache_dir=Path("unused"), stall_s=stall_s, hf=HubSettings(endpoint=hub.url))
    )


def take(
    source: HubSource, file: RemoteFile, offset: int = 0, validator: str | None = None
) -> tuple[RemoteStat, int, bytes]:
    with source.fetch(file, offset, validator) as transfer:
        return transfer.stat, transfer.offset, b"".join(transfer.chunks)


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        ("hf://owner/name/m.onnx", ("owner/name", "m.onnx", None)),
        ("HF://owner/name/a/b/m.onnx", ("owner/name", "a/b/m.onnx", None)),
        ("hf://owner/name/m.onnx@v1", ("owner/name", "m.onnx", "v1")),
        ("hf://owner/name/a@b.onnx@v1", ("owner/name", "a@b.onnx", "v1")),
        ("hf://owner/name/m.onnx@refs/pr/7", ("owner/name", "m.onnx", "refs/pr/7")),
        ("hf://owner/name@v1/m.onnx", ("owner/name", "m.onnx", "v1")),
        ("hf://owner/name@refs/pr/7/a/m.onnx", ("owner/name", "a/m.onnx", "refs/pr/7")),
    ],
)
def test_what_a_reference_names(uri: str, names: tuple[str, str, str | None]) -> None:
    assert hub_names(uri) == names


@pytest.mark.parametrize(
    "uri",
    [
        "hf://",
        "hf://owner",
        "hf://owner/name",
        "hf://owner/name/",
        "hf://owner/name/../m",
        "hf://owner/name/a//m",
        "hf://../name/m",
        "hf://owner/name/m@",
        "hf://owner/name/m@../v1",
        "hf://owner/name/m\0",
        "hf://datasets/owner/name/m",
    ],
)
def test_what_is_no_reference(uri: str) -> None:
    with pytest.raises(InvalidReferenceError):
        hub_names(uri)


def test_a_small_file(hub: Hub) -> None:
    source = source_of(hub)
    file = source.locate("hf://owner/name/config.json")
    assert file.place == hub.url.removeprefix("http://")
    stat = source.stat(file)
    assert (stat.size, stat.sha256) == (len(SMALL), None)
    assert stat.validator
    assert take(source, file) == (stat, 0, SMALL)
    assert take(source, source.locate("hf://owner/name/empty.txt"))[2] == b""


def test_a_large_file_comes_from_the_cdn_with_its_digest_and_without_the_token(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    source = source_of(hub)
    file = source.locate("hf://owner/name/sub/m.onnx@v1")
    expected = RemoteStat(size=len(LARGE), validator=LARGE_SHA256, sha256=LARGE_SHA256)
    assert source.stat(file) == expected
    assert take(source, file) == (expected, 0, LARGE)
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in hub.server.requests)
    assert hub.cdn.requests
    assert not any("authorization" in request.headers for request in hub.cdn.requests)


def test_going_on_where_it_broke_off(hub: Hub) -> None:
    source = source_of(hub)
    for name, content in (("sub/m.onnx", LARGE), ("config.json", SMALL)):
        file = source.locate(f"hf://owner/name/{name}")
        stat = source.stat(file)
        assert take(source, file, 10, stat.validator) == (stat, 10, content[10:])


def test_another_content_begins_anew(hub: Hub) -> None:
    source = source_of(hub)
    file = source.locate("hf://owner/name/sub/m.onnx")
    assert take(source, file, 1000, "f" * 64)[1:] == (0, LARGE)
    assert take(source, file, 1000, None)[1:] == (0, LARGE)


def test_a_commit_that_comes_between_is_seen(hub: Hub) -> None:
    source = source_of(hub)
    file = source.locate("hf://owner/name/config.json")
    before = source.stat(file)
    hub.models["owner/name"].files["config.json"] = b"another"
    assert source.stat(file).validator != before.validator
    assert take(source, file, 5, before.validator)[1:] == (0, b"another")


def test_a_cut_transfer(hub: Hub) -> None:
    source = source_of(hub)
    file = source.locate("hf://owner/name/sub/m.onnx")
    hub.broken[LARGE_SHA256] = Answer(200, {}, LARGE, stop_after=300_000)
    with pytest.raises(SourceUnavailableError, match="broke off"):
        take(source, file)
    assert take(source, file)[2] == LARGE


def test_another_length_than_announced(hub: Hub) -> None:
    source = source_of(hub)
    hub.broken[LARGE_SHA256] = Answer(200, {}, LARGE[:-1])
    with pytest.raises(SourceFailedError, match="announces"):
        take(source, source.locate("hf://owner/name/sub/m.onnx"))


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("hf://owner/name/nope.json", "no such file"),
        ("hf://owner/name/config.json@nope", "no such revision"),
        ("hf://owner/nope/config.json", "no such repository"),
        ("hf://owner/secret/config.json", "no such repository, or a private one"),
    ],
)
def test_what_is_not_there(hub: Hub, uri: str, text: str) -> None:
    source = source_of(hub)
    for ask in (source.stat, lambda file: take(source, file)):
        with pytest.raises(MissingFileError, match=text) as caught:
            ask(source.locate(uri))
        assert "\n" not in str(caught.value)


def test_a_gated_model(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(hub)
    file = source.locate("hf://owner/gated/config.json")
    with pytest.raises(SourceFailedError, match="HF_TOKEN"):
        source.stat(file)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert source.stat(file).size == len(SMALL)
    assert take(source, source.locate("hf://owner/secret/config.json"))[2] == SMALL


def test_the_files_of_a_model(hub: Hub) -> None:
    source = source_of(hub)
    listed = source.list_files(source.locate("hf://owner/name/config.json@v1"))
    assert listed is not None
    assert sorted(listed) == ["config.json", "empty.txt", "sub/m.onnx"]
    with pytest.raises(MissingFileError):
        source.list_files(source.locate("hf://owner/nope/config.json"))


def test_a_revision_with_slashes(hub: Hub) -> None:
    source = source_of(hub)
    assert take(source, source.locate("hf://owner/name/config.json@refs/pr/7"))[2] == SMALL
    assert "/resolve/refs%2Fpr%2F7/" in hub.server.requests[0].target


def test_a_hub_that_is_overloaded_and_one_that_is_none(hub: Hub) -> None:
    source = source_of(hub)
    file = source.locate("hf://owner/name/config.json")
    answer, hub.server.answer = hub.server.answer, lambda request: Answer(503, {"Retry-After": "3"})
    with pytest.raises(SourceUnavailableError) as caught:
        source.stat(file)
    assert caught.value.retry_after_s == 3
    hub.server.answer = lambda request: Answer(200, {}, b"a page")
    with pytest.raises(SourceFailedError, match="does not answer as a Hugging Face hub"):
        source.stat(file)
    hub.server.answer = answer
    assert source.stat(file).size == len(SMALL)


def test_no_hub_at_all(hub: Hub) -> None:
    source = source_of(hub, stall_s=1)
    file = source.locate("hf://owner/name/config.json")
    hub.close()
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        source.stat(file)
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        source.list_files(file)


def test_nothing_secret_is_logged_and_nothing_is_kept(
    hub: Hub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    source = source_of(hub)
    take(source, source.locate("hf://owner/name/sub/m.onnx"))
    assert TOKEN not in caplog.text
    assert "Signature" not in caplog.text
    assert not (tmp_path / "home").exists()


def test_endpoint_and_token_of_the_environment(hub: Hub, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from model_files.hub import HubSource
from model_files.settings import ProviderSettings
source = HubSource(ProviderSettings(cache_dir=Path("unused")))
with source.fetch(source.locate("hf://owner/secret/config.json")) as transfer:
    sys.stdout.buffer.write(b"".join(transfer.chunks))
"""
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == SMALL, done.stderr.decode()
