"""Help, version, doctor, schema, completion: each as a process."""

import json
import shutil
import subprocess
import sys

import pytest
from cli.command_line import COLUMNS, COMMAND, ENVIRONMENT, ROOT, SCENES, on_terminal, piped, shown

from worker.cli.completion_scripts import SCRIPTS
from worker.cli.completion_table import described
from worker.cli.parser import COMMANDS, build_parser

HEAVY = ("cv2", "onnxruntime")


def test_help_on_a_terminal_fits_it_and_names_every_command():
    status, written = on_terminal()

    assert status == 0
    assert max(map(len, shown(written))) <= COLUMNS
    assert all(f"  {name} " in written for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_fits_a_terminal(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    with pytest.raises(SystemExit):
        build_parser().parse_args([command, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= COLUMNS


def test_help_completion_and_version_need_no_heavy_library():
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HEAVY!r}))  # an import of one of them fails\n"
        "from worker.cli import run\n"
        "for words in (['completion', 'bash'], ['detect', '--help'], ['--version']):\n"
        "    try:\n"
        "        assert run(words) == 0\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0\n"
        "sys.exit(run(['detect', 'models/scenes']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "error: cv2 cannot be imported" in done.stderr
    assert "next:  pip install 'inferpipe[opencv]'" in done.stderr


def test_version():
    done = piped("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "inferpipe")


def test_an_unknown_command_is_wrong_usage():
    done = piped("detekt")
    assert done.returncode == 2
    assert "invalid choice: 'detekt'" in done.stderr


def test_the_doctor_as_json():
    done = piped("doctor", "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["serves"]
    checks = {check["name"]: check for part in report["checks"].values() for check in part}
    wanted = ("numpy", "OpenCV", "PyAV", "mss", "onnxruntime", "cores", "memory", "cpu", "shapes.onnx")
    assert {name: checks[name]["state"] for name in wanted} == dict.fromkeys(wanted, "good")
    assert set(checks) >= {"cuda", "tensorrt", "coreml", "openvino", "directml"}
    assert all(check["state"] == "good" or check.get("next") or "text" in check for check in checks.values())


def test_the_doctor_on_a_terminal():
    status, written = on_terminal("doctor")

    assert status == 0
    kept = shown(written)
    assert max(map(len, kept)) <= COLUMNS
    assert any(line.startswith("✓ cpu") for line in kept)
    assert "the worker can serve here" in kept


LIBRARIES = {
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "openvino"),
    "litert": ("ai_edge_litert", "litert"),
    "coreml": ("coremltools", "coreml"),
    "torch": ("torch", "torch"),
}
"""Runtime → its library's module, and the extra that brings it."""

ABSENCE = """\
import importlib.metadata as metadata, sys

GONE = {gone!r}

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in GONE:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Absent)
owners = metadata.packages_distributions
metadata.packages_distributions = lambda: {{
    module: found for module, found in owners().items() if module not in GONE
}}
"""
"""Runs before anything else in every process whose path begins with its folder."""


def without(folder, *modules):
    """Return the environment of processes to which some modules are not installed."""
    (folder / "sitecustomize.py").write_text(ABSENCE.format(gone=set(modules)))
    return {"PYTHONPATH": str(folder)}


def examined(folder, *modules):
    """Return the doctor's exit status and report where some modules are not installed."""
    done = piped("doctor", "--json", env=without(folder, *modules))
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("runtime", LIBRARIES)
def test_the_doctor_with_each_library_absent(runtime, tmp_path):
    module, extra = LIBRARIES[runtime]
    status, report = examined(tmp_path, module, *(["tflite_runtime"] if runtime == "litert" else []))

    (check,) = [check for check in report["checks"]["runtimes"] if check["name"] == runtime]
    assert (check["state"], check["next"]) == ("absent", f"pip install 'inferpipe[{extra}]'")
    assert check["text"].startswith("not installed")
    assert f"devices of {runtime}" not in report["checks"]
    here = {check["name"] for check in report["checks"]["runtimes"] if check["state"] == "good"}
    for name in here:
        (cpu,) = [check for check in report["checks"][f"devices of {name}"] if check["name"] == "cpu"]
        assert (cpu["state"], cpu["text"]) == ("good", "a model ran on cpu")
    assert (status, report["serves"]) == ((0, True) if here else (1, False))
    (default,) = report["checks"]["default model"]
    assert (default["state"] == "good") == bool(here & {"onnxruntime", "openvino"})


def test_the_doctor_with_no_runtime_at_all(tmp_path):
    env = without(tmp_path, "tflite_runtime", *(module for module, _ in LIBRARIES.values()))
    done = piped("doctor", env=env)

    assert done.returncode == 1
    assert "✗ predict       no runtime here can run a model" in done.stdout
    assert all(f"→ pip install 'inferpipe[{extra}]'" in done.stdout for _, extra in LIBRARIES.values())
    assert "the worker cannot serve here" in done.stdout


def test_the_doctor_without_what_streams_need(tmp_path):
    others = [module for module, extra in LIBRARIES.values() if extra != "onnx"]  # to be quicker without them
    status, report = examined(tmp_path, "av", "mss", "tflite_runtime", *others)
    missing = {check["name"]: check["next"] for check in report["checks"]["libraries"] if "next" in check}
    assert missing == {"PyAV": "pip install 'inferpipe[video]'", "mss": "pip install 'inferpipe[screen]'"}
    assert (status, report["serves"]) == (0, True)


def test_the_doctor_without_opencv(tmp_path):
    status, report = examined(tmp_path, "cv2")
    (check,) = [check for check in report["checks"]["libraries"] if check["name"] == "OpenCV"]
    assert (status, check["state"], check["next"]) == (1, "bad", "pip install 'inferpipe[opencv]'")


def test_the_doctor_where_libraries_are_broken(tmp_path):
    """Packages of those names that cannot be imported come first on the path of all processes."""
    for module, _ in LIBRARIES.values():
        (tmp_path / f"{module}.py").write_text("raise ImportError('broken on purpose')")
    done = piped("doctor", env={"PYTHONPATH": str(tmp_path)})

    assert done.returncode == 1
    assert "broken on purpose" in " ".join(done.stdout.split())
    assert "→ pip install 'inferpipe[onnx]'" in done.stdout
    assert "the worker cannot serve here" in done.stdout


def test_the_tiny_models_run_on_the_cpu_of_each_runtime_that_is_installed():
    report = json.loads(piped("doctor", "--json").stdout)["checks"]
    here = {check["name"] for check in report["runtimes"] if check["state"] == "good"} & set(LIBRARIES)
    assert {name for name in LIBRARIES if f"devices of {name}" in report} == here
    for name in here:
        states = {check["name"]: check["state"] for check in report[f"devices of {name}"]}
        assert states["cpu"] == "good"
        assert "bad" not in states.values()


def test_the_schema_is_json():
    done = piped("schema")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["properties"]["models"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_its_shell_reads(shell, tmp_path):
    done = piped("completion", shell)

    assert done.returncode == 0
    assert all(name in done.stdout for name in (*COMMANDS, "confidence"))
    if program := shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(done.stdout)
        subprocess.run([program, "-n", str(script)], check=True, timeout=60)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["inferpipe", "do"], "doctor"),
        (["inferpipe", "detect", "--conf"], "--confidence"),
        (["inferpipe", "detect", "--runtime", "onnx"], "onnxruntime"),
        (["inferpipe", "completion", "z"], "zsh"),
    ],
)
def test_what_bash_offers(words, offered):
    script = SCRIPTS["bash"](described(build_parser()))
    typed = " ".join(words)
    ask = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _inferpipe; echo ${{COMPREPLY[*]}}"
    done = subprocess.run(
        ["bash", "-c", script + ask], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [offered]


def test_a_reader_that_has_seen_enough(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "detect", str(SCENES)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 141
    assert told == b""


def test_the_demo(tmp_path):
    done = piped("demo", "--out", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "from the cache" in done.stdout
    assert len(list(tmp_path.glob("*.jpg"))) == len(list(SCENES.glob("*.jpg")))
