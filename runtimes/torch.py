"""PyTorch behind the seam: TorchScript and torch.export files. Only runtimes/torch*.py import torch."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from model_files.base import ModelFiles
from runtimes.base import CompiledModel, Lane
from runtimes.batching import BatchPlan, BatchProof, BatchRunner, plan_batches
from runtimes.cores import available_cores, native_threads
from runtimes.errors import InferenceError, ModelLoadError
from runtimes.inputs import DeclaredTensor, input_specs, sizes
from runtimes.metadata import read_metadata
from runtimes.options import RuntimeOptions
from runtimes.spec import DeviceReport, ModelMetadata, TensorKind, TensorMap, TensorSpec
from runtimes.torch_archive import ProgramKind, TorchFile, read_file
from runtimes.torch_calls import CudaCall, HostCall
from runtimes.torch_devices import (
    CPU,
    Accelerators,
    DeviceChoice,
    choose_device,
    cpu_instead,
    report_device,
)
from runtimes.torch_errors import short_text
from runtimes.torch_library import torch
from runtimes.torch_probe import settle
from runtimes.torch_programs import Placement, Program, load_exported, load_script

log = logging.getLogger(__name__)


class TorchRuntime:
    """Compiles TorchScript (`.pt`) and `torch.export` (`.pt2`) files."""

    def compile(self, model: ModelFiles, options: RuntimeOptions) -> CompiledModel:
        """Load a program and run it once; see `runtimes.base.Runtime.compile`."""
        file = read_file(model.path)
        choice = choose_device(options.device, accelerators())
        program, device = _open(model.path, file, choice, half=bool(options.half))
        threads = native_threads(options.lanes, options.intra_threads, available_cores())
        return TorchModel(program, device, read_metadata(file.properties), threads)


class TorchModel:
    """A program, shared by all lanes.

    TorchScript runs without the interpreter's lock; a torch.export program takes it between its operators.
    """

    def __init__(self, program: Program, device: DeviceReport, metadata: ModelMetadata, threads: int) -> None:
        outputs = program.outputs or ()
        takes_images = any(spec.kind is TensorKind.IMAGE for spec in input_specs(program.inputs))
        plan = plan_batches(program.inputs, outputs, takes_images=takes_images)
        if program.max_batch is not None and not plan.fixed:
            plan = replace(plan, max_batch_size=max(1, min(plan.max_batch_size, program.max_batch)))
        self._plan: BatchPlan = plan
        self._proof = BatchProof(plan)
        declared = program.inputs if plan.max_batch_size > 1 else tuple(_one_row(t) for t in program.inputs)
        self.inputs: tuple[TensorSpec, ...] = input_specs(declared)
        self.outputs: tuple[TensorSpec, ...] = tuple(
            TensorSpec(t.name, sizes(t.axes), t.dtype) for t in outputs
        )
        self.metadata = metadata
        self.device = device
        self._threads = threads
        self._program: Program | None = program

    @property
    def max_batch_size(self) -> int:
        """The most items that one native call takes; 1 = no model-level batching."""
        return self._plan.max_batch_size

    def open_lane(self) -> Lane:
        """Return a lane, and give the calling thread its share of the cores.

        ATen's number of threads is the calling thread's own once it has asked for it: the first question
        takes the process's default over, so it comes before the setting.
        """
        torch.get_num_threads()
        torch.set_num_threads(self._threads)
        return BatchRunner(self._plan, self._proof, _LaneCall(self))

    def new_call(self) -> HostCall | CudaCall:
        """Return a lane's own way into the program; raises `InferenceError` where it is closed."""
        if self._program is None:
            raise InferenceError("the model is closed")
        kind = CudaCall if self.device.effective.startswith("cuda") else HostCall
        return kind(self._program, self.inputs, self.device.effective)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._program is None

    def close(self) -> None:
        """Let the program go; it lives on until the calls that are in it return."""
        self._program = None
        if self.device.effective.startswith("cuda"):
            torch.cuda.empty_cache()


class _LaneCall:
    """A lane's call, which lets go of the program when the model is closed."""

    def __init__(self, model: TorchModel) -> None:
        self._model = model
        self._call: HostCall | CudaCall | None = None

    def __call__(self, tensors: TensorMap) -> TensorMap:
        if self._model.closed:
            self._call = None
        if self._call is None:
            self._call = self._model.new_call()
        return self._call(tensors)


def accelerators() -> Accelerators:
    """Return what the installed library and this machine have beside the CPU."""
    return Accelerators(
        cuda_built=torch.version.cuda is not None or torch.version.hip is not None,
        cuda_devices=torch.cuda.device_count(),
        mps=torch.backends.mps.is_available(),
    )


def _open(path: Path, file: TorchFile, choice: DeviceChoice, *, half: bool) -> tuple[Program, DeviceReport]:
    """Open a program as asked; else in 32 bits, else on the CPU, with the reason why."""
    refusals: list[str] = []
    for placement in _placements(choice, half=half):
        try:
            program = settle(_load(path, file, placement), placement, file.properties)
        except ModelLoadError:
            raise
        except Exception as exc:  # what torch.export raises has no root
            if placement.plain:
                raise ModelLoadError(f"{path} cannot be loaded: {short_text(exc)}") from exc
            bits = "16-bit floats on " if placement.half else ""
            refusals.append(f"{bits}{placement.device} failed: {short_text(exc)}")
            continue
        effective = choice if placement.device == choice.device else cpu_instead(choice.asked, "")
        return program, report_device(effective, "; ".join(refusals))
    raise AssertionError("the last placement is plain, and returns or raises")


def _placements(choice: DeviceChoice, *, half: bool) -> Iterator[Placement]:
    if half:
        yield Placement(choice.device, half=True)
    if choice.device != CPU:
        yield Placement(choice.device)
    yield Placement(CPU)


def _load(path: Path, file: TorchFile, placement: Placement) -> Program:
    if file.kind is ProgramKind.EXPORTED:
        return load_exported(path, placement)
    return load_script(path, placement, file.properties, has_example=file.has_example)


def _one_row(tensor: DeclaredTensor) -> DeclaredTensor:
    """Return an input that takes one item a call, where the file leaves it open."""
    if not tensor.axes or isinstance(tensor.axes[0], int):
        return tensor
    return DeclaredTensor(tensor.name, (1, *tensor.axes[1:]), tensor.dtype)
