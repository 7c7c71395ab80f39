"""Interpreters, one a lane, and what stands between them and the tensors that come in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import InferenceError
from runtimes.litert_devices import CPU, DeviceChoice, load_delegates
from runtimes.litert_ports import Interpreter, Port, Ports, open_shape
from runtimes.spec import DYNAMIC, TensorMap

LIBRARY_ERRORS = (RuntimeError, ValueError, TypeError, OSError, MemoryError, IndexError, OverflowError)
"""What the library raises, and what its C++ exceptions become."""

_MAX_TEXT = 300


class InterpreterOpener:
    """Opens interpreters of one model, each for one thread. They share the bytes of the file."""

    def __init__(self, library: Any, content: bytes, threads: int, choice: DeviceChoice) -> None:
        self._library = library
        self._content = content
        self._threads = threads
        self.choice = choice

    def open(self) -> Interpreter:
        """Return an interpreter on the chosen device, ready to run where no size is left open."""
        delegates = load_delegates(self._library, self.choice.name)
        interpreter = self._library.Interpreter(
            model_content=self._content, num_threads=self._threads, experimental_delegates=delegates or None
        )
        if not any(DYNAMIC in open_shape(each) for each in interpreter.get_input_details()):
            interpreter.allocate_tensors()
        return interpreter

    def open_or_fall_back(self) -> Interpreter:
        """Return an interpreter on the chosen device, else, from now on, on the CPU."""
        try:
            return self.open()
        except LIBRARY_ERRORS as exc:
            if self.choice.name == CPU:
                raise
            self.choice = self.choice.instead(f"the {self.choice.name} delegate failed: {short_text(exc)}")
            return self.open()


class LitertLane:
    """An interpreter, used by one thread: interpreters are not thread-safe."""

    def __init__(self, opener: InterpreterOpener, ports: Ports, interpreter: Interpreter | None) -> None:
        """`interpreter` is one that is open already; None opens one with the first call."""
        self._opener = opener
        self._inputs = ports.inputs
        self._outputs = ports.outputs
        self._interpreter = interpreter
        self._shapes = _shapes(ports.inputs)
        self._scratch: dict[str, NDArray[np.float32]] = {}
        self._closed = False

    def call(self, tensors: TensorMap) -> TensorMap:
        """Run one item, or as many as the model has rows; outputs are in memory of their own.

        Raises:
            InferenceError: the tensors do not fit the model, or the library failed.
        """
        for port in self._inputs:
            _check(port, tensors.get(port.name))
        if len(tensors) != len(self._inputs):
            raise InferenceError(f"the model has no input {', '.join(tensors.keys() - self._shapes.keys())}")
        if self._closed:
            raise InferenceError("the model is closed")
        try:
            return self._invoke(tensors)
        except LIBRARY_ERRORS as exc:
            self._interpreter = None  # its state is unknown: the next call opens another one
            raise InferenceError(short_text(exc)) from exc

    def close(self) -> None:
        """Free the interpreter, or let the call that is in it do so."""
        self._closed = True
        self._interpreter = None
        self._scratch.clear()

    def _invoke(self, tensors: TensorMap) -> TensorMap:
        interpreter = self._interpreter
        if interpreter is None:
            interpreter = self._interpreter = self._opener.open()
            self._shapes = _shapes(self._inputs)
        self._resize(interpreter, tensors)
        for port in self._inputs:
            self._feed(interpreter, port, tensors[port.name])
        interpreter.invoke()
        return {port.name: _fetch(interpreter, port) for port in self._outputs}

    def _resize(self, interpreter: Interpreter, tensors: TensorMap) -> None:
        """Give the interpreter the sizes of open axes; costs milliseconds where they are new."""
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if shapes == self._shapes:
            return
        for port in self._inputs:
            if shapes[port.name] != self._shapes[port.name]:
                interpreter.resize_tensor_input(port.index, shapes[port.name])
        interpreter.allocate_tensors()
        self._shapes = shapes

    def _feed(self, interpreter: Interpreter, port: Port, tensor: NDArray[Any]) -> None:
        if port.quantization is None:
            interpreter.set_tensor(port.index, tensor)
            return
        scratch = self._scratch.get(port.name)
        if scratch is None or scratch.shape != tensor.shape:
            scratch = self._scratch[port.name] = np.empty(tensor.shape, np.float32)
        # The view must not outlive this line: the library refuses to run while there is one.
        port.quantization.quantize(tensor, interpreter.tensor(port.index)(), scratch)


def _shapes(ports: Sequence[Port]) -> dict[str, tuple[int, ...]]:
    """Return what a new interpreter is prepared for; what has an open axis fits no tensor."""
    return {port.name: port.shape for port in ports}


def _fetch(interpreter: Interpreter, port: Port) -> NDArray[Any]:
    if port.quantization is None:
        return np.asarray(interpreter.get_tensor(port.index))
    return port.quantization.dequantize(interpreter.tensor(port.index)())


def _check(port: Port, tensor: NDArray[Any] | None) -> None:
    if tensor is None:
        raise InferenceError(f"the input {port.name} is missing")
    fits = len(tensor.shape) == len(port.shape) and all(
        wanted in {DYNAMIC, size} for wanted, size in zip(port.shape, tensor.shape, strict=True)
    )
    if not fits or tensor.dtype != port.dtype:
        raise InferenceError(
            f"the input {port.name} is {tensor.dtype} {list(tensor.shape)}, "
            f"where the model takes {port.dtype} {list(port.shape)}"
        )


def short_text(exc: Exception) -> str:
    """Return one of the library's messages in one line."""
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
