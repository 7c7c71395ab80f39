"""One thread's means to run an OpenVINO model: infer requests that no other thread touches.

A request runs one call at a time and raises "busy" when a second thread asks, so lanes share none.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.batching import BatchPlan, BatchProof, BatchRunner
from runtimes.errors import InferenceError
from runtimes.openvino_library import LIBRARY_ERRORS, Tensor, short_text
from runtimes.spec import TensorMap

_CLOSED = "the model is closed"


class Request:
    """One infer request: a call that runs, or a call that has been started."""

    def __init__(self, native: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._native = native  # openvino.InferRequest
        self._inputs = {name: index for index, name in enumerate(inputs)}
        self._outputs = tuple(outputs)
        # Put back after a call: a request holds on to the tensors that it was given, and their memory
        # is wanted for the next picture.
        self._own = [_own_tensor(native, index) for index in range(len(inputs))]

    def run(self, tensors: TensorMap) -> TensorMap:
        """Run in this thread."""
        try:
            self._bind(tensors)
            self._native.infer()
            return self._results()
        except LIBRARY_ERRORS as exc:
            raise InferenceError(short_text(exc)) from exc
        finally:
            self._unbind()

    def start(self, tensors: TensorMap) -> None:
        """Begin to run on one of the device's streams; `finish` follows, whatever happens."""
        try:
            self._bind(tensors)
            self._native.start_async()
        except LIBRARY_ERRORS as exc:
            self._unbind()
            raise InferenceError(short_text(exc)) from exc

    def finish(self) -> TensorMap:
        """Wait for what `start` began, and return its results."""
        try:
            self._native.wait()
            return self._results()
        except LIBRARY_ERRORS as exc:
            raise InferenceError(short_text(exc)) from exc
        finally:
            self._unbind()

    def _bind(self, tensors: TensorMap) -> None:
        if tensors.keys() != self._inputs.keys():
            wanted, given = (", ".join(sorted(names)) or "none" for names in (self._inputs, tensors))
            raise InferenceError(f"the model's inputs are {wanted}; given are {given}")
        for name, index in self._inputs.items():
            self._native.set_input_tensor(index, wrapped(tensors[name]))

    def _unbind(self) -> None:
        for index, tensor in enumerate(self._own):
            self._native.set_input_tensor(index, tensor)

    def _results(self) -> TensorMap:
        """Return copies: the request writes into the same memory when it runs again."""
        return {
            name: self._native.get_output_tensor(index).data.copy()
            for index, name in enumerate(self._outputs)
        }


def _own_tensor(native: Any, index: int) -> Any:
    """Return what an input holds between calls; of an open shape the smallest."""
    port = native.model_inputs[index]
    shape = port.get_partial_shape()
    if shape.is_static:
        return native.get_input_tensor(index)
    if shape.rank.is_dynamic:
        return Tensor(port.element_type, [1])
    return Tensor(port.element_type, [max(1, axis.get_min_length()) for axis in shape])


class RequestSource:
    """Opens the requests of a compiled model until it is closed; shared by its lanes."""

    def __init__(self, compiled: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._compiled: Any | None = compiled  # openvino.CompiledModel
        self._inputs = inputs
        self._outputs = outputs

    def open(self) -> Request:
        """Return a request that no other thread has; raises `InferenceError`."""
        compiled = self._compiled
        if compiled is None:
            raise InferenceError(_CLOSED)
        try:
            native = compiled.create_infer_request()
            return Request(native, self._inputs, self._outputs)
        except LIBRARY_ERRORS as exc:
            raise InferenceError(short_text(exc)) from exc

    def check_open(self) -> None:
        """Raise `InferenceError` once the model is closed."""
        if self._compiled is None:
            raise InferenceError(_CLOSED)

    def close(self) -> None:
        """Let the compiled model go; it lives on until the last request has ended."""
        self._compiled = None


class OpenVinoLane:
    """Runs items one by one or stacked in one request; side by side where it has several.

    It has several where the device runs more streams than there are lanes, and uses them for items
    that the model cannot stack.
    """

    def __init__(self, source: RequestSource, width: int, plan: BatchPlan, proof: BatchProof) -> None:
        """Open the first request, and others when items first come together.

        Args:
            source: where requests come from.
            width: the most requests that run side by side.
            plan: how the model takes several items.
            proof: whether stacking works; shared by the model's lanes.
        """
        self._source = source
        self._width = width
        self._plan = plan
        self._proof = proof
        self._requests = [source.open()]
        # Not a method of this lane: a circle of references would keep the native memory until the
        # garbage collector comes by.
        self._runner = BatchRunner(plan, proof, self._requests[0].run)

    def infer(self, batch: Sequence[TensorMap]) -> list[TensorMap]:
        """Run every item; see `runtimes.base.Lane.infer`."""
        self._source.check_open()
        stacks = self._plan.max_batch_size > 1 and (self._plan.fixed or self._proof.works)
        if stacks or len(batch) < 2 or self._width < 2:
            return self._runner.infer(batch)
        return self._side_by_side(batch)

    def _side_by_side(self, batch: Sequence[TensorMap]) -> list[TensorMap]:
        # One more than run at once: a stream goes on while this thread copies results.
        while len(self._requests) < min(self._width + 1, len(batch)):
            self._requests.append(self._source.open())
        running: deque[Request] = deque()
        results: list[TensorMap] = []
        try:
            for index, item in enumerate(batch):
                if len(running) == len(self._requests):
                    results.append(running.popleft().finish())
                request = self._requests[index % len(self._requests)]
                request.start(item)
                running.append(request)
            while running:
                results.append(running.popleft().finish())
        finally:
            _settle(running)
        return results


def _settle(running: Iterable[Request]) -> None:
    """Wait for the calls beside one that failed, so that their requests can be used again."""
    for request in running:
        try:
            request.finish()
        except InferenceError:
            continue  # one failure is raised already


def wrapped(array: NDArray[Any]) -> Any:  # openvino.Tensor
    """Return a tensor over an array's memory; a copy's, where the library would not take the array's."""
    usable = array if array.flags.carray else np.array(array, order="C")
    return Tensor(usable, shared_memory=True)
