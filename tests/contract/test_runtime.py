"""What every runtime promises, whatever the library behind it."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from contract.samples import SAMPLES

from model_files import ModelFiles, ModelRef, resolve
from runtimes import RUNTIMES, get_runtime
from runtimes.base import CompiledModel
from runtimes.errors import InferenceError, ModelLoadError, RuntimeUnavailableError
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, TensorKind, TensorMap


def files(reference: str) -> ModelFiles:
    return resolve(ModelRef(reference))


def items(model: CompiledModel, count: int, seed: int = 0) -> list[TensorMap]:
    spec = model.inputs[0]
    rng = np.random.default_rng(seed)
    return [{spec.name: rng.random((1, *spec.shape[1:])).astype(spec.dtype)} for _ in range(count)]


def assert_same(left: TensorMap, right: TensorMap) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        np.testing.assert_allclose(tensor, right[name], rtol=1e-5, atol=1e-6)


@pytest.fixture(params=sorted(RUNTIMES))
def name(request: pytest.FixtureRequest) -> str:
    try:
        get_runtime(request.param)
    except RuntimeUnavailableError as exc:
        pytest.skip(str(exc))
    return request.param


@pytest.fixture(params=["batched", "single"])
def model(request: pytest.FixtureRequest, name: str, tmp_path: Path):
    reference = getattr(SAMPLES[name], request.param)(tmp_path)
    model = get_runtime(name).compile(files(reference), RuntimeOptions())
    yield model
    model.close()


def test_every_runtime_has_a_sample() -> None:
    assert SAMPLES.keys() == RUNTIMES.keys()


def test_a_compiled_model_describes_itself(model: CompiledModel) -> None:
    assert [spec.kind for spec in model.inputs] == [TensorKind.IMAGE]
    assert model.inputs[0].image_size == (8, 8)
    assert model.inputs[0].channels == 3
    assert model.outputs
    for spec in (*model.inputs, *model.outputs):
        assert np.dtype(spec.dtype).name == spec.dtype
        assert all(axis == DYNAMIC or axis > 0 for axis in spec.shape)
    assert model.device.asked
    assert model.device.effective
    assert model.device.fallback_reason is None
    assert (model.max_batch_size > 1) == (model.inputs[0].shape[0] == DYNAMIC)


def test_one_item_gives_what_the_outputs_promise(model: CompiledModel) -> None:
    [result] = model.open_lane().infer(items(model, 1))
    assert list(result) == [spec.name for spec in model.outputs]
    for spec in model.outputs:
        tensor = result[spec.name]
        assert tensor.dtype == spec.dtype
        assert tensor.shape[0] == 1
        assert len(tensor.shape) == len(spec.shape)
        assert all(
            declared in {DYNAMIC, size} for declared, size in zip(spec.shape, tensor.shape, strict=True)
        )


@pytest.mark.parametrize("count", [0, 1, 2, 3, 33, 70])
def test_a_batch_gives_what_its_items_give_alone_and_in_order(model: CompiledModel, count: int) -> None:
    lane = model.open_lane()
    batch = items(model, count)
    results = lane.infer(batch)
    assert len(results) == count
    for item, result in zip(batch, results, strict=True):
        assert_same(lane.infer([item])[0], result)


def test_results_outlive_the_next_calls(model: CompiledModel) -> None:
    lane = model.open_lane()
    results = lane.infer(items(model, 3))
    copies = [{name: tensor.copy() for name, tensor in result.items()} for result in results]
    for seed in range(1, 4):
        lane.infer(items(model, 3, seed))
    for result, copy in zip(results, copies, strict=True):
        assert_same(result, copy)


def test_items_are_not_written_into(model: CompiledModel) -> None:
    batch = items(model, 3)
    for item in batch:
        for tensor in item.values():
            tensor.flags.writeable = False
    assert len(model.open_lane().infer(batch)) == 3


def test_lanes_run_at_the_same_time(model: CompiledModel) -> None:
    batches = [items(model, 1 + seed % 4, seed) for seed in range(40)]
    expected = [model.open_lane().infer(batch) for batch in batches]

    def run(_lane: int) -> list[list[TensorMap]]:
        lane = model.open_lane()
        return [lane.infer(batch) for batch in batches]

    with ThreadPoolExecutor(2) as pool:
        for answers in pool.map(run, range(2)):
            for answer, wanted in zip(answers, expected, strict=True):
                for left, right in zip(answer, wanted, strict=True):
                    assert_same(left, right)


def wrong_shape(item: TensorMap) -> TensorMap:
    return {name: tensor[:, :, :4] for name, tensor in item.items()}


def wrong_type(item: TensorMap) -> TensorMap:
    return {name: tensor.astype(np.int16) for name, tensor in item.items()}


def wrong_name(item: TensorMap) -> TensorMap:
    return {f"not_{name}": tensor for name, tensor in item.items()}


def wrong_rank(item: TensorMap) -> TensorMap:
    return {name: tensor[0] for name, tensor in item.items()}


def no_input(_item: TensorMap) -> TensorMap:
    return {}


@pytest.mark.parametrize("spoil", [wrong_shape, wrong_type, wrong_name, wrong_rank, no_input])
@pytest.mark.parametrize("count", [1, 3])
def test_a_bad_item_is_an_inference_error_and_the_lane_lives_on(
    model: CompiledModel, spoil: Callable[[TensorMap], TensorMap], count: int
) -> None:
    lane = model.open_lane()
    good = items(model, count)
    before = lane.infer(good)
    for batch in ([spoil(item) for item in good], [*good[:-1], spoil(good[-1])]):
        with pytest.raises(InferenceError) as caught:
            lane.infer(batch)
        assert "\n" not in str(caught.value)
    for left, right in zip(lane.infer(good), before, strict=True):
        assert_same(left, right)
    assert model.max_batch_size == 1 or count == 1 or len(lane.infer(good)) == count


def test_what_cannot_be_loaded_is_a_model_load_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        get_runtime(name).compile(files(SAMPLES[name].broken(tmp_path)), RuntimeOptions())
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_closing_twice_is_harmless(model: CompiledModel) -> None:
    model.close()
    model.close()


@pytest.mark.parametrize("device", ["nonsense", "CUDA", "Cpu"])
def test_a_device_that_is_not_in_effect_is_reported_with_a_reason(
    name: str, device: str, tmp_path: Path
) -> None:
    reference = SAMPLES[name].single(tmp_path)
    report = get_runtime(name).compile(files(reference), RuntimeOptions(device=device)).device
    assert report.asked == device
    assert (report.effective == device.lower()) == (report.fallback_reason is None)


def test_importing_the_room_imports_no_library() -> None:
    # A process of its own: other tests have imported it here.
    libraries = {"onnxruntime", "openvino", "ai_edge_litert", "torch", "coremltools"}
    program = f"import runtimes, sys; print(bool({libraries} & sys.modules.keys()))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
