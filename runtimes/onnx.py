"""ONNX Runtime behind the seam: the only file that imports onnxruntime."""

import os
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

# Before the import: the library starts a thread that reports to its maker and wakes every few seconds,
# and `disable_telemetry_events` comes too late for it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from model_files.base import ModelFiles
from runtimes.base import CompiledModel, Lane
from runtimes.batching import BatchPlan, BatchProof, BatchRunner, compiled_sizes, plan_batches
from runtimes.cores import available_cores, native_threads
from runtimes.errors import InferenceError, ModelLoadError
from runtimes.file_kinds import check_model_file, describe_kind
from runtimes.inputs import DeclaredTensor, input_specs, sizes
from runtimes.metadata import read_metadata
from runtimes.onnx_devices import (
    CPU,
    CUDA,
    DIRECTML,
    TENSORRT,
    ProviderChoice,
    choose_providers,
    cpu_alone,
    report_device,
)
from runtimes.options import RuntimeOptions
from runtimes.spec import DeviceReport, ModelMetadata, TensorKind, TensorMap, TensorSpec

Session = Any  # onnxruntime.InferenceSession: the library ships no types

WANTED = "an ONNX model"

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(uint16)": "uint16",
    "tensor(int32)": "int32",
    "tensor(uint32)": "uint32",
    "tensor(int64)": "int64",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}
"""The library's name of a type → numpy's; sequences, maps and strings are not carried."""

ORT_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
    TypeError,
    MemoryError,
)
"""What the library raises: its own errors have no common root below Exception."""

_ERROR = 3
_FATAL = 4

onnxruntime.set_default_logger_severity(_ERROR)
onnxruntime.disable_telemetry_events()


class OnnxRuntime:
    """Compiles `.onnx` files."""

    def compile(self, model: ModelFiles, options: RuntimeOptions) -> CompiledModel:
        """Open a session; see `runtimes.base.Runtime.compile`."""
        head = check_model_file(model.path, WANTED)
        try:
            session, choice = _open_session(model.path, options)
        except ORT_ERRORS as exc:
            raise ModelLoadError(_load_error(model.path, head, exc)) from exc
        return OnnxModel(session, report_device(choice, session.get_providers()))


class OnnxModel:
    """A session, shared by all lanes.

    `run` may be called from several threads at once, and with one native thread the calling one does
    the work. A session for each lane gains nothing: YOLOv8n, two lanes of one thread on 2 cores, 14
    paired rounds: 1.02 times the frames per second with the shared one, which saves 63 MB.
    """

    def __init__(self, session: Session, device: DeviceReport) -> None:
        """Raises `ModelLoadError` where an input or output is no numeric tensor."""
        inputs = _declared(session.get_inputs())
        outputs = _declared(session.get_outputs())
        self.inputs: tuple[TensorSpec, ...] = input_specs(inputs)
        self.outputs: tuple[TensorSpec, ...] = tuple(
            TensorSpec(tensor.name, sizes(tensor.axes), tensor.dtype) for tensor in outputs
        )
        self.metadata: ModelMetadata = read_metadata(session.get_modelmeta().custom_metadata_map)
        self.device = device
        takes_images = any(spec.kind is TensorKind.IMAGE for spec in self.inputs)
        plan = plan_batches(inputs, outputs, takes_images=takes_images)
        # TensorRT builds an engine for each shape, CUDA searches its convolutions anew, others compile.
        self._plan: BatchPlan = plan if device.on_cpu else compiled_sizes(plan)
        self._proof = BatchProof(self._plan)
        self._session: Session | None = session
        self._output_names = [spec.name for spec in self.outputs]
        # DirectML alone does not allow several runs of a session at once.
        serial = DIRECTML in session.get_providers()
        self._turn: AbstractContextManager[Any] = threading.Lock() if serial else nullcontext()

    @property
    def max_batch_size(self) -> int:
        """The most items that one native call takes; 1 = no model-level batching."""
        return self._plan.max_batch_size

    def open_lane(self) -> Lane:
        """Return a lane: all it has of its own is the buffers that it stacks batches in."""
        return BatchRunner(self._plan, self._proof, self._run)

    def close(self) -> None:
        """Let the session go; it lives on until the calls that are in it return."""
        self._session = None

    def _run(self, tensors: TensorMap) -> TensorMap:
        session = self._session
        if session is None:
            raise InferenceError("the model is closed")
        try:
            with self._turn:
                # io_binding into kept buffers gains nothing (YOLOv8n, 60 paired calls: 0.00 ms of
                # 45.7), and results outlive the call.
                outputs = session.run(self._output_names, dict(tensors))
        except ORT_ERRORS as exc:
            raise InferenceError(short_text(exc)) from exc
        return dict(zip(self._output_names, outputs, strict=True))


def _open_session(path: Path, options: RuntimeOptions) -> tuple[Session, ProviderChoice]:
    """Open a session on the asked device, or on the CPU with the reason why."""
    choice = choose_providers(options.device, onnxruntime.get_available_providers())
    if choice.provider in {CUDA, TENSORRT} and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA where pip installed it
    try:
        return _session(path, options, choice), choice
    except ORT_ERRORS as exc:
        if choice.provider == CPU:
            raise
        choice = cpu_alone(choice.asked, f"{choice.provider} did not start: {short_text(exc)}")
        return _session(path, options, choice), choice


def _session(path: Path, options: RuntimeOptions, choice: ProviderChoice) -> Session:
    # enable_fallback=0: the library's own falls back to the CPU silently, in the middle of a run too,
    # and prints to stdout.
    return onnxruntime.InferenceSession(
        str(path), _session_options(options, choice), providers=list(choice.providers), enable_fallback=0
    )


def _session_options(options: RuntimeOptions, choice: ProviderChoice) -> Any:
    settings = onnxruntime.SessionOptions()
    # Every error arrives as an exception; logging it too would write from a native thread to a stderr
    # that a host may not read.
    settings.log_severity_level = _FATAL
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = native_threads(options.lanes, options.intra_threads, available_cores())
    if options.inter_threads:
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
        settings.inter_op_num_threads = options.inter_threads
    # Off unless asked for. Native threads that spin take their cores from the prepare pool: YOLOv8n,
    # one lane of two threads beside a thread that decodes JPEG, on 2 busy cores: 8.0 frames/s with
    # spinning, 15.4 without. It pays where the machine is idle and latency is all: 4.3 ms against
    # 8.3 at 30 requests/s, for 113 % of a core against 24 %. With one thread there is none to spin.
    spinning = "1" if options.spinning else "0"
    settings.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    settings.add_session_config_entry("session.inter_op.allow_spinning", spinning)
    if choice.provider == DIRECTML:
        settings.enable_mem_pattern = False  # DirectML demands it
    return settings


def _declared(arguments: Sequence[Any]) -> tuple[DeclaredTensor, ...]:
    """Return inputs or outputs as the file declares them, from the library's NodeArg objects."""
    unsupported = [
        f"{argument.name} is {argument.type}" for argument in arguments if argument.type not in DTYPES
    ]
    if unsupported:
        raise ModelLoadError(f"only numeric tensors are supported, but {', '.join(unsupported)}")
    return tuple(
        DeclaredTensor(argument.name, tuple(argument.shape), DTYPES[argument.type]) for argument in arguments
    )


def _load_error(path: Path, head: bytes, exc: Exception) -> str:
    kind = describe_kind(head)
    if kind is not None:
        return f"{path} is {kind}, not {WANTED}"
    if isinstance(exc, native.InvalidProtobuf):
        return f"{path} is not {WANTED}, or is truncated or damaged"
    return f"{path} cannot be loaded: {short_text(exc)}"


_NOISE: Mapping[re.Pattern[str], str] = {
    re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : "): "",
    re.compile(r"Load model from .*? failed: ?"): "",
    re.compile(r"\s*Please fix either the inputs/outputs or the model\.?"): "",
    # «/onnxruntime_src/…/file.cc:123 function(…) » in front of the cause
    re.compile(r"/\S*onnxruntime\S*\.(?:cc|h|cpp):\d+ "): "",
    re.compile(r"\s+"): " ",
}
_MAX_TEXT = 300


def short_text(exc: Exception) -> str:
    """Return the useful part of one of the library's messages, in one line."""
    text = str(exc)
    for pattern, replacement in _NOISE.items():
        text = pattern.sub(replacement, text)
    text = text.strip() or type(exc).__name__
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
