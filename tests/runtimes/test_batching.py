"""Stacking, padding, splitting, looping, and finding out that a file has lied about its batch axis."""

from collections.abc import Callable

import numpy as np
import pytest

from runtimes.batching import (
    DYNAMIC_BATCH_CAP,
    BatchPlan,
    BatchProof,
    BatchRunner,
    NativeCall,
    compiled_sizes,
    plan_batches,
)
from runtimes.errors import InferenceError
from runtimes.inputs import Axis, DeclaredTensor
from runtimes.spec import TensorMap

OPEN = BatchPlan(DYNAMIC_BATCH_CAP)
DOUBTFUL = BatchPlan(DYNAMIC_BATCH_CAP, certain=False)
ALONE = BatchPlan(1)

# first axes of the inputs, first axes of the outputs, takes images, plan
PLANS = [
    (["n"], ["n"], True, OPEN),
    (["n"], ["n", "n"], True, OPEN),
    (["n", "n"], ["n"], False, OPEN),
    (["n"], ["m"], True, DOUBTFUL),
    ([None], [None], True, DOUBTFUL),
    (["n"], ["n", "m"], True, DOUBTFUL),
    ([1], [1], True, ALONE),
    (["n"], [1], True, ALONE),
    (["n"], [()], True, ALONE),
    ([1], ["n"], True, ALONE),
    (["n", 2], ["n"], False, ALONE),
    (["n", ()], ["n"], False, ALONE),
    ([4], [4], True, BatchPlan(4, fixed=True)),
    ([4], [4, "n"], True, BatchPlan(4, fixed=True)),
    ([4], [4, 1], True, ALONE),
    ([4], [4], False, ALONE),
    ([4, 1], [4], True, ALONE),
    ([], [1], False, ALONE),
]


@pytest.mark.parametrize(("into", "out", "images", "plan"), PLANS)
def test_plan(into: list[Axis], out: list[Axis], images: bool, plan: BatchPlan) -> None:
    assert plan_batches(declare(into), declare(out), takes_images=images) == plan


def declare(first_axes: list[Axis]) -> list[DeclaredTensor]:
    shapes = [() if axis == () else (axis, 3) for axis in first_axes]
    return [DeclaredTensor(f"t{index}", shape, "float32") for index, shape in enumerate(shapes)]


class Native:
    """A library's call that counts the rows it got."""

    def __init__(self, answer: Callable[[TensorMap], TensorMap]) -> None:
        self.answer = answer
        self.rows: list[int] = []

    def __call__(self, tensors: TensorMap) -> TensorMap:
        self.rows.append(len(tensors["x"]))
        return self.answer(tensors)


def double(tensors: TensorMap) -> TensorMap:
    return {"y": tensors["x"] * 2}


def item(value: float, width: int = 3) -> TensorMap:
    return {"x": np.full((1, width), value, np.float32)}


def runner(plan: BatchPlan, native: NativeCall) -> BatchRunner:
    return BatchRunner(plan, BatchProof(plan), native)


def values(results: list[TensorMap]) -> list[float]:
    assert all(result["y"].shape[0] == 1 for result in results)
    return [float(result["y"].flat[0]) for result in results]


# plan, items, rows of each native call
CALLS = [
    (OPEN, 1, [1]),
    (OPEN, 5, [5]),
    (OPEN, DYNAMIC_BATCH_CAP + 2, [DYNAMIC_BATCH_CAP, 2]),
    (OPEN, DYNAMIC_BATCH_CAP + 1, [DYNAMIC_BATCH_CAP, 1]),
    (DOUBTFUL, 5, [5, 1, 1]),
    (ALONE, 3, [1, 1, 1]),
    (BatchPlan(4, fixed=True), 1, [4]),
    (BatchPlan(4, fixed=True), 6, [4, 4]),
    (OPEN, 0, []),
    (BatchPlan(4, fixed=True), 0, []),
    (compiled_sizes(OPEN), 1, [1]),
    (compiled_sizes(OPEN), 3, [4]),
    (compiled_sizes(OPEN), 8, [8]),
    (compiled_sizes(OPEN), DYNAMIC_BATCH_CAP + 5, [DYNAMIC_BATCH_CAP, 8]),
    (compiled_sizes(BatchPlan(6)), 5, [6]),
    (compiled_sizes(DOUBTFUL), 3, [4, 1, 1]),
    (compiled_sizes(BatchPlan(4, fixed=True)), 3, [4]),
    (compiled_sizes(ALONE), 2, [1, 1]),
]


@pytest.mark.parametrize(("plan", "count", "rows"), CALLS)
def test_native_calls(plan: BatchPlan, count: int, rows: list[int]) -> None:
    native = Native(double)
    results = runner(plan, native).infer([item(value) for value in range(count)])
    assert values(results) == [2.0 * value for value in range(count)]
    assert native.rows == rows


def test_one_item_reaches_the_library_uncopied() -> None:
    seen = []
    one = item(1)
    runner(OPEN, Native(lambda tensors: seen.append(tensors["x"]) or double(tensors))).infer([one])
    assert seen[0] is one["x"]


def test_the_buffer_is_reused_and_follows_shape_and_type() -> None:
    seen: list[np.ndarray] = []
    lane = runner(OPEN, Native(lambda tensors: seen.append(tensors["x"]) or double(tensors)))
    for count, width in ((4, 3), (2, 3), (4, 3), (2, 5)):
        assert values(lane.infer([item(value, width) for value in range(count)])) == [
            2.0 * value for value in range(count)
        ]
    assert np.shares_memory(seen[0], seen[1])
    assert np.shares_memory(seen[0], seen[2])
    assert seen[3].shape == (2, 5)
    doubles = [{"x": np.full((1, 5), 1e300)}] * 2
    assert values(lane.infer(doubles)) == [2e300, 2e300]


def test_items_of_different_shapes_run_alone_and_prove_nothing() -> None:
    native = Native(double)
    lane = runner(OPEN, native)
    assert values(lane.infer([item(1, 3), item(2, 4)])) == [2.0, 4.0]
    lane.infer([item(1), item(2)])
    assert native.rows == [1, 1, 2]


def test_a_proof_is_made_once() -> None:
    native = Native(double)
    lane = runner(DOUBTFUL, native)
    for _ in range(3):
        lane.infer([item(1), item(2)])
    assert native.rows == [2, 1, 1, 2, 2]


def only_one_row(tensors: TensorMap) -> TensorMap:
    if len(tensors["x"]) != 1:
        raise InferenceError("Reshape cannot")
    return double(tensors)


def flattened(tensors: TensorMap) -> TensorMap:
    return {"y": tensors["x"].reshape(1, -1) * 2}


def without_axis(tensors: TensorMap) -> TensorMap:
    doubled = tensors["x"] * 2
    return {"y": doubled if len(doubled) == 1 else doubled.sum()}


def detections(tensors: TensorMap) -> TensorMap:
    """One row for each non-zero: value, and which picture it is in."""
    picture, _ = np.nonzero(tensors["x"][:, :1])
    return {"y": np.stack([tensors["x"][picture, 0] * 2, picture], axis=1)}


def mixed_up(tensors: TensorMap) -> TensorMap:
    return {"y": tensors["x"][::-1] * 2}


@pytest.mark.parametrize(
    ("plan", "answer"),
    [
        (OPEN, only_one_row),
        (DOUBTFUL, only_one_row),
        (OPEN, flattened),
        (OPEN, without_axis),
        (DOUBTFUL, detections),
        (DOUBTFUL, mixed_up),
    ],
)
def test_a_model_that_cannot_run_batches_is_looped_over(
    plan: BatchPlan, answer: Callable[[TensorMap], TensorMap], caplog: pytest.LogCaptureFixture
) -> None:
    native = Native(answer)
    lane = runner(plan, native)
    batch = [item(1), item(2), item(3)]
    assert values(lane.infer(batch)) == [2.0, 4.0, 6.0]
    native.rows.clear()
    assert values(lane.infer(batch)) == [2.0, 4.0, 6.0]
    assert native.rows == [1, 1, 1]  # remembered
    assert len(caplog.records) == 1  # and said, once


def test_a_refuted_model_stays_refuted_in_the_middle_of_a_batch() -> None:
    native = Native(only_one_row)
    count = DYNAMIC_BATCH_CAP + 2
    runner(OPEN, native).infer([item(1)] * count)
    assert native.rows == [DYNAMIC_BATCH_CAP, *[1] * count]


def test_a_bad_item_fails_the_batch_and_does_not_refute_the_model() -> None:
    def picky(tensors: TensorMap) -> TensorMap:
        if (tensors["x"] < 0).any():
            raise InferenceError("negative")
        return double(tensors)

    native = Native(picky)
    lane = runner(OPEN, native)
    with pytest.raises(InferenceError, match="negative"):
        lane.infer([item(1), item(-1), item(2)])
    native.rows.clear()
    lane.infer([item(1), item(2)])
    assert native.rows == [2]


def test_a_padded_call_wants_equal_items_and_equal_rows() -> None:
    plan = BatchPlan(2, fixed=True)
    with pytest.raises(InferenceError, match="one shape"):
        runner(plan, Native(double)).infer([item(1, 3), item(2, 4)])
    with pytest.raises(InferenceError, match="takes 2 items and answers with 1 rows"):
        runner(plan, Native(flattened)).infer([item(1)])


def test_padding_repeats_an_item() -> None:
    seen = []
    native = Native(lambda tensors: seen.append(tensors["x"].copy()) or double(tensors))
    runner(BatchPlan(4, fixed=True), native).infer([item(1), item(2)])
    assert seen[0][:, 0].tolist() == [1, 2, 2, 2]
