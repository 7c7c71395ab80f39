"""The cache from the command line: list, fetch, rm, verify; each as a process."""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.command_line import COLUMNS, ENVIRONMENT, ROOT, on_terminal, piped, shown
from folder_source import register

from model_files.store import Store

CONTENT = hashlib.shake_256(b"a model").digest(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
URI = "double://owner/name/m.tflite"
XML = "double://owner/pair/m.xml"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return where the double serves two models, and where the cache is."""
    for name, files in {"name": {"m.tflite": CONTENT}, "pair": {"m.xml": b"xml", "m.bin": b"bin"}}.items():
        folder = tmp_path / "served" / "owner" / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
    return {
        "PYTHONPATH": f"{register(tmp_path / 'site')}:{ROOT / 'tests'}",
        "DOUBLE_ROOT": str(tmp_path / "served"),
        "INFERPIPE_CACHE": str(tmp_path / "cache"),
    }


@pytest.fixture
def models(environment: dict[str, str]) -> Run:
    """Run `models` with some words."""
    return lambda *words: piped("models", *words, env=environment)


def listed(models: Run) -> dict[str, dict]:
    done = models("list", "--json")
    assert done.returncode == 0, done.stderr
    return {file["uri"]: file for file in json.loads(done.stdout)["files"]}


def age(tmp_path: Path, digest: str, seconds: float) -> None:
    when = time.time() - seconds
    os.utime(tmp_path / "cache" / "blobs" / f"{digest}.json", (when, when))


def test_fetch_and_list(models: Run, tmp_path: Path) -> None:
    done = models("fetch", URI, XML)
    assert done.returncode == 0, done.stderr
    first, second = map(Path, done.stdout.splitlines())
    assert first.read_bytes() == CONTENT
    assert second.with_suffix(".bin").read_bytes() == b"bin"
    files = listed(models)
    assert set(files) == {URI, XML, XML.replace(".xml", ".bin")}
    assert files[URI]["sha256"] == DIGEST
    assert (files[URI]["model"], files[URI]["file"], files[URI]["bytes"]) == (
        "owner/name",
        "m.tflite",
        300_000,
    )
    assert files[URI]["verified"] <= time.time()
    text = models("list").stdout
    assert text.splitlines()[0].split() == ["model", "file", "size", "source", "last", "used", "verified"]
    assert f"3 files, 0.3 MB in {tmp_path / 'cache'}" in text


def test_an_empty_cache(models: Run, tmp_path: Path) -> None:
    for words in (["list"], ["rm", "--all"]):
        done = models(*words)
        assert done.returncode == 0
        assert "nothing is in the cache" in done.stderr
    assert models("verify").stdout.startswith("contents intact: 0;")
    assert listed(models) == {}


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["fetch", URI, "--sha256", "0" * 64], 1, "expected 000"),
        (["fetch", "double://owner/name/none"], 1, "no such file"),
        (["fetch", "double://owner/../none"], 1, "no name of a remote file"),
        (["fetch", URI, XML, "--sha256", DIGEST], 2, "--sha256 is of one file"),
        (["fetch", URI, "--provider", "{"], 2, "--provider is no JSON"),
        (
            ["fetch", URI, "--provider", '{"cacheBytes": "x"}'],
            2,
            "provider.cacheBytes: expected a whole number",
        ),
        (["fetch", URI, "--provider", '{"maxFileBytes": 1000}'], 1, "maxFileBytes allows 1000"),
        (["fetch", URI, "--cache-dir", "/proc/none"], 1, "--cache-dir names another folder"),
        (["rm"], 2, "it is not clear what is to go"),
        (["rm", URI, "--all"], 2, "it is not clear what is to go"),
        (["rm", "--older-than", "soon"], 2, "no age"),
        ([], 2, "required"),
    ],
)
def test_what_goes_wrong_is_told(models: Run, words: list[str], status: int, text: str) -> None:
    done = models(*words)
    assert done.returncode == status, done.stdout + done.stderr
    assert text in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_options_of_the_provider(models: Run, tmp_path: Path) -> None:
    provider = json.dumps({"default": "double", "cacheDir": str(tmp_path / "other"), "targt": 1})
    done = models("fetch", "owner/name/m.tflite", "--provider", provider)
    assert done.returncode == 0, done.stderr
    assert "provider.targt is unknown and ignored" in done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "other")
    assert models("list", "--cache-dir", tmp_path / "other").stdout.count("m.tflite") == 1


@pytest.mark.parametrize("name", [URI, "double://owner/name", "owner/name", "owner/name/m.tflite"])
def test_rm_by_name(models: Run, name: str) -> None:
    models("fetch", URI, XML)
    done = models("rm", name)
    assert (done.returncode, done.stdout) == (0, "contents removed: 1, 0.3 MB\n"), done.stderr
    assert URI not in listed(models)
    again = models("rm", name)
    assert again.returncode == 1
    assert "is not in the cache" in again.stderr


def test_rm_by_age_and_all(models: Run, tmp_path: Path) -> None:
    models("fetch", URI, XML)
    age(tmp_path, DIGEST, 3 * 3600)
    assert models("rm", "--older-than", "4h").stdout.startswith("contents removed: 0,")
    assert models("rm", "--older-than", "2h").stdout.startswith("contents removed: 1,")
    assert models("rm", "--all").stdout.startswith("contents removed: 2,")
    assert listed(models) == {}
    assert not [path for path in (tmp_path / "cache" / "trees").iterdir() if path.is_dir()]


def test_what_a_process_uses_is_not_removed(models: Run, tmp_path: Path) -> None:
    models("fetch", URI)
    store = Store(tmp_path / "cache", 1 << 30)
    lease = store.lease()
    assert store.find(DIGEST, lease)
    done = models("rm", "--all")
    assert done.returncode == 1
    assert "1 are in use" in done.stderr
    lease.release()
    assert models("rm", "--all").returncode == 0


def test_verify_and_repair(models: Run, tmp_path: Path) -> None:
    models("fetch", URI, XML)
    done = models("verify")
    assert (done.returncode, done.stdout.split(";")[0]) == (0, "contents intact: 3")
    blob = tmp_path / "cache" / "blobs" / DIGEST
    before = blob.stat()
    blob.chmod(0o644)
    blob.write_bytes(b"x" + CONTENT[1:])
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a failing disk leaves it
    done = models("verify", "--repair")
    assert done.returncode == 0, done.stdout
    assert f"corrupt  {URI}: fetched again" in done.stdout
    assert blob.read_bytes() == CONTENT
    blob.chmod(0o644)
    blob.write_bytes(b"")
    done = models("verify")
    assert done.returncode == 1
    assert f"corrupt  {URI}: thrown away" in done.stdout
    assert not blob.exists()


def test_repair_where_the_place_has_it_no_longer(models: Run, tmp_path: Path) -> None:
    models("fetch", URI)
    (tmp_path / "served/owner/name/m.tflite").unlink()
    blob = tmp_path / "cache" / "blobs" / DIGEST
    blob.chmod(0o644)
    blob.write_bytes(b"")
    done = models("verify", "--repair")
    assert done.returncode == 1
    assert "cannot be fetched again: no such file" in done.stdout


def test_on_a_terminal(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**environment, "DOUBLE_DELAY_S": "0.15"}.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    status, written = on_terminal("models", "fetch", URI)
    assert status == 0
    assert "█" in written
    assert "0.3 MB of 0.3 MB" in written
    assert " left " in written
    assert shown(written)[0].endswith("m.tflite")
    status, written = on_terminal("models", "list")
    assert max(map(len, written.split("\n")[:-2])) <= COLUMNS
