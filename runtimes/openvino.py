"""OpenVINO behind the seam, with `openvino_lane` and `openvino_library`: IR, ONNX and TFLite files."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from model_files.base import ModelFiles
from runtimes.base import CompiledModel, Lane
from runtimes.batching import BatchPlan, BatchProof, compiled_sizes, plan_batches
from runtimes.cores import available_cores
from runtimes.errors import ModelLoadError
from runtimes.inputs import input_specs, sizes
from runtimes.openvino_devices import (
    CPU,
    DeviceChoice,
    Tuning,
    choose_device,
    cpu_instead,
    properties,
    report_device,
    tune,
)
from runtimes.openvino_lane import OpenVinoLane, RequestSource
from runtimes.openvino_library import (
    LIBRARY_ERRORS,
    Model,
    batch_bound,
    core,
    declared,
    model_metadata,
    read_model,
    short_text,
)
from runtimes.options import RuntimeOptions
from runtimes.spec import DeviceReport, ModelMetadata, TensorKind, TensorSpec

Compiled = Any  # openvino.CompiledModel


class OpenVinoRuntime:
    """Compiles `.xml` files with the `.bin` beside them, `.onnx` and `.tflite` files."""

    def compile(self, model: ModelFiles, options: RuntimeOptions) -> CompiledModel:
        """Read and compile a model; see `runtimes.base.Runtime.compile`."""
        read = read_model(model.path)
        tuning = tune(options, available_cores())
        available = core().available_devices
        choice = choose_device(options.device, available)
        try:
            compiled, choice = _compile(read, choice, tuning, available)
            report = report_device(choice, compiled.get_property("EXECUTION_DEVICES"))
            return OpenVinoModel(read, compiled, report, model_metadata(read, model.path), tuning.lanes)
        except LIBRARY_ERRORS as exc:
            raise ModelLoadError(f"{model.path} cannot be compiled: {short_text(exc)}") from exc


class OpenVinoModel:
    """A compiled model, shared by all lanes; each lane has requests of its own."""

    def __init__(
        self, model: Model, compiled: Compiled, device: DeviceReport, metadata: ModelMetadata, lanes: int
    ) -> None:
        """Raises `ModelLoadError` where an input or output is no numeric tensor."""
        inputs = declared(model.inputs, compiled.inputs, "input")
        outputs = declared(model.outputs, compiled.outputs, "output")
        self.inputs: tuple[TensorSpec, ...] = input_specs(inputs)
        self.outputs: tuple[TensorSpec, ...] = tuple(
            TensorSpec(tensor.name, sizes(tensor.axes), tensor.dtype) for tensor in outputs
        )
        self.metadata = metadata
        self.device = device
        takes_images = any(spec.kind is TensorKind.IMAGE for spec in self.inputs)
        plan = plan_batches(inputs, outputs, takes_images=takes_images)
        bound = batch_bound(compiled.inputs)
        if bound is not None and not plan.fixed:
            plan = replace(plan, max_batch_size=min(plan.max_batch_size, bound))
        # Devices other than the CPU compile for each shape anew.
        self._plan: BatchPlan = plan if device.effective == "cpu" else compiled_sizes(plan)
        self._proof = BatchProof(self._plan)
        self._source = RequestSource(compiled, _names(self.inputs), _names(self.outputs))
        self._width = max(1, _streams(compiled) // lanes)

    @property
    def max_batch_size(self) -> int:
        """The most items that one native call takes; 1 = no model-level batching."""
        return self._plan.max_batch_size

    def open_lane(self) -> Lane:
        """Return a lane with a request of its own."""
        return OpenVinoLane(self._source, self._width, self._plan, self._proof)

    def close(self) -> None:
        """Let the compiled model go; it lives on until the last lane's requests have ended."""
        self._source.close()


def _compile(
    model: Model, choice: DeviceChoice, tuning: Tuning, available: Sequence[str]
) -> tuple[Compiled, DeviceChoice]:
    """Compile for the asked device, or for the CPU with the reason why."""
    try:
        return core().compile_model(model, choice.name, properties(choice, tuning, available)), choice
    except LIBRARY_ERRORS as exc:
        if choice.name == CPU:
            raise
        choice = cpu_instead(choice, f"{choice.name} did not start: {short_text(exc)}")
        return core().compile_model(model, CPU, properties(choice, tuning, available)), choice


def _streams(compiled: Compiled) -> int:
    """Return how many calls run side by side on the device."""
    try:
        return int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    except LIBRARY_ERRORS:
        return 1


def _names(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    return tuple(spec.name for spec in specs)
