"""The ONNX Runtime adapter on tiny models written here, and on real ones where they are at hand."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from contract import tiny_onnx
from onnx import TensorProto, helper

from model_files import ModelFiles
from runtimes.base import CompiledModel
from runtimes.errors import InferenceError, ModelLoadError
from runtimes.onnx import OnnxRuntime, short_text
from runtimes.onnx_devices import CPU, CUDA
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, Layout, TensorKind

ROOT = Path(__file__).resolve().parents[2]


def compile_file(path: Path, **options: object) -> CompiledModel:
    return OnnxRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions(**options))


NCHW, NHWC = (2, 3), (1, 2)

# shape, element type, spatial axes, layout, (width, height), channels, max_batch_size
IMAGES = [
    (("batch", 3, 8, 8), "float32", NCHW, Layout.NCHW, (8, 8), 3, 32),
    (("batch", 3, 6, 8), "uint8", NCHW, Layout.NCHW, (8, 6), 3, 32),
    (("batch", 3, 8, 8), "float16", NCHW, Layout.NCHW, (8, 8), 3, 32),
    (("batch", 1, 8, 8), "float32", NCHW, Layout.NCHW, (8, 8), 1, 32),
    (("batch", 6, 8, 3), "uint8", NHWC, Layout.NHWC, (8, 6), 3, 32),
    ((1, 8, 8, 1), "float32", NHWC, Layout.NHWC, (8, 8), 1, 1),
    ((1, 3, 6, 8), "float16", NCHW, Layout.NCHW, (8, 6), 3, 1),
    ((4, 3, 8, 8), "float32", NCHW, Layout.NCHW, (8, 8), 3, 4),
    (("batch", 3, "height", "width"), "float32", NCHW, Layout.NCHW, (DYNAMIC, DYNAMIC), 3, 32),
    (("batch", "channels", "height", "width"), "float32", NCHW, Layout.NCHW, (DYNAMIC, DYNAMIC), DYNAMIC, 32),
]


@pytest.mark.parametrize(("shape", "dtype", "spatial", "layout", "size", "channels", "max_batch"), IMAGES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_pictures_of_every_kind(
    tmp_path: Path,
    shape: tuple[int | str, ...],
    dtype: str,
    spatial: tuple[int, int],
    layout: Layout,
    size: tuple[int, int],
    channels: int,
    max_batch: int,
    count: int,
) -> None:
    path = tiny_onnx.means(tmp_path / "m.onnx", shape, dtype=dtype, spatial=spatial, out_batch=shape[0])
    model = compile_file(path, lanes=2)
    [spec] = model.inputs
    assert (spec.name, spec.kind, spec.layout, spec.dtype) == ("images", TensorKind.IMAGE, layout, dtype)
    assert (spec.image_size, spec.channels, model.max_batch_size) == (size, channels, max_batch)

    run_shape = [1, *(axis if axis > 0 else 3 for axis in spec.shape[1:])]
    rng = np.random.default_rng(count)
    batch = [{"images": (rng.random(run_shape) * 200).astype(dtype)} for _ in range(count)]
    for item, result in zip(batch, model.open_lane().infer(batch), strict=True):
        expected = item["images"].astype(np.float32).mean(axis=spatial)
        np.testing.assert_allclose(result["means"], expected, rtol=1e-3)


def test_labels_task_stride_and_size_come_from_the_file(tmp_path: Path) -> None:
    pairs = {"names": "{0: 'cat', 1: 'dog'}", "task": "detect", "stride": "32", "imgsz": "[6, 8]", "x": "y"}
    metadata = compile_file(tiny_onnx.means(tmp_path / "m.onnx", metadata=pairs)).metadata
    assert metadata.labels == ("cat", "dog")
    assert (metadata.task, metadata.stride, metadata.image_size) == ("detect", 32, (8, 6))
    assert metadata.properties == pairs


def test_broken_metadata_fails_no_load(tmp_path: Path) -> None:
    pairs = {"names": "{0: ", "stride": "big", "imgsz": "[]"}
    model = compile_file(tiny_onnx.means(tmp_path / "m.onnx", metadata=pairs))
    assert model.metadata.labels == ()
    assert model.max_batch_size == 32


def test_an_open_axis_of_another_name_is_proven_by_the_first_batch(tmp_path: Path) -> None:
    model = compile_file(tiny_onnx.means(tmp_path / "m.onnx", out_batch="other"))
    assert model.max_batch_size == 32
    rng = np.random.default_rng(0)
    batch = [{"images": rng.random((1, 3, 8, 8), np.float32)} for _ in range(3)]
    results = model.open_lane().infer(batch)
    assert [result["means"].shape for result in results] == [(1, 3)] * 3
    assert results[1]["means"].base is not None  # a view of a stacked result


def test_a_batch_size_hidden_in_the_graph_is_found_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [
            # Computed from the picture, so that the library's shape inference does not see it.
            helper.make_node("ReduceMax", ["images"], ["brightest"], keepdims=0),
            helper.make_node("Mul", ["brightest", "zero"], ["nothing"]),
            helper.make_node("Add", ["numbers", "nothing"], ["floats"]),
            helper.make_node("Cast", ["floats"], ["shape"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["images", "shape"], ["flat"]),
        ],
        {"images": ("float32", ("batch", 3, 8, 8))},
        {"flat": ("float32", ("batch", 192))},
        constants={"numbers": np.array([1, 192], np.float32), "zero": np.array(0, np.float32)},
    )
    model = compile_file(path)
    assert model.max_batch_size == 32
    lane = model.open_lane()
    batch = [{"images": np.full((1, 3, 8, 8), value, np.float32)} for value in range(3)]
    assert [float(result["flat"][0, 0]) for result in lane.infer(batch)] == [0, 1, 2]
    assert "one by one" in caplog.text


def test_results_never_share_memory_with_the_lane_s_buffers(tmp_path: Path) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [helper.make_node("Identity", ["images"], ["same"])],
        {"images": ("float32", ("batch", 3, 8, 8))},
        {"same": ("float32", ("batch", 3, 8, 8))},
    )
    lane = compile_file(path).open_lane()
    ones = [{"images": np.ones((1, 3, 8, 8), np.float32)}] * 2
    zeros = [{"images": np.zeros((1, 3, 8, 8), np.float32)}] * 2
    first = lane.infer(ones)
    lane.infer(zeros)
    assert all((result["same"] == 1).all() for result in first)


def test_several_inputs_scalars_and_outputs(tmp_path: Path) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [
            helper.make_node("Mul", ["images", "factor"], ["scaled"]),
            helper.make_node("Add", ["state", "state"], ["next"]),
        ],
        {
            "state": ("float32", (2, 4)),
            "images": ("float32", ("batch", 3, 8, 8)),
            "factor": ("float32", ()),
        },
        {"scaled": ("float32", ("batch", 3, 8, 8)), "next": ("float32", (2, 4))},
    )
    model = compile_file(path)
    assert [spec.kind for spec in model.inputs] == [TensorKind.TENSOR, TensorKind.IMAGE, TensorKind.SCALAR]
    assert model.max_batch_size == 1
    batch = [
        {
            "state": np.full((2, 4), value, np.float32),
            "images": np.ones((1, 3, 8, 8), np.float32),
            "factor": np.array(value, np.float32),
        }
        for value in (3, 5)
    ]
    results = model.open_lane().infer(batch)
    assert [float(result["scaled"].max()) for result in results] == [3, 5]
    assert [float(result["next"].max()) for result in results] == [6, 10]


def test_types_that_are_no_numeric_tensor_are_refused(tmp_path: Path) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [helper.make_node("Identity", ["words"], ["same"])],
        {"words": ("string", ("n",))},
        {"same": ("string", ("n",))},
    )
    with pytest.raises(ModelLoadError, match=r"numeric tensors .* words is tensor\(string\)"):
        compile_file(path)


BROKEN = [
    (b"", "is empty"),
    (b"hello world" * 10, "is not an ONNX model, or is truncated"),
    (b"\x08\x07", "No graph"),
    (b"\x1c\0\0\0TFL3" + bytes(100), "is a TensorFlow Lite model, not an ONNX model"),
    (b'<?xml version="1.0"?><net name="x">', "is an XML file, as OpenVINO models are"),
    (b"\xef\xbb\xbf\n<net>", "is an XML file"),
    (b"PK\x03\x04" + bytes(100), "is a zip archive, as PyTorch models are"),
    (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    (b"<!DOCTYPE html>", "is a web page"),
]


@pytest.mark.parametrize(("content", "text"), BROKEN)
def test_a_file_that_is_no_model_says_what_it_is(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError) as caught:
        compile_file(path)
    assert text in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_model(tmp_path: Path, kept: float) -> None:
    whole = tiny_onnx.means(tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelLoadError, match=r"truncated or damaged|cannot be loaded"):
        compile_file(tmp_path / "m.onnx")


def test_a_missing_model_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no such file"):
        compile_file(tmp_path / "none.onnx")
    with pytest.raises(ModelLoadError, match="is a folder"):
        compile_file(tmp_path)
    with pytest.raises(ModelLoadError, match="cannot read"):
        compile_file(Path("a\0b.onnx"))


def test_a_closed_model_fails_its_lanes(tmp_path: Path) -> None:
    model = compile_file(tiny_onnx.means(tmp_path / "m.onnx"))
    lane = model.open_lane()
    model.close()
    with pytest.raises(InferenceError, match="closed"):
        lane.infer([{"images": np.zeros((1, 3, 8, 8), np.float32)}])


def test_a_failing_run_writes_nothing_to_the_descriptors(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [helper.make_node("Reshape", ["images", "shape"], ["flat"])],
        {"images": ("float32", (1, 3, "h", "w"))},
        {"flat": ("float32", (1, "n"))},
        constants={"shape": np.array([1, 12])},
    )
    lane = compile_file(path).open_lane()
    with pytest.raises(InferenceError, match="Reshape"):
        lane.infer([{"images": np.zeros((1, 3, 5, 5), np.float32)}])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "options", [{"intra_threads": 2, "spinning": True}, {"inter_threads": 2}, {"spinning": False}]
)
def test_threads_can_be_set(tmp_path: Path, options: dict[str, object]) -> None:
    model = compile_file(tiny_onnx.means(tmp_path / "m.onnx"), **options)
    assert model.open_lane().infer([{"images": np.zeros((1, 3, 8, 8), np.float32)}])


def test_a_provider_that_fails_to_start_leaves_the_cpu_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = onnxruntime.InferenceSession

    def without_cuda(*args: object, providers: Sequence[str], **rest: object) -> object:
        if CUDA in providers:
            raise RuntimeError("no CUDA-capable device is\ndetected")
        return real(*args, providers=providers, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_cuda)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    model = compile_file(tiny_onnx.means(tmp_path / "m.onnx"), device="cuda")
    assert (model.device.asked, model.device.effective) == ("cuda", "cpu")
    assert (
        model.device.fallback_reason
        == "CUDAExecutionProvider did not start: no CUDA-capable device is detected"
    )


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Invalid rank for input: input Got: 3 Expected: 4 "
            "Please fix either the inputs/outputs or the model.",
            "Invalid rank for input: input Got: 3 Expected: 4",
        ),
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x for the "
            "following indices\n index: 0 Got: 2 Expected: 1\n Please fix either the inputs/outputs or "
            "the model.",
            "Got invalid dimensions for input: x for the following indices index: 0 Got: 2 Expected: 1",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from /m.onnx failed:No graph was found",
            "No graph was found",
        ),
        ("", "ValueError"),
        ("x" * 1000, "x" * 299 + "…"),
    ],
)
def test_messages_are_shortened(long: str, short: str) -> None:
    assert short_text(ValueError(long)) == short


# file, image size, max_batch_size, labels, task
REAL = [
    ("yolov8n_float32", (640, 640), 1, 80, "detect"),
    ("yolov8n_int8_dynamic", (640, 640), 1, 80, "detect"),
    ("yolov8n-seg_320_int8_dynamic", (320, 320), 1, 80, "segment"),
    ("yolov10n_end2end_int8", (640, 640), 1, 80, "detect"),
    ("yolox_nano", (416, 416), 1, 0, None),
    ("mobilefacenet", (112, 112), 32, 0, None),
    ("plate_rec_color", (168, 48), 32, 0, None),
    ("reid_deepsort_feature", (128, 64), 32, 0, None),
    ("scrfd_2.5g_bnkps", (DYNAMIC, DYNAMIC), 1, 0, None),
    ("rtmdet-nano_person_end2end", (DYNAMIC, DYNAMIC), 32, 0, None),
]


@pytest.mark.parametrize(("name", "size", "max_batch", "labels", "task"), REAL)
def test_real_models(
    shared_data: Path, name: str, size: tuple[int, int], max_batch: int, labels: int, task: str | None
) -> None:
    model = compile_file(shared_data / "models" / "onnx" / f"{name}.onnx")
    image = model.inputs[0]
    assert (image.kind, image.layout, image.image_size) == (TensorKind.IMAGE, Layout.NCHW, size)
    assert (model.max_batch_size, len(model.metadata.labels), model.metadata.task) == (
        max_batch,
        labels,
        task,
    )
    if labels:
        assert model.metadata.labels[0] == "person"
        assert model.metadata.stride == 32
        assert model.metadata.image_size == size


@pytest.mark.parametrize(
    ("name", "side"),
    [("mobilefacenet", 112), ("plate_rec_color", 0), ("rtmdet-nano_person_end2end", 96)],
)
def test_real_models_give_in_batches_what_they_give_alone(shared_data: Path, name: str, side: int) -> None:
    model = compile_file(shared_data / "models" / "onnx" / f"{name}.onnx")
    spec = model.inputs[0]
    shape = [1, *(axis if axis > 0 else side for axis in spec.shape[1:])]
    rng = np.random.default_rng(0)
    batch = [{spec.name: rng.random(shape, np.float32)} for _ in range(3)]
    lane = model.open_lane()
    for item, result in zip(batch, lane.infer(batch), strict=True):
        [alone] = lane.infer([item])
        for output, tensor in alone.items():
            np.testing.assert_allclose(result[output], tensor, rtol=1e-3, atol=1e-4)


def test_a_model_for_sound_has_no_image(shared_data: Path) -> None:
    model = compile_file(shared_data / "models" / "onnx" / "silero_vad.onnx")
    assert [spec.kind for spec in model.inputs] == [TensorKind.TENSOR, TensorKind.TENSOR, TensorKind.SCALAR]
    assert model.max_batch_size == 1
    item = {
        "input": np.zeros((1, 576), np.float32),
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(16000),
    }
    [result] = model.open_lane().infer([item])
    assert result["output"].shape == (1, 1)
    assert result["stateN"].shape == (2, 1, 128)


@pytest.mark.parametrize(
    "file", ["tflite/movenet_singlepose_lightning_int8.tflite", "openvino/yolov8n_int8/yolov8n.xml"]
)
def test_real_models_of_other_runtimes_are_refused(shared_data: Path, file: str) -> None:
    with pytest.raises(ModelLoadError, match="not an ONNX model"):
        compile_file(shared_data / "models" / file)


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="the system does not list a process's threads"
)
def test_the_library_starts_no_thread_that_reports_to_its_maker() -> None:
    """Such a thread is there from the import on, and wakes an idle worker every few seconds."""
    count = "import os; print(len(os.listdir('/proc/self/task')))"
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}

    def threads(module: str) -> int:
        command = [sys.executable, "-c", f"import numpy, {module}; {count}"]
        return int(subprocess.run(command, env=environment, capture_output=True, check=True, cwd=ROOT).stdout)

    assert threads("runtimes.onnx") == threads("runtimes.base")
