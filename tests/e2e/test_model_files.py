"""Models from elsewhere through the real pipe: fetched once, told of meanwhile, and never waited for."""

import functools
import http.server
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from folder_source import register
from raw_host import RawHost
from wire import COMMAND, INFER_JPEG, INFER_RAW, any_raw, jpeg

from model_files.store import Store

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "shapes.onnx"
URI = "double://demo/shapes/shapes.onnx"
SLOW = "double://demo/slow/slow.onnx"
FAKE = {"path": "fake:noop?size=32", "runtime": "fake"}
LEAVES_WITHIN_S = 4.0
"""A worker that need not wait for anything; most of it is the machine being busy."""

Spawn = Callable[..., RawHost]


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """Return what the double of a place serves."""
    for name in ("shapes", "slow"):
        folder = tmp_path / "served" / "demo" / name
        folder.mkdir(parents=True)
        shutil.copy(MODEL, folder / f"{name}.onnx")
    return tmp_path / "served"


@pytest.fixture
def host_of(spawn: Spawn, served: Path, tmp_path: Path) -> Spawn:
    """Spawn workers that know the double's scheme; all of a test share one cache."""
    registered = register(tmp_path / "site")

    def host(models: list[dict[str, Any]], *, delay_s: float = 0.0, answered: bool = True, **config: Any):
        environment = os.environ | {
            "PYTHONPATH": f"{registered}:{ROOT / 'tests'}",
            "DOUBLE_ROOT": str(served),
            "DOUBLE_COUNT": str(tmp_path / "counted"),
            "DOUBLE_DELAY_S": str(delay_s),
        }
        provider = {"cacheDir": str(tmp_path / "cache"), **config.pop("provider", {})}
        handshake = {"protocol": 3, "runtime": "auto", "models": models, "provider": provider, **config}
        worker = spawn(None, env=environment)
        if answered:
            worker.ready = worker.shake_hands(handshake)
        else:
            worker.request(COMMAND, handshake)
        return worker

    return host


def scene() -> bytes:
    return min((ROOT / "models" / "scenes").glob("*.jpg")).read_bytes()


def test_a_model_from_elsewhere_finds_what_the_same_file_here_finds(host_of: Spawn, tmp_path: Path) -> None:
    host = host_of([{"path": URI}, {"path": str(MODEL)}, {"path": URI}])
    assert [slot["loaded"] for slot in host.ready["slots"]] == [True, True, True], host.ready
    assert host.ready["slots"][0]["path"] == URI
    there, here, again = (host.ask(INFER_JPEG, jpeg(slot, scene()))["detections"] for slot in range(3))
    assert there == here == again
    assert there
    host.wait_stderr(f"fetched {URI}")
    assert "MB/s" in host.stderr
    assert (tmp_path / "counted").read_text().splitlines() == ["shapes.onnx"]
    second = host_of([{"path": URI}])
    assert second.ready["models"] == 1
    assert (tmp_path / "counted").read_text().splitlines() == ["shapes.onnx"]


def test_what_serves_stays_in_the_cache_and_what_is_unloaded_may_go(host_of: Spawn, tmp_path: Path) -> None:
    host = host_of([{"path": URI}])
    store = Store(tmp_path / "cache", 1)
    (blob,) = store.blobs()
    store.make_room(0)  # far over its budget
    assert store.remove({blob.sha256}) == set()
    host.command("unload", index=0)
    until = time.monotonic() + LEAVES_WITHIN_S
    while not store.remove({blob.sha256}):
        assert time.monotonic() < until
        time.sleep(0.02)  # the model is closed on a thread of its own
    assert store.blobs() == []


def test_the_default_scheme(host_of: Spawn) -> None:
    models = [{"path": "demo/shapes/shapes.onnx"}, {"path": "./demo/shapes/shapes.onnx"}]
    host = host_of(models, provider={"default": "double"})
    there, local = host.ready["slots"]
    assert there["loaded"]
    assert "no such file" in local["error"]


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        ({"path": "double://demo/shapes/none.onnx"}, "provider_failed", "no such file"),
        ({"path": "double://demo/../x.onnx"}, "provider_failed", "no name of a remote file"),
        ({"path": URI, "sha256": "0" * 64}, "provider_failed", "expected 000"),
        ({"path": "gopher://x/y.onnx"}, "unsupported", "unknown scheme"),
        ({"path": "https://me:secret@host/y.none?sig=secret"}, "model_not_loaded", "cannot tell the runtime"),
    ],
)
def test_what_cannot_be_had(host_of: Spawn, config: dict[str, str], code: str, words: str) -> None:
    host = host_of([FAKE])
    answer = host.command("load", index=1, config=config)
    assert (answer["status"], answer["code"]) == ("error", code), answer
    assert words in answer["error"]
    assert "secret" not in str(answer)
    assert "secret" not in host.stderr
    assert host.ask(INFER_RAW, any_raw(0))["detections"] == []


def test_a_load_that_waits_for_the_network_is_told_of_and_keeps_no_other_slot(host_of: Spawn) -> None:
    host = host_of([FAKE], delay_s=0.3)
    load = host.request(COMMAND, {"cmd": "load", "index": 1, "config": {"path": SLOW}})
    other = host.command("load", index=2, config={"path": str(MODEL)})
    assert other["status"] == "ok"
    wait_for_download(host)
    slot = host.command("status")["slots"][1]
    assert slot["state"] == "loading"
    assert slot["download"]["file"] == SLOW
    assert slot["download"]["total"] == MODEL.stat().st_size
    assert 0 <= slot["download"]["bytes"] < MODEL.stat().st_size
    assert not host.is_answered(load)
    began = time.monotonic()
    assert host.command("unload", index=1)["status"] == "ok"
    answer = host.answer(load)
    assert (answer["status"], answer["code"]) == ("error", "cancelled")
    assert time.monotonic() - began < LEAVES_WITHIN_S
    assert "download" not in host.command("status")["slots"][1]


def test_an_unload_does_not_stop_what_a_request_waits_for(host_of: Spawn) -> None:
    host = host_of([FAKE], delay_s=0.02)
    load = host.request(COMMAND, {"cmd": "load", "index": 1, "config": {"path": SLOW}})
    asked = host.request(INFER_JPEG, jpeg(1, scene()))
    host.command("unload", index=1)
    assert host.answer(load)["status"] == "ok"
    assert host.answer(asked)["detections"]
    assert host.command("status")["slots"][1]["state"] == "empty"


def wait_for_download(host: RawHost) -> None:
    """Wait until the worker has begun to fetch."""
    host.wait_stderr("fetching ")


@pytest.mark.parametrize("delay_s", [0.3, 60.0])
def test_the_end_does_not_wait_for_the_network(host_of: Spawn, delay_s: float, tmp_path: Path) -> None:
    host = host_of([{"path": SLOW}], delay_s=delay_s, answered=False)
    wait_for_download(host)
    began = time.monotonic()
    assert host.finish() == 0
    assert time.monotonic() - began < LEAVES_WITHIN_S
    assert not list((tmp_path / "cache").glob("blobs/*"))
    later = host_of([{"path": SLOW}])
    assert later.ready["models"] == 1


def test_what_waits_for_the_network_is_answered_at_the_end(host_of: Spawn) -> None:
    host = host_of([FAKE], delay_s=60.0)
    load = host.request(COMMAND, {"cmd": "load", "index": 1, "config": {"path": SLOW}})
    asked = host.request(INFER_RAW, any_raw(1))
    wait_for_download(host)
    host.process.send_signal(signal.SIGTERM)
    assert host.answer(asked)["code"] == "shutting_down"
    assert host.answer(load)["code"] == "shutting_down"
    assert host.wait(LEAVES_WITHIN_S) == 0


def test_the_handshake_is_answered_at_the_end(host_of: Spawn) -> None:
    host = host_of([{"path": SLOW}], delay_s=60.0, answered=False)
    wait_for_download(host)
    host.process.send_signal(signal.SIGTERM)
    assert host.answer(1)["code"] == "shutting_down"
    assert host.wait(LEAVES_WITHIN_S) == 0


def test_a_cache_that_cannot_be_written_says_so(host_of: Spawn, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    host = host_of([{"path": URI}], provider={"cacheDir": str(tmp_path / "file" / "cache")})
    assert "the cache of models" in host.ready["slots"][0]["error"]


def test_unknown_keys_and_values_of_the_provider(host_of: Spawn) -> None:
    host = host_of([FAKE], provider={"cachedir": "x", "modelcache": {"targt": "y", "tls": {"Ca": 1}}})
    warnings = " ".join(host.ready["warnings"])
    assert "provider.cachedir is unknown and ignored; did you mean cacheDir?" in warnings
    assert "provider.modelcache.targt is unknown and ignored; did you mean target?" in warnings
    assert "provider.modelcache.tls.Ca is unknown and ignored" in warnings


@pytest.mark.parametrize(
    ("provider", "text"),
    [
        ({"http": {"headers": {"Authorization": ["secret"]}}}, "provider.http.headers: expected an object"),
        ({"retryForS": "long"}, "provider.retryForS: expected a number"),
        ({"modelcache": {"tls": "yes"}}, "provider.modelcache.tls: expected an object"),
    ],
)
def test_values_that_cannot_be_read(spawn: Spawn, provider: dict[str, Any], text: str) -> None:
    host = spawn(None)
    answer = host.shake_hands({"protocol": 3, "runtime": "auto", "provider": provider})
    assert text in answer["error"]
    assert "secret" not in str(answer)
    assert host.wait() == 1
    assert "secret" not in host.stderr


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The standard library's file server, without its log."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web(served: Path) -> Iterator[str]:
    """Serve the same folder over HTTP."""
    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_over_http_without_a_word_of_what_is_secret(host_of: Spawn, web: str, tmp_path: Path) -> None:
    uri = f"http://me:passw0rd@{web}/demo/shapes/shapes.onnx?signature=s3cret"
    host = host_of([{"path": uri}, {"path": f"http://{web}/none.onnx?signature=s3cret"}])
    good, bad = host.ready["slots"]
    assert good["loaded"], good
    assert good["path"] == f"http://{web}/demo/shapes/shapes.onnx"
    assert not bad["loaded"]
    assert host.ask(INFER_JPEG, jpeg(0, scene()))["detections"]
    status = host.command("status")
    assert host.finish() == 0
    told = [str(host.ready), str(status), host.stderr]
    told += [path.read_text() for path in (tmp_path / "cache").rglob("*.json")]
    for word in ("passw0rd", "s3cret"):
        assert not any(word in text for text in told)
