"""Lanes, devices and memory of the OpenVINO adapter, on tiny models written here."""

import gc
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from contract import tiny_onnx
from onnx import helper

from model_files import ModelFiles
from runtimes.base import CompiledModel
from runtimes.errors import InferenceError
from runtimes.openvino import OpenVinoRuntime
from runtimes.openvino_library import openvino, read_model, short_text
from runtimes.options import RuntimeOptions

ROOT = Path(__file__).resolve().parents[2]


def compile_file(path: Path, **options: object) -> CompiledModel:
    return OpenVinoRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions(**options))


def save_ir(model: object, path: Path) -> Path:
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def ir_of(path: Path) -> Path:
    return save_ir(read_model(path), path.with_suffix(".xml"))


def pictures(count: int, shape: tuple[int, ...] = (1, 3, 8, 8)) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(count)
    return [{"images": rng.random(shape, np.float32)} for _ in range(count)]


NCHW = (2, 3)


def test_weights_that_are_overwritten_in_place_do_not_touch_the_model_that_serves(tmp_path: Path) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        {"x": ("float32", (1, 512))},
        {"y": ("float32", (1, 512))},
        constants={"weights": np.random.default_rng(0).random((512, 512), np.float32)},
    )
    path = ir_of(path)
    model = compile_file(path)
    item = {"x": np.ones((1, 512), np.float32)}
    [before] = model.open_lane().infer([item])
    with path.with_suffix(".bin").open("r+b") as file:
        file.truncate(0)
    [after] = model.open_lane().infer([item])
    np.testing.assert_array_equal(before["y"], after["y"])


def test_a_closed_model_fails_its_lanes(tmp_path: Path) -> None:
    model = compile_file(tiny_onnx.means(tmp_path / "m.onnx"))
    lane = model.open_lane()
    model.close()
    with pytest.raises(InferenceError, match="closed"):
        lane.infer(pictures(1))
    with pytest.raises(InferenceError, match="closed"):
        model.open_lane()


@pytest.mark.parametrize("options", [{}, {"lanes": 4}, {"streams": 3}, {"lanes": 2, "streams": 4}])
def test_four_lanes_at_once_give_what_one_gives(tmp_path: Path, options: dict[str, object]) -> None:
    path = tiny_onnx.means(tmp_path / "m.onnx", (1, 3, 64, 64), out_batch=1)
    model = compile_file(path, **options)
    batches = [pictures(1 + seed % 5, (1, 3, 64, 64)) for seed in range(30)]

    def run(_lane: int) -> list[np.ndarray]:
        lane = model.open_lane()
        return [result["means"] for batch in batches for result in lane.infer(batch)]

    expected = [item["images"].mean(axis=NCHW) for batch in batches for item in batch]
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(run, range(4)):
            np.testing.assert_allclose(np.concatenate(results), np.concatenate(expected), rtol=1e-4)


def failing_at_five(path: Path) -> Path:
    """Write a model that fails for pictures other than 2 by 2."""
    return tiny_onnx.save(
        path,
        [helper.make_node("Reshape", ["images", "shape"], ["flat"])],
        {"images": ("float32", (1, 3, "h", "w"))},
        {"flat": ("float32", (1, "n"))},
        constants={"shape": np.array([1, 12])},
    )


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("bad", [0, 2, 6])
def test_a_failing_item_leaves_the_lane_as_it_was(
    tmp_path: Path, streams: int, bad: int, capfd: pytest.CaptureFixture[str]
) -> None:
    lane = compile_file(failing_at_five(tmp_path / "m.onnx"), streams=streams).open_lane()
    good = [{"images": np.full((1, 3, 2, 2), value, np.float32)} for value in range(7)]
    spoiled = [*good[:bad], {"images": np.zeros((1, 3, 5, 5), np.float32)}, *good[bad + 1 :]]
    for _ in range(3):
        with pytest.raises(InferenceError, match=r"[Rr]eshape"):
            lane.infer(spoiled)
        assert [float(result["flat"][0, 0]) for result in lane.infer(good)] == list(range(7))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("streams", [1, 2])
def test_results_are_the_caller_s_alone_and_items_are_let_go_of(tmp_path: Path, streams: int) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [helper.make_node("Identity", ["images"], ["same"])],
        {"images": ("float32", (1, 3, 8, 8))},
        {"same": ("float32", (1, 3, 8, 8))},
    )
    lane = compile_file(path, streams=streams).open_lane()
    batch = [{"images": np.full((1, 3, 8, 8), value, np.float32)} for value in range(4)]
    results = lane.infer(batch)
    held = [weakref.ref(item["images"]) for item in batch]
    for item in batch:
        item["images"][...] = -1
    del batch, item
    gc.collect()
    assert [reference() for reference in held] == [None] * 4
    lane.infer([{"images": np.zeros((1, 3, 8, 8), np.float32)}] * 4)
    assert [float(result["same"].min()) for result in results] == [0, 1, 2, 3]


def test_arrays_that_the_library_would_not_take_are_copied(tmp_path: Path) -> None:
    lane = compile_file(tiny_onnx.means(tmp_path / "m.onnx")).open_lane()
    wide = np.random.default_rng(0).random((1, 3, 8, 16), np.float32)
    frozen = np.ascontiguousarray(wide[..., ::2])
    frozen.flags.writeable = False
    shifted = np.zeros(frozen.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(frozen.shape)
    shifted[...] = frozen
    for array in (wide[..., ::2], frozen, shifted):
        [result] = lane.infer([{"images": array}])
        np.testing.assert_allclose(result["means"], frozen.mean(axis=NCHW), rtol=1e-5)


@pytest.mark.parametrize(
    "device", ["AUTO", "auto:cpu", "CPU", "MULTI:CPU", "HETERO:CPU", "AUTO:-NPU", "auto:-gpu,-npu"]
)
@pytest.mark.parametrize("options", [{}, {"lanes": 2}, {"hint": "throughput", "intra_threads": 1}])
def test_devices_that_stand_for_others(tmp_path: Path, device: str, options: dict[str, object]) -> None:
    model = compile_file(tiny_onnx.means(tmp_path / "m.onnx"), device=device, **options)
    assert (model.device.asked, model.device.fallback_reason) == (device, None)
    assert "cpu" in model.device.effective.split(",")
    [item] = pictures(1)
    [result] = model.open_lane().infer([item])
    np.testing.assert_allclose(result["means"], item["images"].mean(axis=NCHW), rtol=1e-5)


@pytest.mark.parametrize("device", ["TPU", "CPU.7", "MULTI:TPU,CPU", "HETERO"])
def test_a_device_that_cannot_be_had_is_reported(tmp_path: Path, device: str) -> None:
    model = compile_file(tiny_onnx.means(tmp_path / "m.onnx"), device=device)
    assert model.device.asked == device
    assert "cpu" in model.device.effective
    assert model.device.fallback_reason
    assert model.open_lane().infer(pictures(1))


def test_a_device_that_does_not_start_leaves_the_cpu_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = openvino.Core.compile_model

    def without_auto(core: object, model: object, device: str, config: object) -> object:
        if device == "AUTO":
            raise RuntimeError("Exception from src/plugin.cpp:54:\nno driver")
        return real(core, model, device, config)

    monkeypatch.setattr(openvino.Core, "compile_model", without_auto)
    report = compile_file(tiny_onnx.means(tmp_path / "m.onnx")).device
    assert (report.asked, report.effective) == ("AUTO", "cpu")
    assert report.fallback_reason == "AUTO did not start: no driver"


def test_floats_keep_their_precision_unless_half_is_asked_for(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).random((256, 256), np.float32)
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        {"x": ("float32", (8, 256))},
        {"y": ("float32", (8, 256))},
        constants={"weights": weights},
    )
    x = np.random.default_rng(1).random((8, 256), np.float32)
    for device in ("CPU", "AUTO", "MULTI:CPU", "HETERO:CPU"):
        [result] = compile_file(path, device=device).open_lane().infer([{"x": x}])
        np.testing.assert_allclose(result["y"], x @ weights, rtol=1e-5)
    [result] = compile_file(path, half=True).open_lane().infer([{"x": x}])
    np.testing.assert_allclose(result["y"], x @ weights, rtol=0.02)


def test_what_was_compiled_is_kept_and_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    path = tiny_onnx.means(tmp_path / "m.onnx")
    folder = tmp_path / "cache"
    for damage in (None, b"", b"nonsense" * 100):
        model = compile_file(path, cache_dir=str(folder))
        assert len(model.open_lane().infer(pictures(3))) == 3
        blobs = list(folder.glob("*.blob"))
        assert blobs
        for blob in blobs:
            if damage is not None:
                blob.chmod(0o600)
                blob.write_bytes(damage)
    assert compile_file(path, cache_dir=str(folder)).open_lane().infer(pictures(1))
    assert [file.name for file in tmp_path.iterdir() if file.is_dir()] == ["cache"]


def test_the_library_reports_nothing_about_its_user(tmp_path: Path) -> None:
    # A process of its own: other tests have imported the library here.
    program = (
        "import sys, runtimes.openvino; print('openvino_telemetry' in sys.modules);"
        "import openvino_telemetry; print(openvino_telemetry.__name__)"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    for variable in ("CI", "TF_BUILD", "JENKINS_URL"):
        environment.pop(variable, None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "openvino_telemetry"]
    assert done.stderr == ""
    assert not (tmp_path / "intel").exists()


def test_the_library_and_its_adapter_keep_their_names_apart() -> None:
    from runtimes import openvino as adapter

    assert adapter.__name__ == "runtimes.openvino"
    assert openvino.__name__ == "openvino"
    assert hasattr(openvino, "Core")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_loading_and_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        {"x": ("float32", (1, 1024))},
        {"y": ("float32", (1, 1024))},
        constants={"weights": np.ones((1024, 1024), np.float32)},
    )
    path = ir_of(path)

    def cycle(times: int) -> None:
        for _ in range(times):
            model = compile_file(path)
            model.open_lane().infer([{"x": np.ones((1, 1024), np.float32)}])
            model.close()

    cycle(20)
    before = resident_bytes()
    cycle(60)
    assert resident_bytes() - before < 24 << 20  # of 240 MB of weights


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (
            "Exception from src/inference/src/cpp/core.cpp:84:\nCheck 'res.status == pugi::status_ok' failed "
            "at src/frontends/ir/src/input_model.cpp:219:\nError parsing element attribute at offset 14\n",
            "Error parsing element attribute at offset 14",
        ),
        (
            "Exception from src/inference/src/cpp/infer_request.cpp:224:\nException from "
            "src/plugins/intel_cpu/src/node.cpp:794:\n[CPU] Reshape node with name '/r' Check 'a == b' "
            "failed at src/plugins/intel_cpu/src/shape_inference/custom/reshape.cpp:77:\n"
            "[cpu]reshape: too short\n",
            "[CPU] Reshape node with name '/r' [cpu]reshape: too short",
        ),
        ("", "ValueError"),
        ("x" * 1000, "x" * 299 + "…"),
    ],
)
def test_messages_are_shortened(long: str, short: str) -> None:
    assert short_text(ValueError(long)) == short
