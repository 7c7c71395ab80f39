"""`verify`: detectors whose objects are known, tensors, failures, Ctrl-C, and how agreement is told."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli.command_line import COLUMNS, COMMAND, ENVIRONMENT, ROOT, SCENES, on_terminal, piped, shown
from contract import tiny_onnx
from onnx import helper

from worker.cli.tiny_model import tiny_script, tiny_tflite
from worker.cli.verify_compare import Limits, compare

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")

BRIEF = ("--seconds", 0.05)
SCENE = SCENES / "scene-2-640x480.jpg"
SIDE, ANCHORS = 64, 84  # 8x8 + 4x4 + 2x2
NAMES = ("cat", "dog", "bird")
LABELS = {"names": str(dict(enumerate(NAMES))), "task": "detect", "stride": "32"}

Found = tuple[int, float, tuple[float, float, float, float]]
"""Class id, score, and centre x, y, width, height in pixels of the tensor."""

CAT: Found = (0, 0.9, (16, 16, 20, 20))
DOG: Found = (1, 0.8, (44, 30, 24, 16))
BIRD: Found = (2, 0.6, (30, 50, 12, 12))


def detector(path: Path, objects: Sequence[Found], metadata: Mapping[str, str] = LABELS) -> Path:
    """Write a YOLOv8 that sees the same objects in every picture."""
    rows = np.zeros((1, 4 + len(NAMES), ANCHORS), np.float32)
    for place, (class_id, score, box) in enumerate(objects):
        rows[0, :4, place] = box
        rows[0, 4 + class_id, place] = score
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "rows"], ["output0"]),
    ]
    return tiny_onnx.save(
        path,
        nodes,
        {"images": ("float32", (1, 3, SIDE, SIDE))},
        {"output0": ("float32", rows.shape)},
        metadata=metadata,
        constants={"zero": np.zeros(1, np.float32), "rows": rows},
    )


def verified(*words: object, **settings) -> tuple[int, dict]:
    """Return the exit status, and what is told as JSON."""
    done = piped("verify", *words, *BRIEF, "--json", **settings)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@needs_openvino
def test_the_default_model_in_all_runtimes_and_with_boxes_drawn(tmp_path):
    done = piped("verify", "models/shapes.onnx", *BRIEF, "--image", SCENE, "--out", tmp_path / "out")

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "█" not in done.stderr
    assert max(map(len, done.stdout.splitlines())) <= COLUMNS
    text = " ".join(done.stdout.split())
    assert "images [?, 3, 640, 640] float32, nchw" in text
    assert "task detect" in text
    assert "family yolov8: output0 [-1, 12, 8400] is 4 + 8 classes" in text
    assert "labels 8: circle, square," in text
    assert "measured by onnxruntime on cpu:" in text
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("openvino on cpu")]
    assert row.endswith("✓ agrees")
    assert (tmp_path / "out" / "report.txt").read_text().strip() == done.stdout.strip()
    copies = sorted((tmp_path / "out").glob("*.jpg"))
    assert [copy.name for copy in copies] == ["shapes-onnxruntime-cpu.jpg", "shapes-openvino-cpu.jpg"]
    for copy in copies:
        assert cv2.absdiff(cv2.imread(str(SCENE)), cv2.imread(str(copy))).max() > 100


@needs_openvino
def test_what_is_told_as_json(tmp_path):
    status, told = verified(detector(tmp_path / "m.onnx", [CAT, DOG]), "--image", SCENE)

    assert (status, told["agrees"], told["against"]) == (0, True, None)
    model = told["model"]
    assert (model["kind"], model["task"], model["family"]) == ("ONNX model", "detect", "yolov8")
    assert model["labels"] == list(NAMES)
    assert model["inputs"] == [
        {
            "name": "images",
            "shape": [1, 3, SIDE, SIDE],
            "dtype": "float32",
            "kind": "image",
            "layout": "nchw",
        }
    ]
    assert [(run["runtime"], run["device"]) for run in model["runs"]][:2] == [
        ("onnxruntime", "cpu"),
        ("openvino", "cpu"),
    ]
    for run in model["runs"]:
        assert [found["className"] for found in run["detections"]] == ["cat", "dog"]
        assert 0 < run["predictP50Ms"] < run["p50Ms"]
    (one,) = [one for one in told["comparisons"] if one["compared"] == "openvino on cpu"]
    assert (one["agrees"], one["objects"], one["matched"]) == (True, 2, 2)
    assert one["iouMin"] > 0.999
    assert one["scoreDifferenceMax"] < 0.001


@pytest.mark.parametrize(
    ("objects", "words", "problem"),
    [
        ([CAT], [], "misses dog 0.80"),
        ([CAT, DOG, BIRD], [], "finds besides bird 0.60"),
        ([CAT, (2, *DOG[1:])], [], "misses dog 0.80"),
        ([CAT, (1, 0.8, (44, 38, 24, 16))], [], "misses dog 0.80"),
        ([CAT, (1, 0.8, (44, 31, 24, 16))], ["--iou", "0.95"], "has elsewhere (IoU below 0.95) dog 0.80"),
        ([CAT, (1, 0.5, DOG[2])], ["--score", "0.2"], "scores otherwise (by more than 0.2) dog 0.80"),
    ],
)
def test_another_model_that_differs(tmp_path, objects, words, problem):
    models = detector(tmp_path / "m.onnx", [CAT, DOG]), detector(tmp_path / "other.onnx", objects)
    own = ("--runtime", "onnxruntime", "--image", SCENE)
    done = piped("verify", models[0], "--against", models[1], *BRIEF, *own, *words)

    assert done.returncode == 1
    assert done.stderr == ""
    assert f"✗ other, onnxruntime on cpu: {problem}" in " ".join(done.stdout.split())
    assert "✗ differs" in done.stdout


@needs_openvino
def test_another_model_with_the_same_objects(tmp_path):
    """Boxes and scores move as rounding moves them, one object falls below the confidence, ids are others."""
    other = {**LABELS, "names": "{0: 'dog', 1: 'cat', 2: 'bird'}"}
    weak = (2, 0.26, BIRD[2])
    models = (
        detector(tmp_path / "m.onnx", [CAT, DOG, weak]),
        detector(
            tmp_path / "int8.onnx",
            [(1, 0.7, (17, 16, 20, 18)), (0, 0.85, DOG[2]), (2, 0.2, BIRD[2])],
            other,
        ),
    )
    status, told = verified(models[0], "--against", models[1], "--image", SCENE)

    assert (status, told["agrees"]) == (0, True)
    compared = {one["compared"]: one for one in told["comparisons"]}
    assert compared["int8, onnxruntime on cpu"]["matched"] == 3
    assert compared["int8, onnxruntime on cpu"]["scoreDifferenceMax"] == pytest.approx(0.2, abs=0.01)
    assert {"m, openvino on cpu", "int8, openvino on cpu"} <= compared.keys()


@needs_openvino
def test_models_without_boxes_are_compared_by_their_tensors(tmp_path):
    model = tiny_onnx.means(tmp_path / "means.onnx", (1, 3, 8, 8), out_batch=1)
    status, told = verified(model, "--image", SCENE)

    assert status == 0
    assert (told["model"]["postprocessor"], told["model"]["family"]) == ("raw", None)
    assert told["model"]["familyReason"].startswith("not a YOLO detector")
    assert [run["tensors"]["means"]["shape"] for run in told["model"]["runs"]] == [[1, 3]] * len(
        told["model"]["runs"]
    )
    assert all(one["maxRelativeDifference"] < 1e-4 for one in told["comparisons"])
    assert told["comparisons"]


@pytest.mark.parametrize(
    ("content", "suffix", "runtime", "library"),
    [(tiny_tflite, ".tflite", "litert", "ai_edge_litert"), (tiny_script, ".pt", "torch", "torch")],
)
def test_files_of_other_runtimes(tmp_path, content, suffix, runtime, library):
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    model = tmp_path / f"tiny{suffix}"
    model.write_bytes(content())
    status, told = verified(model, "--image", SCENE)

    assert (status, told["agrees"]) == (0, True)
    first = told["model"]["runs"][0]
    assert (first["runtime"], first["device"]) == (runtime, "cpu")
    (tensor,) = first["tensors"].values()
    assert sorted(tensor["shape"]) == [1, 1, 8, 8]


def test_tensors_that_differ(tmp_path):
    first = tiny_onnx.means(tmp_path / "a.onnx", (1, 3, 8, 8), out_batch=1)
    second = tiny_onnx.means(tmp_path / "b.onnx", (1, 1, 8, 8), out_batch=1)
    done = piped("verify", first, "--against", second, *BRIEF, "--runtime", "onnxruntime")
    assert done.returncode == 1
    assert "✗ b, onnxruntime on cpu: has means [1, 1] in place of [1, 3]" in done.stdout


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        ([], 2, "required: MODEL"),
        (["none.onnx"], 1, "no such file: none.onnx"),
        (["README.md"], 1, "cannot tell the runtime of 'README.md'"),
        (["README.md", "--runtime", "onnxruntime"], 1, "README.md is not"),
        (["models/shapes.onnx", "--runtime", "steam"], 1, "unknown runtime 'steam': expected one of"),
        (["models/shapes.onnx", "--image", "README.md"], 1, "not a JPEG, PNG or WebP picture"),
        (["models/shapes.onnx", "--image", "none.jpg"], 1, "the picture none.jpg cannot be sent"),
        (["models/shapes.onnx", "--out", "README.md"], 1, "README.md cannot be used"),
        (["models/shapes.onnx", "--postprocessor", "magic"], 1, 'unknown postprocessor "magic"'),
        (["models/shapes.onnx", "--seconds", "0"], 2, "expected seconds"),
        (["models/shapes.onnx", "--iou", "2"], 2, "expected a number from 0 to 1, got '2'"),
    ],
)
def test_failures_say_what_and_what_to_do(words, status, what):
    done = piped("verify", *words)

    assert done.returncode == status
    told = " ".join(done.stderr.split())
    assert told.startswith("error: ")
    assert what in told
    assert " next: " in told
    assert "Traceback" not in told
    assert max(map(len, done.stderr.splitlines())) <= COLUMNS


def test_a_broken_file(tmp_path):
    whole = detector(tmp_path / "whole.onnx", [CAT]).read_bytes()
    (tmp_path / "broken.onnx").write_bytes(whole[: len(whole) // 2])
    done = piped("verify", "broken.onnx", cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: the model broken.onnx cannot be loaded\nwhy:   broken.onnx is ")
    assert "\nnext:  " in done.stderr


@needs_openvino
def test_a_library_that_is_missing_leaves_the_others(tmp_path):
    (tmp_path / "openvino.py").write_text("raise ImportError('broken on purpose')")
    words = detector(tmp_path / "m.onnx", [CAT]), "--image", SCENE
    env = {"PYTHONPATH": str(tmp_path)}

    status, told = verified(*words, env=env)
    assert status == 0
    assert {run["runtime"] for run in told["model"]["runs"]} == {"onnxruntime"}
    (refused,) = [one for one in told["model"]["refused"] if one["runtime"] == "openvino"]
    assert "broken on purpose" in refused["reason"]
    assert refused["next"] == "pip install 'inferpipe[openvino]'"

    status, _ = verified(*words, "--runtime", "onnxruntime", "openvino", env=env)
    assert status == 1  # it was asked for

    done = piped("verify", *words, "--runtime", "openvino", env=env)
    assert done.returncode == 1
    assert "next:  pip install 'inferpipe[openvino]'" in done.stderr


@needs_openvino
def test_a_device_that_is_not_here_is_told(tmp_path):
    done = piped(
        "verify", detector(tmp_path / "m.onnx", [CAT]), *BRIEF, "--runtime", "openvino", "--device", "npu"
    )
    assert done.returncode == 0
    assert "note: m.onnx runs on cpu: OpenVINO finds no NPU here" in " ".join(done.stderr.split())


@needs_openvino
def test_a_picture_with_nothing_on_it_proves_little(tmp_path):
    done = piped("verify", detector(tmp_path / "m.onnx", []), *BRIEF)
    told = " ".join(done.stderr.split())
    assert done.returncode == 0
    assert "agreement proves little" in told
    assert "nothing that this model knows: give a picture with --image" in told


def test_on_a_terminal(tmp_path):
    first, second = detector(tmp_path / "m.onnx", [CAT]), detector(tmp_path / "other.onnx", [CAT, DOG])
    status, written = on_terminal("verify", str(first), "--against", str(second), *map(str, BRIEF))

    assert status == 1, written
    kept = shown(written)
    assert max(map(len, kept)) <= COLUMNS
    assert "running m.onnx with onnxruntime on cpu …" in written
    assert not any("…" in line and "running" in line for line in kept)


HANGING = ("verify", "fake:hang?size=64")


def test_a_person_interrupts():
    status, written = on_terminal(*HANGING, keys=b"\x03", keys_after=b"running")

    assert status == 130
    assert "interrupted" in written
    assert "Traceback" not in written


def test_a_worker_that_is_killed():
    process = subprocess.Popen(
        [*COMMAND, *HANGING],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    os.kill(worker_of(process.pid), signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: no runtime here runs fake:hang" in told
    assert "why:   the worker " in told
    assert "Traceback" not in told


def worker_of(parent: int) -> int:
    """Wait for the child that is a worker, and return its id; the first child describes the model."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    for _ in range(2000):
        for child in children.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if command[1:3] == [b"-m", b"worker"] and command[3] == b"":
                return int(child)
        time.sleep(0.01)
    raise AssertionError("no worker")


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_a_core_ml_model_is_described_where_it_cannot_run(shared_data):
    pytest.importorskip("coremltools")
    done = piped("verify", shared_data / "models/coreml/yolo26n.mlpackage")

    assert done.returncode == 1
    text = " ".join(done.stdout.split())
    assert "Core ML model" in text
    assert "image [?, 640, 640, 3] uint8, nhwc" in text
    assert "task detect" in text
    assert "labels 80: person, bicycle" in text
    assert "why: Core ML runs on macOS" in done.stderr.replace("why:   ", "why: ")
    assert "next: run verify on a Mac" in done.stderr.replace("next:  ", "next: ")


@pytest.mark.parametrize(
    ("other", "library"),
    [
        ("onnx/yolov8n_int8_dynamic.onnx", "onnxruntime"),
        ("openvino/yolov8n_int8/yolov8n.xml", "openvino"),
        ("tflite/yolov8n_full_integer_quant.tflite", "ai_edge_litert"),
        ("tflite/yolov8n_int8_dynamic_floatio.tflite", "ai_edge_litert"),
    ],
)
def test_yolov8n_of_int8_finds_the_objects_of_the_float_one(shared_data, other, library):
    pytest.importorskip(library)
    status, told = of_int8(shared_data, other, "bus.jpg")
    assert status == 0, told["comparisons"]
    assert all(one["matched"] >= 5 for one in told["comparisons"])


@needs_openvino
def test_an_object_that_is_lost_to_int8_is_told(shared_data):
    """The car of dog.jpg passes for a truck too, but not with the IR of int8."""
    status, told = of_int8(shared_data, "openvino/yolov8n_int8/yolov8n.xml", "dog.jpg")
    assert status == 1
    assert [one["problems"] for one in told["comparisons"]] == [["misses truck 0.51 (226x97 at 467,75)"]]


def of_int8(shared_data: Path, other: str, picture: str) -> tuple[int, dict]:
    """Compare a variant of YOLOv8n with the float one in ONNX Runtime."""
    models = shared_data / "models"
    words = ("--image", shared_data / "images" / picture, "--runtime", "onnxruntime")
    return verified(models / "onnx/yolov8n_float32.onnx", "--against", models / other, *words)


def box(name: str, score: float, *bbox: float) -> dict:
    return {"className": name, "classId": NAMES.index(name), "score": score, "bbox": list(bbox)}


STRICT = Limits(confidence=0.25, iou=0.9, score=0.05, difference=0.01)


def agreement(first: Sequence[dict], second: Sequence[dict], limits: Limits = STRICT):
    answers = [{"kind": "detections", "detections": list(boxes)} for boxes in (first, second)]
    return compare(*answers, limits)


@pytest.mark.parametrize(
    ("first", "second", "problems"),
    [
        ([], [], 0),
        ([box("cat", 0.9, 0, 0, 10, 10)], [box("cat", 0.9, 0, 0, 10, 10)], 0),
        ([box("cat", 0.27, 0, 0, 10, 10)], [box("cat", 0.23, 0, 0, 10, 10)], 0),  # at the edge, and there
        ([box("cat", 0.27, 0, 0, 10, 10)], [], 1),
        ([box("cat", 0.2, 0, 0, 10, 10)], [], 0),  # too weak to be asked for
        ([box("cat", 0.9, 0, 0, 10, 10)], [box("dog", 0.9, 0, 0, 10, 10)], 2),
        ([box("cat", 0.9, 0, 0, 10, 10)], [box("cat", 0.84, 0, 0, 10, 10)], 1),
        ([box("cat", 0.9, 0, 0, 10, 10)], [box("cat", 0.9, 1, 0, 10, 10)], 1),
        # The better overlap is the match, whatever comes first.
        (
            [box("cat", 0.9, 0, 0, 10, 10), box("cat", 0.8, 3, 0, 10, 10)],
            [box("cat", 0.8, 3, 0, 10, 10), box("cat", 0.9, 0, 0, 10, 10)],
            0,
        ),
        # One box is nobody's twice.
        ([box("cat", 0.9, 0, 0, 10, 10), box("cat", 0.9, 0, 0, 10, 10)], [box("cat", 0.9, 0, 0, 10, 10)], 1),
    ],
)
def test_how_boxes_agree(first, second, problems):
    assert len(agreement(first, second).problems) == problems
    assert agreement(first, second).agrees == (not problems)


def test_figures_of_an_agreement():
    first = [box("cat", 0.9, 0, 0, 10, 10), box("dog", 0.6, 50, 50, 10, 10)]
    second = [box("cat", 0.88, 0, 0, 10, 10), box("dog", 0.6, 50, 50, 10, 9.5)]
    found = agreement(first, second)
    assert (found.objects, found.matched, found.agrees) == (2, 2, True)
    assert (found.iou_min, found.iou_mean) == pytest.approx((0.95, 0.975))
    assert (found.score_max, found.score_mean) == pytest.approx((0.02, 0.01))


def test_classes_go_by_number_where_a_file_has_no_names():
    named = [box("dog", 0.9, 0, 0, 10, 10)]
    nameless = [{"classId": 1, "score": 0.9, "bbox": [0, 0, 10, 10]}]
    assert agreement(named, nameless).agrees


def tensors(**arrays: np.ndarray) -> dict:
    fields = {
        name: {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "data": base64.b64encode(array.tobytes()).decode(),
        }
        for name, array in arrays.items()
    }
    return {"kind": "raw", "tensors": fields}


@pytest.mark.parametrize(
    ("second", "agrees"),
    [
        (tensors(x=np.array([[1.0, -10.05]], np.float32)), True),
        (tensors(x=np.array([[1.0, -10.5]], np.float32)), False),
        (tensors(y=np.array([[1.0, -10.0]], np.float64)), True),  # another format's name and type
        (tensors(x=np.array([[1.0, np.nan]], np.float32)), False),
        (tensors(x=np.array([[1.0], [-10.0]], np.float32)), False),
        (tensors(x=np.array([[1.0, -10.0]], np.float32), y=np.zeros(1, np.float32)), False),
        ({"kind": "detections", "detections": []}, False),
    ],
)
def test_how_tensors_agree(second, agrees):
    found = compare(tensors(x=np.array([[1.0, -10.0]], np.float32)), second, STRICT)
    assert found.agrees == agrees
