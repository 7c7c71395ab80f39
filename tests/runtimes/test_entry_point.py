"""A runtime of another distribution: installed, found by its entry point, served by the whole worker."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli.command_line import piped

from protocol.messages import Picture
from protocol.pixel_format import PixelFormat
from worker.client import WorkerClient, WorkerError

EXAMPLE = Path(__file__).parent.parent / "example_runtime"
MODEL = {"size": 8, "labels": ["red", "dark"], "weights": [[1, 0, 0], [-1, -1, -1]]}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder that the example is installed into, as it would be into an environment."""
    pytest.importorskip("hatchling")
    source, target = tmp_path_factory.mktemp("source") / "example", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    words = ("install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", target)
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, words), "--disable-pip-version-check", str(source)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def installed(site, monkeypatch):
    """Let every process find the example."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))))
    return site


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "colours.json"
    path.write_text(json.dumps(MODEL))
    return path


def config(model: Path, **more: object) -> dict:
    slot = {"path": str(model), "runtime": "colour", "postprocessor": "raw", **more}
    return {"protocol": 3, "runtime": "auto", "models": [slot]}


def plain(red: int, green: int, blue: int) -> Picture:
    """Return a picture of one colour."""
    return Picture(8, 8, PixelFormat.RGB, memoryview(bytes((red, green, blue)) * 64))


def scores(answer: dict) -> list[float]:
    return np.frombuffer(base64.b64decode(answer["tensors"]["scores"]["data"]), "<f4").tolist()


def served(config: dict, pictures: list[Picture]) -> tuple[dict, list[dict]]:
    """Return the ready answer, and those to pictures that are all in flight at once."""

    async def run() -> tuple[dict, list[dict]]:
        async with await WorkerClient.spawn(config) as worker:
            return worker.ready, await asyncio.gather(*map(worker.infer_raw, pictures))

    return asyncio.run(run())


def test_the_worker_serves_it_with_several_lanes(installed, model):
    pictures = [plain(level, 0, 255 - level) for level in range(0, 256, 17)]
    ready, answers = served({**config(model), "concurrency": 3}, pictures)

    (slot,) = ready["slots"]
    assert (slot["runtime"], slot["device"], slot["labels"]) == ("colour", "cpu", MODEL["labels"])
    assert "deviceFallback" not in slot
    for level, answer in zip(range(0, 256, 17), answers, strict=True):
        assert scores(answer) == pytest.approx([level / 255, -1.0], abs=1e-5)


def test_its_device_report_reaches_the_host(installed, model):
    ready, _ = served(config(model, device="tpu"), [])
    (slot,) = ready["slots"]
    assert slot["device"] == "cpu"
    assert slot["deviceFallback"] == "unknown device 'tpu': this runtime has cpu alone"


def test_its_errors_are_the_slots(installed, tmp_path):
    (tmp_path / "broken.json").write_text('{"size": 8}')
    ready, _ = served(config(tmp_path / "broken.json"), [])
    (slot,) = ready["slots"]
    assert not slot["loaded"]
    assert "is not a colour model" in slot["error"]


def test_a_model_is_replaced_while_it_serves(installed, model, tmp_path):
    inverted = tmp_path / "inverted.json"
    inverted.write_text(json.dumps({**MODEL, "weights": [[-1, 0, 0], [0, 0, 0]]}))

    async def run() -> list[list[float]]:
        async with await WorkerClient.spawn(config(model)) as worker:
            before = await worker.infer_raw(plain(255, 0, 0))
            await worker.command("replace", index=0, config=config(inverted)["models"][0])
            return [scores(before), scores(await worker.infer_raw(plain(255, 0, 0)))]

    before, after = asyncio.run(run())
    assert before == pytest.approx([1.0, -1.0], abs=1e-5)
    assert after == pytest.approx([-1.0, 0.0], abs=1e-5)


def test_it_works_beside_the_built_in_ones(installed, model):
    mixed = config(model)
    mixed["models"].append({"path": "fake:noop?size=8", "runtime": "fake"})
    ready, _ = served(mixed, [])
    assert [(slot["runtime"], slot["loaded"]) for slot in ready["slots"]] == [
        ("colour", True),
        ("fake", True),
    ]


def test_verify_and_doctor_know_it(installed, model):
    env = {"PYTHONPATH": os.environ["PYTHONPATH"]}
    done = piped("verify", model, "--runtime", "colour", "--json", "--seconds", 0.05, env=env)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["model"]
    assert (told["task"], told["labels"]) == ("classify", MODEL["labels"])
    assert [(one["runtime"], one["device"]) for one in told["runs"]] == [("colour", "cpu")]

    report = json.loads(piped("doctor", "--json", env=env).stdout)
    (check,) = [check for check in report["checks"]["runtimes"] if check["name"] == "colour"]
    assert (check["state"], check["text"]) == ("good", "inferpipe-colour-runtime 1.0")


def test_where_it_is_not_installed_its_name_is_unknown(model):
    async def run() -> str:
        async with await WorkerClient.spawn(config(model)) as worker:
            with pytest.raises(WorkerError):
                await worker.infer_raw(plain(0, 0, 0))
            return str(worker.ready["slots"][0]["error"])

    error = asyncio.run(run())
    assert error.startswith("unknown runtime 'colour': expected one of ")
    assert "onnxruntime" in error
