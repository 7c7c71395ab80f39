"""One lane's way from numpy into a PyTorch program and back: in place on the CPU, pinned copies to CUDA."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import InferenceError
from runtimes.spec import DYNAMIC, TensorMap, TensorSpec
from runtimes.torch_errors import FAILURES, short_text
from runtimes.torch_library import torch
from runtimes.torch_programs import Program, Tensor, flatten


class HostCall:
    """A call on the CPU, or on a device that has no pinned memory.

    The program reads the items' own memory. Its results are copied out: it may answer with a part of
    itself or of its input, and the items' buffers are used again.
    """

    def __init__(self, program: Program, inputs: Sequence[TensorSpec], device: str) -> None:
        self._program = program
        self._inputs = inputs
        self._device = device

    def __call__(self, tensors: TensorMap) -> TensorMap:
        """Run one batch; raises `InferenceError`."""
        check_inputs(self._inputs, tensors)
        try:
            with torch.inference_mode():
                results = self._program.call(
                    [self._upload(index, tensors) for index in range(len(self._inputs))]
                )
                return {name: _to_numpy(tensor) for name, tensor in flatten(results)}
        except FAILURES as exc:
            raise InferenceError(short_text(exc)) from exc

    def _upload(self, index: int, tensors: TensorMap) -> Tensor:
        array = tensors[self._inputs[index].name]
        own = self._program.writes_inputs or not array.flags.writeable
        tensor = torch.from_numpy(array.copy() if own else array)
        return self._program.laid_out(tensor.to(self._device, self._program.dtypes[index]))


class CudaCall:
    """A call on a CUDA device, in a stream of its lane: copies and kernels of several lanes overlap.

    Not run by the tests: none of the machines that they run on has such a device.
    """

    def __init__(self, program: Program, inputs: Sequence[TensorSpec], device: str) -> None:
        self._program = program
        self._inputs = inputs
        self._device = torch.device(device)
        self._stream = torch.cuda.Stream(self._device)
        self._staging: dict[str, Tensor] = {}

    def __call__(self, tensors: TensorMap) -> TensorMap:
        """Run one batch; raises `InferenceError`."""
        check_inputs(self._inputs, tensors)
        try:
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                results = self._program.call(
                    [self._upload(index, tensors) for index in range(len(self._inputs))]
                )
                pinned = [(name, tensor.to("cpu", non_blocking=True)) for name, tensor in flatten(results)]
                self._stream.synchronize()  # the results have come, and the staging buffers are free again
                return {name: _to_numpy(tensor) for name, tensor in pinned}
        except FAILURES as exc:
            raise InferenceError(short_text(exc)) from exc

    def _upload(self, index: int, tensors: TensorMap) -> Tensor:
        spec = self._inputs[index]
        array = tensors[spec.name]
        staging = self._staging.get(spec.name)
        if staging is None or staging.numel() < array.size:
            kind = getattr(torch, spec.dtype)
            staging = self._staging[spec.name] = torch.empty(array.size, dtype=kind, pin_memory=True)
        rows = staging[: array.size].view(array.shape)
        np.copyto(rows.numpy(), array)
        return rows.to(self._device, non_blocking=True).to(self._program.dtypes[index])


def check_inputs(inputs: Sequence[TensorSpec], tensors: TensorMap) -> None:
    """Refuse what is no input of the model: a program runs other shapes, and answers nonsense.

    Raises:
        InferenceError: a name, a type or a shape is another.
    """
    if tensors.keys() != {spec.name for spec in inputs}:
        wanted = ", ".join(spec.name for spec in inputs)
        raise InferenceError(f"the model takes {wanted}, not {', '.join(tensors) or 'nothing'}")
    for spec in inputs:
        given = tensors[spec.name]
        if given.dtype != spec.dtype or not _fits(spec.shape, given.shape):
            raise InferenceError(
                f"{spec.name} is {spec.dtype} {list(spec.shape)}, not {given.dtype} {list(given.shape)}"
            )


def _fits(shape: Sequence[int], given: Sequence[int]) -> bool:
    return len(shape) == len(given) and all(
        axis in {DYNAMIC, size} for axis, size in zip(shape, given, strict=True)
    )


def _to_numpy(tensor: Tensor) -> NDArray[Any]:
    if tensor.dtype == torch.bfloat16:  # numpy has none
        tensor = tensor.float()
    return np.array(tensor.cpu().numpy(), order="C")
