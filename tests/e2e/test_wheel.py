"""The wheel: what is in it, and that a worker installed from it into an empty environment answers."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from raw_host import RawHost
from wire import INFER_JPEG, INFER_RAW, RGB, jpeg, raw

from runtimes.picture_ids import draw_id

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "frame_cache",
    "model_files",
    "models",
    "postprocessors",
    "preprocess",
    "protocol",
    "protos",
    "runtimes",
    "streaming",
    "worker",
}

SHIPPED = {".py", ".onnx", ".txt", ".json"}

# A registry stands behind these; they share one build and one environment.
pytestmark = pytest.mark.timeout(600)


def run(*command: object, **settings) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=500, check=False, **settings
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment that has the wheel, what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    interpreter = folder / "bin/python"
    run(
        interpreter,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--constraint",
        ROOT / "constraints.txt",
        f"{wheel}[onnx,opencv]",
        cwd=folder,
    )
    return interpreter


def test_what_is_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert "worker/__main__.py" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    in_repository = [path for package in PACKAGES for path in (ROOT / package).rglob("*")]
    wanted = {str(path.relative_to(ROOT)) for path in in_repository if path.suffix in SHIPPED}
    assert wanted <= set(names)


def test_a_worker_from_the_wheel_answers(python, spawn, encode_picture, tmp_path):
    host = spawn(command=[python, "-m", "worker"], cwd=tmp_path)
    models = [{"path": "fake:echo?size=64", "runtime": "fake"}]
    ready = host.shake_hands({"protocol": 3, "runtime": "onnxruntime", "models": models})

    assert (ready["status"], ready["models"]) == ("ready", 1), ready
    rgb = draw_id(808, 64, 64)
    for answer in (
        host.ask(INFER_RAW, raw(0, 64, 64, RGB, rgb.tobytes())),
        host.ask(INFER_JPEG, jpeg(0, encode_picture(rgb))),
    ):
        assert answer["detections"][0]["classId"] == 808
    assert host.finish() == 0


def test_a_real_model_in_a_worker_from_the_wheel(python, spawn, tmp_path):
    from contract import tiny_onnx

    path = tiny_onnx.means(tmp_path / "m.onnx")
    host = spawn(command=[python, "-m", "worker"], cwd=tmp_path)
    ready = host.shake_hands(
        {"runtime": "onnxruntime", "models": [{"path": str(path), "postprocessor": "raw"}]}
    )
    assert ready["models"] == 1, ready["slots"]
    assert "tensors" in host.ask(INFER_RAW, raw(0, 8, 8, RGB, bytes(192)))


def test_the_worker_without_any_extra_tells_what_is_missing(wheel, tmp_path):
    """numpy and msgspec alone: the handshake is answered, and the slot says which extra it wants."""
    venv.create(tmp_path / "bare", with_pip=True)
    interpreter = tmp_path / "bare/bin/python"
    run(
        interpreter,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--constraint",
        ROOT / "constraints.txt",
        wheel,
        cwd=tmp_path,
    )
    (tmp_path / "m.onnx").write_bytes(b"x")
    host = RawHost.spawn(command=[str(interpreter), "-m", "worker"], cwd=tmp_path)
    try:
        ready = host.shake_hands({"runtime": "onnxruntime", "models": [{"path": str(tmp_path / "m.onnx")}]})
        assert (ready["status"], ready["models"], ready["total"]) == ("ready", 0, 1)
        assert "inferpipe[onnx]" in ready["slots"][0]["error"]
        assert host.finish() == 0
    finally:
        host.destroy()


def test_the_command_of_the_wheel(python):
    done = subprocess.run(
        [python.parent / "inferpipe", "--help"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0
    assert "demo" in done.stdout
