"""The host examples run: good and broken pictures, answers in another order, workers that end."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtimes.picture_ids import draw_id

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "hosts" / "examples"
MODEL = "models/shapes.onnx"
SCENES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "models/scenes").glob("*.jpg"))
ECHO = "fake:echo?size=64"

LANGUAGES = ("python", "node", "rust")
LINES = 60
DEADLINE_S = 60
LINE = re.compile(r"(?P<picture>.+?): (?P<label>\S+) [01]\.\d{4} \[\d+\.\d\d(?:, \d+\.\d\d){3}\]")

AS_PYTHON = """
import runpy, sys
_, sys.executable, script, *_ = sys.argv
del sys.argv[:2]
runpy.run_path(script, run_name="__main__")
"""
"""Runs a script where `sys.executable` is another program: what `worker.client` starts the worker with."""


def tool(name: str) -> str:
    """Return where a program is; skip without it, or fail where everything must be there."""
    path = shutil.which(name)
    if path is None:
        assert "INFERPIPE_CI" not in os.environ, f"{name} is missing"
        pytest.skip(f"{name} is not installed")
    return path


@dataclass(frozen=True)
class Host:
    """One example."""

    language: str
    program: tuple[str, ...]

    def run(self, *arguments: str, worker: str = sys.executable) -> "Outcome":
        """Run it with a Python, or what stands in for one, to start the worker with."""
        command = [*self.program, worker, *arguments]
        if self.language == "python":
            script = self.program[-1]
            command = [sys.executable, "-c", AS_PYTHON, worker, script, *arguments]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        return Outcome(self.language, done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Outcome:
    """What a run of an example gave."""

    language: str
    status: int
    stdout: str
    stderr: str

    @property
    def found(self) -> list[tuple[str, str]]:
        """Return (picture, label) of every detection, as printed."""
        if self.language == "rust":
            return [
                (picture, str(one.get("className", one["classId"])))
                for picture, answer in self.answers
                for one in answer.get("detections", [])
            ]
        matches = [LINE.fullmatch(line) for line in self.stdout.splitlines()]
        assert None not in matches, self.stdout
        return [(match["picture"], match["label"]) for match in matches if match]

    @property
    def answers(self) -> list[tuple[str, dict]]:
        """Return (picture, answer) of what the Rust example prints."""
        parts = [line.partition(": {") for line in self.stdout.splitlines()]
        return [(name, json.loads("{" + text)) for name, _, text in parts]

    def complaint(self, name: str) -> str:
        """Return the lines that tell of a failure of a picture or a model; they are never detections."""
        printed = self.stderr if self.language != "rust" else self.stderr + self.stdout
        return "\n".join(line for line in printed.splitlines() if line.startswith(f"{name}: "))


@pytest.fixture(scope="session")
def rust_program(tmp_path_factory) -> Path:
    """Return the Rust example, compiled; a warning is an error."""
    folder = tmp_path_factory.mktemp("rust")
    options = ["--edition", "2021", "-D", "warnings", "--out-dir", str(folder)]
    subprocess.run([tool("rustc"), *options, str(EXAMPLES / "detect.rs")], check=True, timeout=DEADLINE_S)
    return folder / "detect"


@pytest.fixture(params=LANGUAGES)
def host(request) -> Host:
    """Return each of the examples."""
    if request.param == "rust":
        return Host("rust", (str(request.getfixturevalue("rust_program")),))
    if request.param == "node":
        return Host("node", (tool("node"), str(EXAMPLES / "detect.mjs")))
    return Host("python", (sys.executable, str(EXAMPLES / "detect.py")))


@pytest.fixture
def scripted(tmp_path) -> Callable[..., str]:
    """Return what makes a program that stands in for Python, and is a worker that follows a script."""

    def make(*behaviour: str) -> str:
        path = tmp_path / "python"
        script = Path(__file__).with_name("scripted_worker.py")
        path.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, str(script), *behaviour])}\n", "utf-8")
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def texts(tmp_path) -> list[str]:
    """Return files that hold one word each, for the scripted worker."""
    paths = [tmp_path / f"{number}.jpg" for number in range(6)]
    for number, path in enumerate(paths):
        path.write_text(f"word-{number}", encoding="utf-8")
    return [str(path) for path in paths]


def test_the_default_model_on_good_broken_and_missing_pictures(host, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 cut short")
    missing = str(tmp_path / "missing.jpg")
    outcome = host.run(MODEL, *SCENES[:4], str(broken), missing, *SCENES[4:])
    assert outcome.status == 1
    assert outcome.found, "nothing was found on any scene"
    assert {picture for picture, _ in outcome.found} <= set(SCENES)
    labels = (ROOT / "models/shapes.labels.txt").read_text(encoding="utf-8").split()
    assert {label for _, label in outcome.found} <= set(labels)
    assert "decode_failed" in outcome.complaint(str(broken))
    assert "no such file" in outcome.complaint(missing).lower()
    assert not any(outcome.complaint(scene) for scene in SCENES if host.language != "rust")


def test_every_picture_gets_its_own_answer(host, tmp_path, encode_picture):
    pictures = {str(tmp_path / f"{number} é.png"): number for number in range(1, 41)}
    for path, number in pictures.items():
        Path(path).write_bytes(encode_picture(draw_id(number, 48, 32), ".png"))
    outcome = host.run(ECHO, *pictures)
    assert outcome.status == 0, outcome.stderr
    assert sorted(outcome.found) == sorted((path, str(number)) for path, number in pictures.items())


def test_python_and_node_print_the_same(tmp_path, encode_picture):
    path = tmp_path / "7.png"
    path.write_bytes(encode_picture(draw_id(7, 48, 32), ".png"))
    hosts = (
        Host("python", (sys.executable, str(EXAMPLES / "detect.py"))),
        Host("node", (tool("node"), str(EXAMPLES / "detect.mjs"))),
    )
    line = f"{path}: 7 1.0000 [0.00, 0.00, 48.00, 32.00]\n"
    assert [host.run(ECHO, str(path)).stdout for host in hosts] == [line, line]


def test_a_missing_model(host):
    model = 'no "such" \\ model.onnx'  # what a JSON string has to escape
    outcome = host.run(model, *SCENES[:2])
    assert outcome.status == 1
    assert outcome.found == []
    assert "no such file" in outcome.complaint(model)


def test_several_pictures_are_in_flight_and_answers_come_in_any_order(host, scripted, texts):
    outcome = host.run(MODEL, *texts, worker=scripted("reverse", str(len(texts))))
    assert outcome.status == 0, outcome.stderr
    assert sorted(outcome.found) == [(path, f"word-{number}") for number, path in enumerate(texts)]


def test_a_worker_that_ends_fails_every_picture(host, scripted, texts):
    outcome = host.run(MODEL, *texts, worker=scripted("die", "3"))
    assert outcome.status == 1
    assert outcome.found == []
    assert [path for path in texts if not outcome.complaint(path)] == []


def test_a_worker_that_ends_while_the_pipe_is_full(host, scripted, tmp_path):
    pictures = [str(tmp_path / f"{number}.jpg") for number in range(20)]
    for path in pictures:
        Path(path).write_bytes(bytes(1 << 20))
    outcome = host.run(MODEL, *pictures, worker=scripted("stall"))
    assert outcome.status == 1
    assert [path for path in pictures if not outcome.complaint(path)] == []
    assert "Warning" not in outcome.stderr


def test_a_worker_that_cannot_be_started(host):
    if host.language == "python":
        pytest.skip("the Python example starts the worker with the Python that runs it")
    outcome = host.run(MODEL, SCENES[0], worker="/no/such/python")
    assert outcome.status == 1
    assert outcome.stdout == ""
    assert outcome.stderr


def test_usage(host):
    done = subprocess.run(
        host.program, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode != 0
    assert "usage: " in done.stderr


@pytest.mark.parametrize("name", ["detect.py", "detect.mjs", "detect.rs"])
def test_examples_are_short(name):
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < LINES


def test_rust_is_formatted():
    rustfmt = shutil.which("rustfmt")  # also in CI: Debian has it in a package of its own
    if rustfmt is None:
        pytest.skip("rustfmt is not installed")
    subprocess.run([rustfmt, "--edition", "2021", "--check", str(EXAMPLES / "detect.rs")], check=True)


def commands() -> list[str]:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.+?)\n```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("command", commands(), ids=LANGUAGES)
def test_the_commands_of_the_readme_run(command, tmp_path):
    program = shlex.split(command)[0]
    if "/" not in program:
        tool(program)
    here = command.replace(".venv/bin/python", shlex.quote(sys.executable))
    here = here.replace("--out-dir target", f"--out-dir {tmp_path}").replace("target/", f"{tmp_path}/")
    done = subprocess.run(
        ["/bin/sh", "-c", here], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {line.partition(": ")[0] for line in done.stdout.splitlines()} <= {MODEL, *SCENES}
    assert "models/scenes/" in done.stdout
