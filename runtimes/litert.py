"""LiteRT (once TensorFlow Lite) behind the seam: the only file that imports its library."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any
from weakref import WeakSet

from model_files.base import ModelFiles
from runtimes.base import CompiledModel, Lane
from runtimes.batching import BatchPlan, BatchProof, BatchRunner, plan_batches
from runtimes.cores import available_cores, native_threads
from runtimes.errors import ModelLoadError
from runtimes.file_kinds import check_model_file, describe_kind
from runtimes.inputs import DeclaredTensor
from runtimes.litert_devices import choose_device
from runtimes.litert_file import LitertFile, read_model_file
from runtimes.litert_flatbuffer import FlatbufferError
from runtimes.litert_lane import LIBRARY_ERRORS, InterpreterOpener, LitertLane, short_text
from runtimes.litert_metadata import DETECTION_OUTPUTS, read_litert_metadata, read_normalizations
from runtimes.litert_ports import Interpreter, Ports, read_ports
from runtimes.options import RuntimeOptions
from runtimes.spec import DeviceReport, ModelMetadata, TensorKind, TensorSpec

WANTED = "a TensorFlow Lite model"

LIBRARIES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
"""Modules that have `Interpreter`, the newer one first; the older one is of numpy 1 times."""


def import_library(names: Sequence[str] = LIBRARIES) -> Any:
    """Return the first of these modules that can be imported.

    Raises:
        ImportError: none can; the text is the first one's reason.
    """
    reasons: list[ImportError] = []
    for name in names:
        try:
            return import_module(name)
        except ImportError as exc:
            reasons.append(exc)
    raise reasons[0]


class LitertRuntime:
    """Compiles `.tflite` files."""

    def __init__(self) -> None:
        """Raises `ImportError` where no library is installed."""
        self._library = import_library()

    def compile(self, model: ModelFiles, options: RuntimeOptions) -> CompiledModel:
        """Open a first interpreter; see `runtimes.base.Runtime.compile`."""
        head = check_model_file(model.path, WANTED)
        kind = describe_kind(head)
        if kind not in {None, WANTED}:
            raise ModelLoadError(f"{model.path} is {kind}, not {WANTED}")
        try:
            content = model.path.read_bytes()
            file = read_model_file(content)
        except OSError as exc:
            raise ModelLoadError(f"cannot read {str(model.path)!r}: {exc}") from exc
        except FlatbufferError as exc:
            raise ModelLoadError(f"{model.path} is not {WANTED}, or is truncated or damaged: {exc}") from exc
        choice = choose_device(options.device, file.custom_ops)
        opener = InterpreterOpener(
            self._library,
            content,
            native_threads(options.lanes, options.intra_threads, available_cores()),
            choice,
        )
        metadata = read_litert_metadata(model.path, file.metadata)
        try:
            first = opener.open_or_fall_back()
            ports = read_ports(first, read_normalizations(metadata))
        except LIBRARY_ERRORS as exc:
            raise ModelLoadError(f"{model.path} cannot be loaded: {short_text(exc)}") from exc
        return LitertModel(opener, first, ports, _with_detection_outputs(metadata, file, ports))


class LitertModel:
    """A file in memory, and an interpreter for each lane that shares it.

    Each interpreter has its own repacked weights and activations, which nothing shares: 4 lanes of
    YOLOv8n of int8 weights are 202 MB. A file that is mapped instead takes as much, and whoever
    truncates it ends the process.
    """

    def __init__(
        self, opener: InterpreterOpener, first: Interpreter, ports: Ports, metadata: ModelMetadata
    ) -> None:
        self.inputs: tuple[TensorSpec, ...] = ports.input_specs
        self.outputs: tuple[TensorSpec, ...] = tuple(
            TensorSpec(port.name, port.shape, port.dtype) for port in ports.outputs
        )
        self.metadata = metadata
        self.device: DeviceReport = opener.choice.report()
        takes_images = any(spec.kind is TensorKind.IMAGE for spec in self.inputs)
        self._plan: BatchPlan = plan_batches(
            [DeclaredTensor(spec.name, spec.shape, spec.dtype) for spec in self.inputs],
            [DeclaredTensor(spec.name, spec.shape, spec.dtype) for spec in self.outputs],
            takes_images=takes_images,
        )
        self._proof = BatchProof(self._plan)
        self._opener = opener
        self._ports = ports
        self._spare: Interpreter | None = first
        self._lanes: WeakSet[LitertLane] = WeakSet()
        self._closed = False
        self._lock = threading.Lock()

    @property
    def max_batch_size(self) -> int:
        """The most items that one native call takes; 1 = no model-level batching."""
        return self._plan.max_batch_size

    def open_lane(self) -> Lane:
        """Return a lane; the first one gets the interpreter that `compile` opened."""
        with self._lock:
            lane = LitertLane(self._opener, self._ports, self._spare)
            self._spare = None
            self._lanes.add(lane)
            if self._closed:
                lane.close()
        return BatchRunner(self._plan, self._proof, lane.call)

    def close(self) -> None:
        """Free all interpreters; one that is running ends with its call."""
        with self._lock:
            self._closed = True
            self._spare = None
            for lane in self._lanes:
                lane.close()


def _with_detection_outputs(metadata: ModelMetadata, file: LitertFile, ports: Ports) -> ModelMetadata:
    names = {port.index: port.name for port in ports.outputs}
    if not file.detection_outputs:
        return metadata
    roles = "\n".join(names[index] for index in file.detection_outputs)
    return replace(metadata, properties={**metadata.properties, DETECTION_OUTPUTS: roles})
