"""The PyTorch adapter on small programs written here, and on the default model's own network."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from contract import tiny_torch
from contract.tiny_torch import Convolved, Flat, Flatter, HiddenBatch, InPlace, Nested, Same
from torch import Tensor, nn

from model_files import ModelFiles
from runtimes.base import CompiledModel
from runtimes.errors import InferenceError, ModelLoadError
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, Layout, TensorKind
from runtimes.torch import TorchRuntime

ROOT = Path(__file__).resolve().parents[2]


def compile_file(path: Path, **options: object) -> CompiledModel:
    return TorchRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions(**options))


def pictures(count: int, side: int = 8, channels: int = 3, dtype: str = "float32"):
    rng = np.random.default_rng(count)
    return [rng.random((1, channels, side, side)).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize("write", [tiny_torch.traced, tiny_torch.scripted, tiny_torch.exported])
@pytest.mark.parametrize("count", [1, 3])
def test_a_program_answers_as_the_module_does(tmp_path: Path, write: Callable[..., Path], count: int) -> None:
    module = Convolved().eval()
    examples = [] if write is tiny_torch.scripted else [torch.zeros(1, 3, 8, 8)]
    model = compile_file(write(tmp_path / "m.pt2", module, *examples))
    [spec], [output] = model.inputs, model.outputs
    assert (spec.name, spec.kind, spec.layout, spec.dtype) == (
        "images",
        TensorKind.IMAGE,
        Layout.NCHW,
        "float32",
    )
    assert (output.shape[-1], output.dtype) == (4, "float32")
    batch = pictures(count)
    results = model.open_lane().infer([{"images": picture} for picture in batch])
    with torch.inference_mode():
        expected = module(torch.from_numpy(np.concatenate(batch))).numpy()
    got = np.concatenate([result[output.name] for result in results])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_traced_file_tells_its_size_by_its_example(tmp_path: Path) -> None:
    model = compile_file(tiny_torch.traced(tmp_path / "m.pt", Convolved(1), torch.zeros(2, 1, 6, 8)))
    assert model.inputs[0].shape == (DYNAMIC, 1, 6, 8)
    assert model.inputs[0].image_size == (8, 6)
    assert model.max_batch_size == 32


def test_a_scripted_file_is_tried_with_blank_pictures(tmp_path: Path) -> None:
    opened = compile_file(tiny_torch.scripted(tmp_path / "open.pt", Convolved()))
    assert opened.inputs[0].shape == (DYNAMIC, 3, DYNAMIC, DYNAMIC)
    gray = compile_file(tiny_torch.scripted(tmp_path / "gray.pt", Convolved(1)))
    assert gray.inputs[0].shape == (DYNAMIC, 1, DYNAMIC, DYNAMIC)
    fixed = compile_file(tiny_torch.scripted(tmp_path / "fixed.pt", Flat()))
    assert fixed.inputs[0].shape == (DYNAMIC, 1, 28, 28)
    assert fixed.inputs[0].name == "digits"
    with pytest.raises(ModelLoadError, match="no picture runs through the model"):
        compile_file(tiny_torch.scripted(tmp_path / "none.pt", Flat(37)))


CONFIG = {
    "names": {"0": "cat", "1": "dog"},
    "task": "detect",
    "stride": 32,
    "imgsz": [6, 8],
    "batch": 1,
    "args": {"dynamic": False},
}


def test_the_config_of_an_exporter_tells_labels_task_stride_and_size(tmp_path: Path) -> None:
    model = compile_file(tiny_torch.scripted(tmp_path / "m.pt", Convolved(), CONFIG))
    assert model.inputs[0].shape == (DYNAMIC, 3, 6, 8)
    assert model.metadata.labels == ("cat", "dog")
    assert (model.metadata.task, model.metadata.stride, model.metadata.image_size) == ("detect", 32, (8, 6))
    opened = {**CONFIG, "imgsz": 64, "args": {"dynamic": True}}
    model = compile_file(
        tiny_torch.traced(tmp_path / "m.pt", Convolved(), torch.zeros(1, 3, 64, 64), config=opened)
    )
    assert model.inputs[0].shape == (DYNAMIC, 3, DYNAMIC, DYNAMIC)
    extra = {"config.txt": json.dumps(CONFIG)}
    path = tiny_torch.exported(tmp_path / "m.pt2", Convolved(), torch.zeros(1, 3, 6, 8), extra=extra)
    assert compile_file(path).metadata.labels == ("cat", "dog")


def test_open_axes_and_limits_of_an_exported_program(tmp_path: Path) -> None:
    rows, side = torch.export.Dim("rows", max=5), torch.export.Dim("side", min=4, max=64)
    shapes = ({0: rows, 2: side, 3: side},)
    path = tiny_torch.exported(
        tmp_path / "m.pt2", Convolved(), torch.zeros(2, 3, 8, 8), dynamic_shapes=shapes
    )
    model = compile_file(path)
    assert model.inputs[0].shape == (DYNAMIC, 3, DYNAMIC, DYNAMIC)
    assert model.outputs[0].shape == (DYNAMIC, 4)
    assert model.max_batch_size == 5
    lane = model.open_lane()
    batch = [{"images": picture} for picture in pictures(12, side=16)]
    for item, result in zip(batch, lane.infer(batch), strict=True):
        np.testing.assert_allclose(result["output"], lane.infer([item])[0]["output"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("write", [tiny_torch.traced, tiny_torch.exported])
def test_nested_results_become_named_outputs(tmp_path: Path, write: Callable[..., Path]) -> None:
    named = {"strict": False} if write is tiny_torch.exported else {}
    if write is tiny_torch.traced:
        named = {}
        path = tmp_path / "m.pt"
        tiny_torch.quietly(
            lambda: torch.jit.save(torch.jit.trace(Flatter(), torch.zeros(1, 3, 8, 8)), str(path))
        )
        names = ["output0", "output1.0", "output1.1"]
    else:
        path = write(tmp_path / "m.pt2", Nested(), torch.zeros(1, 3, 8, 8), **named)
        names = ["output0.boxes", "output0.more.0", "output0.more.1.0", "output1"]
    model = compile_file(path)
    assert [spec.name for spec in model.outputs] == names
    [result] = model.open_lane().infer([{model.inputs[0].name: pictures(1)[0]}])
    assert list(result) == names


def test_several_inputs_by_keyword(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def forward(self, images: Tensor, *, scale: Tensor) -> Tensor:
            return images * scale

    program = torch.export.export(Scaled(), (torch.zeros(1, 3, 8, 8),), {"scale": torch.ones(1, 1)})
    torch.export.save(program, tmp_path / "m.pt2")
    model = compile_file(tmp_path / "m.pt2")
    assert [(spec.name, spec.kind) for spec in model.inputs] == [
        ("images", TensorKind.IMAGE),
        ("scale", TensorKind.TENSOR),
    ]
    item = {"images": pictures(1)[0], "scale": np.full((1, 1), 3, np.float32)}
    [result] = model.open_lane().infer([item])
    np.testing.assert_allclose(result["output"], item["images"] * 3)


def test_inputs_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    class Listed(nn.Module):
        def forward(self, images: list[Tensor]) -> Tensor:
            return images[0]

    with pytest.raises(ModelLoadError, match=r"only tensors are supported.*images is List\[Tensor\]"):
        compile_file(tiny_torch.scripted(tmp_path / "m.pt", Listed()))


def test_a_program_that_writes_into_its_input_gets_a_copy(tmp_path: Path) -> None:
    for path in (
        tiny_torch.traced(tmp_path / "m.pt", InPlace(), torch.zeros(1, 3, 8, 8)),
        tiny_torch.exported(tmp_path / "m.pt2", InPlace(), torch.zeros(1, 3, 8, 8)),
    ):
        lane = compile_file(path).open_lane()
        picture = pictures(1)[0]
        before = picture.copy()
        [result] = lane.infer([{"images": picture}])
        np.testing.assert_array_equal(picture, before)
        np.testing.assert_allclose(result["output"], before.reshape(1, -1) / 2)


def test_results_are_the_callers_own(tmp_path: Path) -> None:
    lane = compile_file(tiny_torch.traced(tmp_path / "m.pt", Same(), torch.zeros(1, 3, 8, 8))).open_lane()
    picture = pictures(1)[0]
    [result] = lane.infer([{"images": picture}])
    kept = result["output0"].copy()
    picture[:] = 0
    result["output1"][:] = 7
    np.testing.assert_array_equal(result["output0"], kept)
    assert (lane.infer([{"images": picture}])[0]["output1"] == 1).all()
    assert result["output0"].flags.c_contiguous


def test_a_batch_size_hidden_in_the_program_is_found_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lane = compile_file(
        tiny_torch.traced(tmp_path / "m.pt", HiddenBatch(), torch.zeros(1, 3, 8, 8))
    ).open_lane()
    batch = [{"images": np.full((1, 3, 8, 8), value, np.float32)} for value in range(3)]
    assert [float(result["output"][0, 0]) for result in lane.infer(batch)] == [0, 1, 2]
    assert "one by one" in caplog.text


@pytest.mark.parametrize("name", ["m.pt", "m.pt2"])
def test_half_precision(tmp_path: Path, name: str) -> None:
    write = tiny_torch.traced if name == "m.pt" else tiny_torch.exported
    path = write(tmp_path / name, Convolved(), torch.zeros(1, 3, 8, 8))
    model = compile_file(path, half=True)
    assert (model.inputs[0].dtype, model.outputs[0].dtype) == ("float16", "float16")
    assert model.device.fallback_reason is None
    picture = pictures(1)[0]
    [half] = model.open_lane().infer([{"images": picture.astype(np.float16)}])
    [full] = compile_file(path).open_lane().infer([{"images": picture}])
    np.testing.assert_allclose(half["output"], full["output"], rtol=0.02, atol=0.02)


def test_a_program_that_does_not_run_in_16_bits_runs_in_32_and_says_so(tmp_path: Path) -> None:
    class Fixed32(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.mm(images.flatten(1), torch.ones(192, 2))  # a constant, no weight

    path = tiny_torch.traced(tmp_path / "m.pt", Fixed32(), torch.zeros(1, 3, 8, 8))
    model = compile_file(path, half=True)
    assert model.inputs[0].dtype == "float32"
    assert "16-bit floats on cpu failed" in str(model.device.fallback_reason)
    assert model.device.effective == "cpu"


def test_lanes_have_threads_of_their_own(tmp_path: Path) -> None:
    path = tiny_torch.means(tmp_path / "m.pt")
    models = [compile_file(path, intra_threads=threads) for threads in (1, 3, 2)]
    opened = threading.Barrier(len(models), timeout=30)
    seen: list[int] = [0] * len(models)

    def lane(index: int) -> None:
        opening = models[index].open_lane()
        opened.wait()
        opening.infer([{"images": np.zeros((1, 3, 8, 8), np.float32)}])
        seen[index] = torch.get_num_threads()

    threads = [threading.Thread(target=lane, args=(index,)) for index in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1, 3, 2]


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["m.pt", "m.pt2"])
def test_a_truncated_program(tmp_path: Path, kept: float, name: str) -> None:
    write = tiny_torch.means if name == "m.pt" else tiny_torch.single
    whole = write(tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelLoadError, match=r"truncated or damaged|cannot be loaded"):
        compile_file(tmp_path / name)


def test_a_closed_model_fails_its_lanes(tmp_path: Path) -> None:
    model = compile_file(tiny_torch.means(tmp_path / "m.pt"))
    lane = model.open_lane()
    model.close()
    with pytest.raises(InferenceError, match="closed"):
        lane.infer([{"images": np.zeros((1, 3, 8, 8), np.float32)}])


def test_loading_and_failing_write_nothing_to_the_descriptors(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lane = compile_file(tiny_torch.scripted(tmp_path / "m.pt", Flat())).open_lane()
    with pytest.raises(InferenceError, match="digits is float32"):
        lane.infer([{"digits": np.zeros((1, 1, 5, 5), np.float32)}])
    assert capfd.readouterr() == ("", "")


def test_loading_two_hundred_times_leaves_nothing(tmp_path: Path) -> None:
    class Heavy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(192, 2_000)

        def forward(self, images: Tensor) -> Tensor:
            return self.dense(images.flatten(1))

    path = tiny_torch.traced(tmp_path / "m.pt", Heavy(), torch.zeros(1, 3, 8, 8))
    grown = []
    for _ in range(200):
        model = compile_file(path)
        model.open_lane().infer([{"images": picture} for picture in pictures(2)])
        model.close()
        grown.append(resident_bytes())
    assert grown[-1] - grown[50] < 10 << 20  # 150 copies of the weights are 230 MB


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
