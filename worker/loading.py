"""Loads one model: files, runtime, meaning of its tensors, threads, warm-up. Slow; never on the loop."""

import dataclasses
import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from model_files import ModelFiles, Providers
from model_files.names import file_name
from postprocessors import bind
from postprocessors.base import PostprocessorSettings
from preprocess.options import ChannelOrder, DecodeOptions, PrepareOptions
from runtimes import get_runtime, runtime_for
from runtimes.base import CompiledModel, Runtime
from runtimes.cores import available_cores
from runtimes.errors import ModelLoadError
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, Layout, ModelDescription, TensorKind, TensorSpec
from worker.batching import batch_limit
from worker.config import BatchMode, ModelConfig, WorkerConfig
from worker.fetching import Fetching
from worker.model_memory import MemoryMeter, MeteredModel, ModelTooLargeError, mebibytes
from worker.pipeline import ModelPipeline, ModelPlan, Stages
from worker.proof import run_golden, run_verify, warm_up

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


class ModelLoader:
    """Loads models the way one worker is configured."""

    def __init__(self, config: WorkerConfig, lanes: int, stages: Stages) -> None:
        self._config = config
        self._lanes = lanes
        self._stages = stages
        self._meter = MemoryMeter()
        self._providers = Providers(config.provider.settings)

    @property
    def memory_budget(self) -> int | None:
        """Bytes that all models together may take; None is no bound."""
        return self._config.limits.model_memory_bytes

    def runtime_of(self, config: ModelConfig) -> str:
        """Return the name of the runtime that a model is for.

        Raises:
            ModelLoadError: it is to be told by the kind of file, and that does not tell.
        """
        name = config.runtime or self._config.runtime
        return runtime_for(file_name(config.path)) if name == "auto" else name

    def load(
        self, config: ModelConfig, runtime: str, replaces: bool, fetching: Fetching | None = None
    ) -> LoadedModel:
        """Load and warm up one model, and let it prove itself.

        Args:
            config: the model's.
            runtime: the name of its runtime.
            replaces: whether another model serves, which is worth a proof more than the warm-up.
            fetching: follows what is fetched, and may end it.

        Raises:
            ModelFileError, RuntimeAdapterError, PostprocessorError: it cannot be had, read, run or
                understood, it takes too much memory, or it does not find what it should; one line for
                a person.
        """
        began = time.perf_counter()
        # OpenCV loads beside the runtime, and not behind it.
        preload = threading.Thread(target=self._stages.pictures.preload, name="preload", daemon=True)
        preload.start()
        # Before the file: a runtime that cannot run here says more than a path that is not there.
        adapter = get_runtime(runtime)
        # Before memory is measured: other loads may have to wait for that, and not for the network.
        files = self._files(config, fetching)
        bounded = self.memory_budget is not None or config.max_memory_bytes is not None
        if bounded:
            preload.join()  # libraries stay when the model goes: they are not the model's
        measurement = self._meter.begin(alone=bounded)
        try:
            pipeline, warnings = self._build(config, adapter, files)
            try:
                loaded = time.perf_counter()
                warm_up(pipeline)
                warm = time.perf_counter()
                self._prove(pipeline, config, replaces)
                memory = _bounded(self._meter.grown(measurement), config.max_memory_bytes)
            except Exception:
                pipeline.lanes.close()
                raise
        finally:
            self._meter.end(measurement)
        load_ms, warmup_ms = (loaded - began) * 1000, (warm - loaded) * 1000
        return LoadedModel(config, pipeline, load_ms, warmup_ms, memory, warnings)

    def _files(self, config: ModelConfig, fetching: Fetching | None) -> ModelFiles:
        """Return the model's files, fetched where they are not here."""
        if fetching is None or not self._providers.is_remote(config.path):
            return self._providers.resolve(config.ref)
        fetching.begin()
        try:
            return self._providers.resolve(config.ref, fetching)
        finally:
            fetching.end()

    def _build(
        self, config: ModelConfig, adapter: Runtime, files: ModelFiles
    ) -> tuple[ModelPipeline, tuple[str, ...]]:
        options = RuntimeOptions(
            device=config.device,
            lanes=self._lanes,
            intra_threads=config.intra_threads,
            inter_threads=config.inter_threads,
            spinning=config.spinning,
            hint=config.performance_hint,
            streams=config.streams,
            cache_dir=config.cache_dir,
            half=config.half,
        )
        try:
            compiled = MeteredModel(adapter.compile(files, options), files, self._meter)
        except Exception:
            files.release()
            raise
        try:
            plan, warnings = self._plan(config, compiled)
            return ModelPipeline(plan, self._stages), warnings
        except Exception:
            compiled.close()
            raise

    def _prove(self, pipeline: ModelPipeline, config: ModelConfig, replaces: bool) -> None:
        if replaces:
            run_golden(pipeline)
        run_verify(pipeline, config, DecodeOptions(max_pixels=self._config.limits.max_pixels))

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


def _bounded(grown: int, limit: int | None) -> int:
    """Return what a load has grown the process.

    Raises:
        ModelTooLargeError: it is more than the model may take.
    """
    if limit is not None and grown > limit:
        raise ModelTooLargeError(
            f"the load grew the process by {mebibytes(grown)}, and maxMemoryBytes allows this model"
            f" {mebibytes(limit)}: raise it, or take a smaller model"
        )
    return grown
