"""Models of a model cache through the real pipe: the server of hosts/rust/model-cache, also when it dies."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from model_servers.cutting_proxy import CuttingProxy
from model_servers.model_cache import ModelCacheServer, serving
from model_servers.model_cache_double import ModelCacheDouble, chunk, file_chunks
from raw_host import RawHost
from wire import COMMAND, INFER_JPEG, INFER_RAW, any_raw, jpeg

pytestmark = pytest.mark.timeout(120, func_only=True)

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ROOT / "models" / "shapes.onnx"
URI = "modelcache://demo/yolov8n/model.onnx"
FAKE = {"path": "fake:noop?size=32", "runtime": "fake"}
LEAVES_WITHIN_S = 4.0
"""Of which 2 are allowed; the rest is the machine being busy."""

Spawn = Callable[..., RawHost]
HostOf = Callable[..., RawHost]


def handshake(cache: Path, target: str, models: list[dict[str, Any]], **provider: Any) -> dict[str, Any]:
    settings = {"cacheDir": str(cache), "modelcache": {"target": target}, **provider}
    return {"protocol": 3, "runtime": "auto", "models": models, "provider": settings}


@pytest.fixture
def host_of(spawn: Spawn, tmp_path: Path) -> HostOf:
    """Spawn workers of one cache, with a target and models."""

    def host(target: str, models: list[dict[str, Any]], **provider: Any) -> RawHost:
        return spawn(handshake(tmp_path / "cache", target, models, **provider))

    return host


@pytest.fixture(scope="module")
def yolo(shared_data: Path) -> Path:
    return shared_data / "models/onnx/yolov8n_float32.onnx"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, yolo: Path) -> Path:
    root = tmp_path_factory.mktemp("served")
    (root / "demo/yolov8n").mkdir(parents=True)
    shutil.copy(yolo, root / "demo/yolov8n/model.onnx")
    return root


@pytest.fixture(scope="module")
def server(served: Path) -> Iterator[ModelCacheServer]:
    with serving(served) as running:
        yield running


def contents(cache: Path) -> dict[str, bytes]:
    """Return all fetched contents by their digests; there must be nothing that is only begun."""
    assert not [path for path in cache.rglob("*.part") if path.is_file()]
    assert not [path for path in (cache / "partial").glob("*") if path.is_file()]
    return {path.name: path.read_bytes() for path in (cache / "blobs").glob("*") if not path.suffix}


def named(answer: dict[str, Any]) -> dict[str, int]:
    names = [entry["className"] for entry in answer["detections"]]
    return {name: names.count(name) for name in names}


def test_a_model_of_a_model_cache_finds_what_the_same_file_here_finds(
    host_of: HostOf, server: ModelCacheServer, yolo: Path, shared_data: Path, tmp_path: Path
) -> None:
    host = host_of(server.target, [{"path": URI}, {"path": str(yolo)}])
    assert host.ready["models"] == 2, host.ready["slots"]
    bus = (shared_data / "images/bus.jpg").read_bytes()
    there, here = (host.ask(INFER_JPEG, jpeg(slot, bus)) for slot in range(2))
    assert there["detections"] == here["detections"]
    found = named(there)
    assert (found["person"] >= 3, found["bus"]) == (True, 1)
    assert host.finish() == 0
    assert contents(tmp_path / "cache") == {hashlib.sha256(yolo.read_bytes()).hexdigest(): yolo.read_bytes()}


def test_the_default_scheme_and_companions(host_of: HostOf, shared_data: Path, tmp_path: Path) -> None:
    """Any folder with such names can be served: here openvino/yolov8n_int8, with weights beside the .xml."""
    with serving(shared_data / "models") as server:
        models = [{"path": "openvino/yolov8n_int8/yolov8n.xml", "runtime": "openvino"}]
        host = host_of(server.target, models, default="modelcache")
        assert host.ready["models"] == 1, host.ready["slots"]
        bus = (shared_data / "images/bus.jpg").read_bytes()
        assert named(host.ask(INFER_JPEG, jpeg(0, bus)))["person"] >= 3
        served = [file for file, outcome in server.calls() if outcome.endswith("served")]
    assert {"yolov8n.xml", "yolov8n.bin"} <= set(served)


def test_what_is_in_the_cache_is_asked_about_and_not_fetched_again(
    host_of: HostOf, served: Path, yolo: Path
) -> None:
    size = f"{yolo.stat().st_size} bytes served"
    with serving(served) as server:
        for _ in range(2):
            assert host_of(server.target, [{"path": URI}]).ready["models"] == 1
        outcomes = [outcome for _, outcome in server.calls(2)]
        assert outcomes == [size, "the client went away"]
        server.stop()
        host = host_of(server.target, [{"path": URI}], retryForS=1)
        assert host.ready["models"] == 1, host.ready["slots"]  # the one in the cache is used
        assert "the one in the cache is used" in host.stderr


def test_a_model_that_has_changed_is_fetched_again(host_of: HostOf, tmp_path: Path) -> None:
    path = tmp_path / "served/demo/shapes/model.onnx"
    path.parent.mkdir(parents=True)
    shutil.copy(SHAPES, path)
    with serving(tmp_path / "served") as server:
        model = {"path": "modelcache://demo/shapes/model.onnx"}
        assert host_of(server.target, [model]).ready["models"] == 1
        other = path.with_name("other")
        other.write_bytes(b"no model at all")
        other.rename(path)
        slot = host_of(server.target, [model]).ready["slots"][0]
        assert not slot["loaded"]
        assert [outcome for _, outcome in server.calls(3)][-1] == "15 bytes served"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "demo/yolov8n/none.onnx",
            'the model cache has no such file: model "demo/yolov8n" has no file "none.onnx"',
        ),
        ("demo/none/model.onnx", 'there is no model "demo/none"'),
        ("demo/../../etc/passwd.onnx", "is no name of a remote file"),
    ],
)
def test_what_cannot_be_had(host_of: HostOf, server: ModelCacheServer, name: str, words: str) -> None:
    host = host_of(server.target, [FAKE])
    answer = host.command("load", index=1, config={"path": f"modelcache://{name}"})
    assert (answer["status"], answer["code"]) == ("error", "provider_failed"), answer
    assert words in answer["error"]
    assert host.ask(INFER_RAW, any_raw(0))["detections"] == []


def test_a_server_that_is_not_there(host_of: HostOf, tmp_path: Path) -> None:
    host = host_of("127.0.0.1:1", [FAKE], retryForS=1)
    answer = host.command("load", index=1, config={"path": URI})
    assert answer["code"] == "provider_failed"
    assert "the model cache cannot be reached" in answer["error"]
    assert contents(tmp_path / "cache") == {}


def test_a_server_that_is_killed_at_every_tenth_of_a_file(
    host_of: HostOf, served: Path, yolo: Path, tmp_path: Path
) -> None:
    size = yolo.stat().st_size
    with serving(served) as server:

        def die_and_come_back() -> None:
            server.kill()
            server.start()

        proxy = CuttingProxy(server.target, [size * tenth // 10 for tenth in range(1, 10)], die_and_come_back)
        host = host_of(proxy.target, [{"path": URI}])
        proxy.close()
        assert host.ready["models"] == 1, host.ready["slots"]
        assert proxy.cut == 9
        assert host.stderr.count("tried again after") == 9
        assert [outcome for _, outcome in server.calls(1)][-1] == f"{size} bytes served"
    assert host.finish() == 0
    assert contents(tmp_path / "cache") == {hashlib.sha256(yolo.read_bytes()).hexdigest(): yolo.read_bytes()}


def test_a_server_that_is_killed_for_good_leaves_nothing(
    host_of: HostOf, served: Path, yolo: Path, tmp_path: Path
) -> None:
    with serving(served) as server:
        proxy = CuttingProxy(server.target, [yolo.stat().st_size // 2], server.kill)
        host = host_of(proxy.target, [FAKE], retryForS=1)
        answer = host.command("load", index=1, config={"path": URI})
        proxy.close()
    assert (answer["status"], answer["code"]) == ("error", "provider_failed"), answer
    assert proxy.cut == 1
    assert contents(tmp_path / "cache") == {}


@pytest.mark.parametrize("fault", ["a gap", "too short", "too long", "no last chunk"])
def test_a_broken_stream_is_an_error_and_leaves_nothing(host_of: HostOf, tmp_path: Path, fault: str) -> None:
    content = SHAPES.read_bytes()
    total = len(content)
    head, tail = content[:1000], content[1000:]
    broken = {
        "a gap": [chunk(0, head, total), chunk(1001, tail[1:], total, is_last=True)],
        "too short": [chunk(0, head, total), chunk(1000, tail[:-1], total, is_last=True)],
        "too long": [chunk(0, head, total), chunk(1000, tail + b"x", total, is_last=True)],
        "no last chunk": [chunk(0, head, total), chunk(1000, tail, total)],
    }
    double = ModelCacheDouble(lambda request, context: iter(broken[fault]))
    try:
        host = host_of(double.target, [FAKE])
        answer = host.command("load", index=1, config={"path": URI})
    finally:
        double.close()
    assert (answer["status"], answer["code"]) == ("error", "provider_failed"), answer
    assert "sent a broken stream" in answer["error"]
    assert len(double.asked) == 1  # another try would only bring the same
    assert contents(tmp_path / "cache") == {}


def test_a_server_that_is_too_busy_a_few_times(host_of: HostOf) -> None:
    content = SHAPES.read_bytes()

    def busy(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        if len(double.asked) <= 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "all streams are taken")
        return file_chunks(content, 1 << 18)

    double = ModelCacheDouble(busy)
    try:
        host = host_of(double.target, [{"path": URI}])
    finally:
        double.close()
    assert host.ready["models"] == 1, host.ready["slots"]
    assert host.stderr.count("all streams are taken; tried again after") == 3


def test_a_size_beyond_all_limits_is_refused_before_a_byte_is_written(
    host_of: HostOf, tmp_path: Path
) -> None:
    double = ModelCacheDouble(lambda request, context: iter([chunk(0, b"x", 2**62)]))
    try:
        host = host_of(double.target, [FAKE])
        answer = host.command("load", index=1, config={"path": URI})
    finally:
        double.close()
    assert answer["code"] == "provider_failed"
    assert "provider.maxFileBytes" in answer["error"]
    assert contents(tmp_path / "cache") == {}


@pytest.fixture
def silent() -> Iterator[ModelCacheDouble]:
    """Give a server that sends one chunk and then nothing."""

    def stalling(request: object, context: grpc.ServicerContext) -> Iterator[object]:
        yield chunk(0, b"x", 1000)
        double.stall(context)

    double = ModelCacheDouble(stalling)
    yield double
    double.close()


def test_a_transfer_that_stalls(host_of: HostOf, silent: ModelCacheDouble, tmp_path: Path) -> None:
    host = host_of(silent.target, [FAKE], stallS=0.5, retryForS=1)
    answer = host.command("load", index=1, config={"path": URI})
    assert answer["code"] == "provider_failed"
    assert "the model cache has sent nothing for 0.5 s" in answer["error"]
    assert contents(tmp_path / "cache") == {}


@pytest.mark.parametrize("end", ["stdin", "stdout"])
def test_the_worker_ends_with_its_host_in_the_midst_of_a_transfer(
    spawn: Spawn, silent: ModelCacheDouble, tmp_path: Path, end: str
) -> None:
    host = spawn(None, reads=False)
    host.request(COMMAND, handshake(tmp_path / "cache", silent.target, [{"path": URI}]))
    host.wait_stderr("fetching ")
    began = time.monotonic()
    host.close_stdin() if end == "stdin" else host.close_stdout()
    assert host.wait(LEAVES_WITHIN_S) == 0
    assert time.monotonic() - began < LEAVES_WITHIN_S
    assert silent.left.wait(LEAVES_WITHIN_S)


ASK = """
import sys
from pathlib import Path
from model_files import ModelRef, Providers
from model_files.settings import ModelCacheSettings, ProviderSettings

settings = ProviderSettings(cache_dir=Path(sys.argv[1]), modelcache=ModelCacheSettings(sys.argv[2]))
providers = Providers(settings)
print("asks", flush=True)
sys.stdin.readline()
print(providers.resolve(ModelRef("modelcache://demo/large/model.tflite")).path.stat().st_size)
"""


def test_eight_processes_that_ask_for_the_same_file_make_one_transfer(tmp_path: Path) -> None:
    size = 64 << 20
    path = tmp_path / "served/demo/large/model.tflite"
    path.parent.mkdir(parents=True)
    path.write_bytes(os.urandom(1 << 20) * (size >> 20))
    with serving(tmp_path / "served") as server:
        command = [sys.executable, "-c", ASK, str(tmp_path / "cache"), server.target]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes = [subprocess.Popen(command, text=True, cwd=ROOT, **pipes) for _ in range(8)]
        for process in processes:
            assert process.stdout.readline() == "asks\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=100) for process in processes]
        assert said == [(f"{size}\n", "")] * 8
        # One that was held up until the file was there may have asked whether it still is that one.
        served = [outcome for _, outcome in server.calls(1) if outcome == f"{size} bytes served"]
        assert len(served) == 1
    assert list(contents(tmp_path / "cache").values()) == [path.read_bytes()]
