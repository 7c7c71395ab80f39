"""Files that are damaged, and what is in those that are not. The fuzz runs in processes that may die."""

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from contract import tiny_tflite
from contract.tiny_tflite import Operator, Tensor
from hypothesis import given
from hypothesis import strategies as st

from runtimes.litert_file import LitertFile, read_model_file
from runtimes.litert_flatbuffer import FlatbufferError

ROOT = Path(__file__).resolve().parents[2]

BOXES = np.array([[0.1, 0.2, 0.5, 0.6], [0.6, 0.6, 0.9, 0.9]])
SCORES = np.array([[0.1, 0.9], [0.8, 0.0]])


def test_what_is_in_a_detector(tmp_path: Path) -> None:
    described = tiny_tflite.describe("labels.txt", [127.5], [127.5])
    path = tiny_tflite.ssd(tmp_path / "m.tflite", BOXES, SCORES, metadata=described)
    file = read_model_file(path.read_bytes())
    assert file.custom_ops == {"TFLite_Detection_PostProcess"}
    assert file.metadata == described
    assert file.detection_outputs == (4, 5, 6, 7)  # in the operator's order, not the model's


def test_what_is_in_a_plain_model(tmp_path: Path) -> None:
    path = tiny_tflite.means(tmp_path / "m.tflite")
    assert read_model_file(path.read_bytes()) == LitertFile(frozenset(), (), b"")


def dequantize(folder: Path, inputs: list[str], shape: tuple[int, ...] = (4, 4)) -> Path:
    """Write a model that unpacks its weights."""
    return tiny_tflite.save(
        folder / "m.tflite",
        [
            Tensor("packed", (4, 4), "int8", scale=0.5, data=np.zeros((4, 4), np.int8)),
            Tensor("unpacked", shape),
        ],
        [Operator(6, inputs, ["unpacked"], version=2)],
        [],
        ["unpacked"],
    )


def test_weights_that_would_be_unpacked_to_another_size(tmp_path: Path) -> None:
    read_model_file(dequantize(tmp_path, ["packed"]).read_bytes())
    with pytest.raises(FlatbufferError, match="differ in shape"):
        read_model_file(dequantize(tmp_path, ["packed"], (4, 400_000)).read_bytes())


def test_a_tensor_that_is_larger_than_any_memory(tmp_path: Path) -> None:
    with pytest.raises(FlatbufferError, match="a tensor has the shape"):
        read_model_file(tiny_tflite.means(tmp_path / "m.tflite", (1, 1 << 15, 1 << 15, 3)).read_bytes())


@pytest.mark.parametrize("scale", [1e30, -1.0, float("inf"), float("nan")])
def test_a_scale_that_kernels_cannot_reckon_with(tmp_path: Path, scale: float) -> None:
    quantised = {"dtype": "int8", "scale": scale}
    with pytest.raises(FlatbufferError, match="a scale beyond all use"):
        read_model_file(tiny_tflite.means(tmp_path / "m.tflite", image=quantised).read_bytes())


def test_settings_of_a_detector_that_lead_outside(tmp_path: Path) -> None:
    data = tiny_tflite.ssd(tmp_path / "m.tflite", BOXES, SCORES).read_bytes()
    names = data.index(b"max_detections\0")
    end = data.index(b"'\x01", names)  # a map of widths of eight bytes, whose distance takes one
    with pytest.raises(FlatbufferError):
        read_model_file(data[: end - 1] + b"\xff" + data[end:])


def damaged(data: bytes, seed: int) -> bytes:
    """Return a model with a part cut off, a few bits turned, a word replaced, or all but its head."""
    rng = random.Random(seed)
    copy = bytearray(data)
    match rng.choice(("cut", "bits", "word", "noise")):
        case "cut":
            del copy[rng.randrange(8, len(copy)) :]
        case "bits":
            for _ in range(rng.randint(1, 4)):
                copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
        case "word":
            at = rng.randrange(8, len(copy) - 4) & ~3
            copy[at : at + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f", b"\1\0\0\0"))
        case _:
            copy[8:] = rng.randbytes(rng.choice((16, 200, 2000)))
    return bytes(copy)


LOAD_AND_RUN = """
import sys
from pathlib import Path
import numpy as np
from model_files import ModelFiles
from runtimes.errors import InferenceError, ModelLoadError
from runtimes.litert import LitertRuntime
from runtimes.options import RuntimeOptions

for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, flush=True)
    try:
        model = LitertRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions(intra_threads=1))
        item = {spec.name: np.zeros(np.abs(spec.shape), spec.dtype) for spec in model.inputs}
        model.open_lane().infer([item])
    except (ModelLoadError, InferenceError) as exc:
        assert "\\n" not in str(exc), exc
print("done")
"""
"""Names each file before it is loaded, so that the last one is at fault where the process ends."""


def assert_survives(folder: Path, data: bytes, count: int) -> None:
    """Load and run so many damaged copies in a process of their own."""
    folder.mkdir()
    for seed in range(count):
        (folder / f"{seed:04}.tflite").write_bytes(damaged(data, seed))
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_RUN, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.splitlines()[-1], done.returncode) == ("done", 0), done.stderr[-2000:]


def samples(folder: Path) -> Iterator[bytes]:
    quantised = {"dtype": "int8", "scale": 1 / 255, "zero_point": -128}
    yield tiny_tflite.means(folder / "a.tflite", image=quantised, answer=quantised).read_bytes()
    yield tiny_tflite.ssd(
        folder / "b.tflite",
        BOXES,
        SCORES,
        metadata=tiny_tflite.describe("labels.txt", [127.5], [127.5]),
        tail={"labels.txt": "cat\ndog\n"},
    ).read_bytes()
    yield dequantize(folder, ["packed"]).read_bytes()


def test_damaged_files_never_end_the_process(tmp_path: Path) -> None:
    for number, data in enumerate(samples(tmp_path)):
        assert_survives(tmp_path / f"damaged{number}", data, 300)


def test_real_files_that_are_damaged_never_end_the_process(tmp_path: Path, shared_data: Path) -> None:
    data = (shared_data / "models/mediapipe/blaze_face_short_range.tflite").read_bytes()
    assert_survives(tmp_path / "damaged", data, 300)


@given(st.binary(max_size=400))
def test_noise_is_refused_and_nothing_else(noise: bytes) -> None:
    with pytest.raises(FlatbufferError):
        read_model_file(noise[:4] + b"TFL3" + noise[4:])
