"""Runs any number of items through a native call that takes one batch: stacks, pads, splits or loops."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import InferenceError
from runtimes.inputs import DeclaredTensor, sizes
from runtimes.spec import DYNAMIC, TensorMap

log = logging.getLogger(__name__)

NativeCall = Callable[[TensorMap], TensorMap]
"""One call into a library; raises `InferenceError`."""

DYNAMIC_BATCH_CAP = 32
"""Most items of one native call where the model sets no limit. It bounds a lane's memory: 32 pictures
of 640x640 are 157 MB of float32 input, and the activations of the widest layers several times that."""

_TOLERANCE = 0.02
"""Relative and absolute; batched and single runs round differently, float16 most."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How a model takes several items."""

    max_batch_size: int
    """Most items of one native call; 1 = each by itself."""
    fixed: bool = False
    """A call takes exactly `max_batch_size` rows: fewer are padded."""
    sizes: tuple[int, ...] = ()
    """Ascending: how many rows a call may have where the device compiles for each number of them, up to
    `max_batch_size`; what lies between is padded. Empty: any number."""
    certain: bool = True
    """The file says that the first axis of every output is the batch; else the first batch proves it."""

    def rows(self, items: int) -> int:
        """Return how many rows a call for so many items has."""
        return next((size for size in self.sizes if size >= items), items)


def compiled_sizes(plan: BatchPlan) -> BatchPlan:
    """Restrict a plan to powers of two, for devices that spend seconds on each new number of rows."""
    if plan.fixed or plan.max_batch_size == 1:
        return plan
    powers = [1 << bit for bit in range((plan.max_batch_size - 1).bit_length())]
    return replace(plan, sizes=(*powers, plan.max_batch_size))


def plan_batches(
    inputs: Sequence[DeclaredTensor], outputs: Sequence[DeclaredTensor], *, takes_images: bool
) -> BatchPlan:
    """Decide by the first axes how a model takes several items.

    Open on every input and output: stacked. One fixed size above 1 everywhere on a model that takes
    pictures: padded to it. Anything else (a recurrent state, a scalar, an output of another length):
    each item by itself.
    """
    into = {sizes(tensor.axes)[:1] for tensor in inputs}
    out = {sizes(tensor.axes)[:1] for tensor in outputs}
    if into == out == {(DYNAMIC,)}:
        names = {tensor.axes[0] for tensor in (*inputs, *outputs)}
        certain = len(names) == 1 and isinstance(next(iter(names)), str)
        return BatchPlan(DYNAMIC_BATCH_CAP, certain=certain)
    rows = max(into, default=())
    if takes_images and into == {rows} and rows > (1,) and out <= {rows, (DYNAMIC,)}:
        return BatchPlan(rows[0], fixed=True)
    return BatchPlan(1)


class BatchProof:
    """Whether stacking has turned out to work; shared by the lanes of one model.

    Files lie: an open first axis may be a count of detections, and a Reshape inside may hold the
    exporter's batch size. Lanes may set it at the same time: they come to the same verdict.
    """

    def __init__(self, plan: BatchPlan) -> None:
        self.proven = plan.certain
        self.works = plan.max_batch_size > 1

    def refute(self, reason: str) -> None:
        """Loop from now on."""
        if self.works:
            log.warning("the model cannot run batches, so its items run one by one: %s", reason)
        self.works = False


class BatchRunner:
    """Runs items through a native call for one lane."""

    def __init__(self, plan: BatchPlan, proof: BatchProof, call: NativeCall) -> None:
        self._plan = plan
        self._proof = proof
        self._call = call
        self._stack = _Stack()

    def infer(self, batch: Sequence[TensorMap]) -> list[TensorMap]:
        """Run every item; see `runtimes.base.Lane.infer`."""
        if self._plan.fixed:
            return self._in_chunks(batch, self._padded)
        if len(batch) == 1 or not self._proof.works:
            return self._looped(batch)
        return self._in_chunks(batch, self._stacked)

    def _in_chunks(
        self, batch: Sequence[TensorMap], run: Callable[[Sequence[TensorMap]], list[TensorMap]]
    ) -> list[TensorMap]:
        size = self._plan.max_batch_size
        return [result for start in range(0, len(batch), size) for result in run(batch[start : start + size])]

    def _looped(self, chunk: Sequence[TensorMap]) -> list[TensorMap]:
        return [self._call(item) for item in chunk]

    def _padded(self, chunk: Sequence[TensorMap]) -> list[TensorMap]:
        if not _stackable(chunk):
            raise InferenceError("items of one batch must be of one shape, with a batch axis of 1")
        rows = self._plan.max_batch_size
        outputs = self._call(self._stack.fill(chunk, rows))
        if not _has_rows(outputs, rows):
            raise InferenceError(f"the model takes {rows} items and answers with {_first_axes(outputs)} rows")
        return list(_split(outputs, len(chunk)))

    def _stacked(self, chunk: Sequence[TensorMap]) -> list[TensorMap]:
        if len(chunk) == 1 or not self._proof.works or not _stackable(chunk):
            return self._looped(chunk)
        rows = self._plan.rows(len(chunk))
        try:
            outputs = self._call(self._stack.fill(chunk, rows))
        except InferenceError as exc:
            results = self._looped(chunk)  # an item that fails by itself, too, is at fault: raises
            self._proof.refute(str(exc))
            return results
        if not _has_rows(outputs, rows):
            self._proof.refute(f"a batch of {rows} is answered with {_first_axes(outputs)} rows")
            return self._looped(chunk)
        results = list(_split(outputs, len(chunk)))
        return results if self._proof.proven else self._checked(chunk, results)

    def _checked(self, chunk: Sequence[TensorMap], results: list[TensorMap]) -> list[TensorMap]:
        """Compare the first and the last result of the first batch with what they are alone."""
        for index in (0, -1):
            if not _agree(self._call(chunk[index]), results[index]):
                self._proof.refute("items differ from what they give alone")
                return self._looped(chunk)
        self._proof.proven = True
        return results


class _Stack:
    """Input buffers of one lane, reused: fresh ones cost page faults. They grow to the largest batch."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[Any]] = {}

    def fill(self, chunk: Sequence[TensorMap], rows: int) -> TensorMap:
        """Copy the items into one tensor an input, the last one again into rows that are left."""
        return {name: self._fill_one(name, [item[name] for item in chunk], rows) for name in chunk[0]}

    def _fill_one(self, name: str, tensors: Sequence[NDArray[Any]], rows: int) -> NDArray[Any]:
        buffer = self._buffer(name, tensors[0], rows)
        for row, tensor in enumerate(tensors):
            buffer[row] = tensor[0]
        buffer[len(tensors) :] = tensors[-1][0]
        return buffer

    def _buffer(self, name: str, like: NDArray[Any], rows: int) -> NDArray[Any]:
        held = self._buffers.get(name)
        if held is None or held.shape[1:] != like.shape[1:] or held.dtype != like.dtype or len(held) < rows:
            held = self._buffers[name] = np.empty((rows, *like.shape[1:]), like.dtype)
        return held[:rows]


def _stackable(chunk: Sequence[TensorMap]) -> bool:
    """Tell whether all items have the same inputs, in shape and type, with a batch axis of 1."""
    first = {name: (tensor.shape, tensor.dtype) for name, tensor in chunk[0].items()}
    if any(shape[:1] != (1,) for shape, _ in first.values()):
        return False
    return all({name: (t.shape, t.dtype) for name, t in item.items()} == first for item in chunk[1:])


def _has_rows(outputs: TensorMap, rows: int) -> bool:
    return all(tensor.shape[:1] == (rows,) for tensor in outputs.values())


def _first_axes(outputs: TensorMap) -> str:
    return ", ".join(str(tensor.shape[0]) if tensor.shape else "no" for tensor in outputs.values())


def _split(outputs: TensorMap, rows: int) -> Iterator[TensorMap]:
    """Return one view a row, each with its batch axis of 1."""
    return ({name: tensor[row : row + 1] for name, tensor in outputs.items()} for row in range(rows))


def _agree(alone: TensorMap, batched: TensorMap) -> bool:
    return all(
        tensor.shape == batched[name].shape
        and np.allclose(tensor, batched[name], _TOLERANCE, _TOLERANCE, equal_nan=True)
        for name, tensor in alone.items()
    )
