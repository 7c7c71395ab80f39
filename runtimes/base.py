"""The seam between the worker and the libraries that run models."""

from collections.abc import Sequence
from typing import Protocol

from model_files.base import ModelFiles
from runtimes.options import RuntimeOptions
from runtimes.spec import DeviceReport, ModelMetadata, TensorMap, TensorSpec


class Lane(Protocol):
    """One thread's means to run a model; used by the thread that opened it alone."""

    def infer(self, batch: Sequence[TensorMap]) -> list[TensorMap]:
        """Run every item and return their outputs in order.

        Each item maps every input's name to a C-contiguous tensor with a batch axis of 1,
        and so do the results. The lane stacks, lists or loops, as the model allows; a batch
        may be longer than the model's `max_batch_size`.

        Raises:
            InferenceError: the library failed; the lane stays usable.
        """
        ...


class CompiledModel(Protocol):
    """A model ready to run. Immutable: `replace` swaps the whole object."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def metadata(self) -> ModelMetadata: ...

    @property
    def device(self) -> DeviceReport: ...

    @property
    def max_batch_size(self) -> int:
        """The most items that one native call takes; 1 = no model-level batching."""
        ...

    def open_lane(self) -> Lane:
        """Open a lane; called in the lane's own thread."""
        ...

    def close(self) -> None:
        """Let go of everything native; no lane is used after it."""
        ...


class Runtime(Protocol):
    """A library that runs models, behind one interface."""

    def compile(self, model: ModelFiles, options: RuntimeOptions) -> CompiledModel:
        """Load a model for a device.

        Raises:
            ModelLoadError: the file is missing, broken, of another runtime, or not runnable here.
            RuntimeUnavailableError: the library is not installed, or cannot run on this platform.
        """
        ...
