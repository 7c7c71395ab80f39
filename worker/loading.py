"""Loads one model: files, runtime, meaning of its tensors, threads, warm-up. Slow; never on the loop."""

import dataclasses
import itertools
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model_files import resolve
from postprocessors import bind
from postprocessors.base import PostprocessorSettings, ResultOptions
from preprocess.frame import Frame
from preprocess.options import ChannelOrder, DecodeOptions, PrepareOptions
from protocol.pixel_format import PixelFormat
from runtimes import get_runtime, runtime_for
from runtimes.base import CompiledModel
from runtimes.cores import available_cores
from runtimes.errors import ModelLoadError
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, Layout, ModelDescription, TensorKind, TensorSpec
from worker.batching import batch_limit
from worker.config import BatchMode, ModelConfig, WorkerConfig
from worker.errors import Failure
from worker.pipeline import ModelPipeline, ModelPlan, Stages
from worker.requests import Group, Item, ItemOptions, Reply, Timings
from worker.sources import PacketSource

log = logging.getLogger(__name__)

DEFAULT_SIDE = 640
"""Pixels; for models that leave their input's size open and recommend none."""

_generations = itertools.count(1)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model that serves: its configuration, its pipeline and how its load went."""

    config: ModelConfig
    pipeline: ModelPipeline
    load_ms: float
    warmup_ms: float
    memory_bytes: int
    """Growth of the process's resident memory over the load."""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _WarmUp:
    """The reply of the blank picture that a model is warmed up with."""

    done: threading.Event = field(default_factory=threading.Event)
    failure: Failure | None = None

    def succeed(self, item: Item, result: object) -> None:
        self.done.set()

    def fail(self, item: Item, failure: Failure) -> None:
        if item.timings.predict_ms == 0:  # predict itself; what a blank picture decodes to is no fault
            self.failure = failure
        self.done.set()


class ModelLoader:
    """Loads models the way one worker is configured."""

    def __init__(self, config: WorkerConfig, lanes: int, stages: Stages) -> None:
        self._config = config
        self._lanes = lanes
        self._stages = stages

    def runtime_of(self, config: ModelConfig) -> str:
        """Return the name of the runtime that a model is for.

        Raises:
            ModelLoadError: it is to be told by the kind of file, and that does not tell.
        """
        name = config.runtime or self._config.runtime
        return runtime_for(config.path) if name == "auto" else name

    def load(self, config: ModelConfig, runtime: str) -> LoadedModel:
        """Load and warm up one model.

        Raises:
            ModelFileError, RuntimeAdapterError, PostprocessorError: it cannot be had, read, run or
                understood; one line for a person.
        """
        began, memory = time.perf_counter(), _resident_bytes()
        # OpenCV loads beside the runtime, and not behind it.
        threading.Thread(target=self._stages.pictures.preload, name="preload", daemon=True).start()
        compiled = self._compile(config, runtime)
        try:
            plan, warnings = self._plan(config, compiled)
            pipeline = ModelPipeline(plan, self._stages)
        except Exception:
            compiled.close()
            raise
        loaded = time.perf_counter()
        _warm_up(pipeline)
        return LoadedModel(
            config,
            pipeline,
            load_ms=(loaded - began) * 1000,
            warmup_ms=(time.perf_counter() - loaded) * 1000,
            memory_bytes=max(0, _resident_bytes() - memory),
            warnings=warnings,
        )

    def _compile(self, config: ModelConfig, runtime: str) -> CompiledModel:
        # Before the file: a runtime that cannot run here says more than a path that is not there.
        adapter = get_runtime(runtime)
        options = RuntimeOptions(
            device=config.device,
            lanes=self._lanes,
            intra_threads=config.intra_threads,
            inter_threads=config.inter_threads,
            spinning=config.spinning,
        )
        return adapter.compile(resolve(config.ref), options)

    def _lane_count(self, compiled: CompiledModel) -> int:
        """Return how many lanes a model gets: one, where "auto" meets a device that gains from batches."""
        adaptive = self._config.batch_mode is BatchMode.ADAPTIVE
        gains = compiled.max_batch_size > 1 and not compiled.device.on_cpu
        return 1 if adaptive and gains and self._config.concurrency is None else self._lanes

    def _plan(self, config: ModelConfig, compiled: CompiledModel) -> tuple[ModelPlan, tuple[str, ...]]:
        spec, layout = _picture_input(compiled.inputs)
        description = ModelDescription(compiled.inputs, compiled.outputs, compiled.metadata)
        postprocessor = bind(
            config.postprocessor, description, PostprocessorSettings(config.labels, config.extra)
        )
        width, height, warnings = _input_size(spec, compiled.metadata.image_size, config.input_size)
        recipe = postprocessor.recipe
        if spec.channels == 1:
            recipe = dataclasses.replace(recipe, channels=ChannelOrder.GRAY)
        mode = self._config.batch_mode
        lanes = self._lane_count(compiled)
        limit = batch_limit(mode, self._config.max_batch_size, compiled.max_batch_size)
        plan = ModelPlan(
            compiled,
            postprocessor,
            spec.name,
            PrepareOptions(width, height, layout, spec.dtype, config.preprocess_mode, recipe),
            generation=next(_generations),
            lanes=lanes,
            batch_limit=limit,
            merges=mode is BatchMode.ADAPTIVE,
            lanes_prepare=_lanes_prepare(mode, limit, lanes, compiled),
        )
        return plan, warnings


def _lanes_prepare(mode: BatchMode, limit: int, lanes: int, compiled: CompiledModel) -> bool:
    """Return whether each lane prepares what it predicts: on the CPU, where the lanes have all the cores."""
    alone = limit == 1 and mode in {BatchMode.NONE, BatchMode.ADAPTIVE}
    return alone and compiled.device.on_cpu and lanes >= available_cores()


def blank_item(pipeline: ModelPipeline, reply: Reply) -> Item:
    """Return a picture of one pixel on its way to `reply`: what a model is warmed up with."""
    options = ItemOptions(ResultOptions(), DecodeOptions())
    pixel = Frame(memoryview(bytes(1)), 1, 1, PixelFormat.GRAY)
    return Item(PacketSource(pixel, ""), pipeline.key(options), options, reply, Timings(time.perf_counter()))


def auto_concurrency() -> int:
    """Return how many predict threads "auto" means: one a core, as each runs one native thread."""
    return max(1, min(8, available_cores()))


def _picture_input(inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, Layout]:
    """Return the input that takes pictures, and where its channels are.

    Raises:
        ModelLoadError: there is none, or there are inputs that no picture can fill.
    """
    pictures = [(spec, spec.layout) for spec in inputs if spec.kind is TensorKind.IMAGE and spec.layout]
    if not pictures or len(inputs) > 1:
        found = ", ".join(f"{spec.name} {list(spec.shape)} {spec.dtype}" for spec in inputs)
        raise ModelLoadError(
            f"not an image model: it must take one picture and nothing else, but takes {found}"
        )
    return pictures[0]


def _input_size(
    spec: TensorSpec, recommended: tuple[int, int] | None, configured: tuple[int, int] | None
) -> tuple[int, int, tuple[str, ...]]:
    """Return width, height and warnings: what the model fixes, else what is configured, else recommended."""
    wanted = configured or recommended or (DEFAULT_SIDE, DEFAULT_SIDE)
    fixed = spec.image_size
    width, height = (ask if own == DYNAMIC else own for own, ask in zip(fixed, wanted, strict=True))
    if configured and (width, height) != configured:
        asked = "x".join(map(str, configured))
        return (
            width,
            height,
            (f"inputSize {asked} is ignored: the model's input is fixed to {width}x{height}",),
        )
    return width, height, ()


def _warm_up(pipeline: ModelPipeline) -> None:
    """Run one blank picture through the model's own lane, so that the first request pays for nothing.

    Raises:
        ModelLoadError: the model cannot run it.
    """
    reply = _WarmUp()
    pipeline.queue.submit(Group([blank_item(pipeline, reply)]))
    reply.done.wait()
    if reply.failure is not None:
        pipeline.lanes.close()
        raise ModelLoadError(f"the warm-up failed: {reply.failure.text}")


def _resident_bytes() -> int:
    """Return the process's resident memory; 0 where the system does not tell cheaply."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
