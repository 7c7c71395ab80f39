"""Core ML behind the seam: descriptions are read anywhere, models run on macOS."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from model_files.base import ModelFiles
from runtimes.base import CompiledModel, Lane
from runtimes.batching import BatchPlan, BatchProof, BatchRunner
from runtimes.coreml_devices import choose_units
from runtimes.coreml_features import Declaration, FeatureKind
from runtimes.coreml_files import read_declaration
from runtimes.coreml_library import Features, InstalledLibrary, Library, Predictor, check_picture
from runtimes.coreml_tensors import FeatureWriter, to_tensors
from runtimes.errors import InferenceError, RuntimeUnavailableError
from runtimes.options import RuntimeOptions
from runtimes.spec import DeviceReport, ModelDescription, ModelMetadata, TensorMap, TensorSpec

NOT_HERE = 'Core ML runs on macOS: runtime coreml cannot predict here; "runtime": "auto" goes by the file'
_MAX_TEXT = 300


def describe(path: Path) -> ModelDescription:
    """Return what a model is, on any platform; raises as `runtimes.base.Runtime.compile`."""
    return read_declaration(path).describe()


class CoreMLRuntime:
    """Compiles `.mlmodel`, `.mlpackage` and `.mlmodelc`."""

    def __init__(self, library: Library | None = None) -> None:
        """Raises `RuntimeUnavailableError` where Core ML is not, unless a library is given."""
        if library is None and sys.platform != "darwin":
            raise RuntimeUnavailableError(NOT_HERE)
        self._library = library or InstalledLibrary()

    def compile(self, model: ModelFiles, options: RuntimeOptions) -> CompiledModel:
        """Read and compile a model; see `runtimes.base.Runtime.compile`."""
        declaration = read_declaration(model.path)
        if any(item.kind is FeatureKind.IMAGE for item in declaration.shown):
            check_picture(self._library)
        choice = choose_units(options.device)
        predictor = self._library.load(model.path, choice.unit)
        return CoreMLModel(predictor, declaration, choice.report, self._library)


class CoreMLModel:
    """One compiled model, shared by all lanes, which take turns.

    Apple's documentation has an MLModel used by one thread at a time, and coremltools holds the
    interpreter's lock while it predicts: a model for each lane would cost memory and gain nothing.
    """

    def __init__(
        self, predictor: Predictor, declaration: Declaration, device: DeviceReport, library: Library
    ) -> None:
        description = declaration.describe()
        self.inputs: tuple[TensorSpec, ...] = description.inputs
        self.outputs: tuple[TensorSpec, ...] = description.outputs
        self.metadata: ModelMetadata = description.metadata
        self.device = device
        self._declaration = declaration
        self._library = library
        self._plan: BatchPlan = declaration.plan
        self._proof = BatchProof(self._plan)
        self._predictor: Predictor | None = predictor
        self._turn = threading.Lock()

    @property
    def max_batch_size(self) -> int:
        """The most items that one native call takes, as rows of its arrays or as a list."""
        return self._plan.max_batch_size

    def open_lane(self) -> Lane:
        """Return a lane with input buffers of its own."""
        writer = FeatureWriter(self._declaration, self.inputs, self._library)
        if self._declaration.stacks:
            return BatchRunner(self._plan, self._proof, _RowsCall(self, writer))
        return _ListLane(self, writer, self._plan.max_batch_size)

    def close(self) -> None:
        """Let the model go; it lives on until the calls that are in it return."""
        self._predictor = None

    def predict(self, items: Sequence[Features]) -> list[TensorMap]:
        """Run items in one call, when it is this lane's turn; raises `InferenceError`."""
        with self._turn:
            predictor = self._predictor
            if predictor is None:
                raise InferenceError("the model is closed")
            try:
                results = [predictor.predict(items[0])] if len(items) == 1 else predictor.predict(list(items))
            except Exception as exc:  # coremltools raises bare Exceptions
                raise InferenceError(_short_text(exc)) from exc
        return [to_tensors(self._declaration, result) for result in results]


class _RowsCall:
    """A call that takes its items as rows of arrays."""

    def __init__(self, model: CoreMLModel, writer: FeatureWriter) -> None:
        self._model = model
        self._writer = writer

    def __call__(self, tensors: TensorMap) -> TensorMap:
        [result] = self._model.predict([self._writer.write(tensors, 0)])
        return result


class _ListLane:
    """A lane whose calls take a list of items: the batch interface of Core ML."""

    def __init__(self, model: CoreMLModel, writer: FeatureWriter, size: int) -> None:
        self._model = model
        self._writer = writer
        self._size = size

    def infer(self, batch: Sequence[TensorMap]) -> list[TensorMap]:
        """Run every item; see `runtimes.base.Lane.infer`."""
        results: list[TensorMap] = []
        for start in range(0, len(batch), self._size):
            chunk = batch[start : start + self._size]
            items = [self._writer.write(item, place) for place, item in enumerate(chunk)]
            answers = self._model.predict(items)
            if len(answers) != len(chunk):
                raise InferenceError(f"the model takes {len(chunk)} items and answers with {len(answers)}")
            results += answers
        return results


def _short_text(exc: Exception) -> str:
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
