"""The smallest runtime that is one: it scores a picture's mean colour, with numpy alone.

A model is a JSON file: {"size": 8, "labels": ["red", "green"], "weights": [[1, 0, 0], [0, 1, 0]]}.
It answers `scores` [1, n]: the weights of each label times the mean of each channel.

What a runtime is, `runtimes.base` says: `Runtime.compile` gives a `CompiledModel`, `open_lane` a `Lane`
for each thread that predicts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_files.base import ModelFiles
from runtimes.base import CompiledModel, Lane
from runtimes.errors import InferenceError, ModelLoadError
from runtimes.inputs import DeclaredTensor, input_specs
from runtimes.options import RuntimeOptions
from runtimes.spec import DeviceReport, ModelMetadata, TensorMap, TensorSpec

DEVICE = "cpu"


class ColourRuntime:
    """Compiles JSON files. Its constructor is where a library is imported, and may raise `ImportError`."""

    def compile(self, model: ModelFiles, options: RuntimeOptions) -> CompiledModel:
        """Read a file; every fault of it is a `ModelLoadError` of one line for a person."""
        try:
            content = json.loads(model.path.read_bytes())
            weights = np.array(content["weights"], np.float32)
            labels = tuple(map(str, content["labels"]))
            size = int(content["size"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ModelLoadError(f"{model.path} is not a colour model: {exc}") from exc
        if weights.shape != (len(labels), 3):
            raise ModelLoadError(f"{model.path} has weights {list(weights.shape)} for {len(labels)} labels")
        return ColourModel(weights, labels, size, _device(options.device))


class ColourModel:
    """Tells what goes in and out, and on which device; shared by all lanes."""

    max_batch_size = 1

    def __init__(
        self, weights: NDArray[np.float32], labels: tuple[str, ...], size: int, device: DeviceReport
    ) -> None:
        # The batch axis, channels, height, width: `input_specs` sees by the shape that it is a picture.
        self.inputs = input_specs([DeclaredTensor("images", (1, 3, size, size), "float32")])
        self.outputs = (TensorSpec("scores", (1, len(labels)), "float32"),)
        self.metadata = ModelMetadata(labels=labels, task="classify")
        self.device = device
        self.weights: NDArray[np.float32] | None = weights

    def open_lane(self) -> Lane:
        """Called in the thread that will use the lane."""
        return ColourLane(self)

    def close(self) -> None:
        """Let go of what is held; lanes that are still open answer with an error from then on."""
        self.weights = None


@dataclass(frozen=True)
class ColourLane:
    """One thread's means to run the model."""

    model: ColourModel

    def infer(self, batch: Sequence[TensorMap]) -> list[TensorMap]:
        """Run every item; each tensor has a batch axis of 1, and so have the results."""
        weights = self.model.weights
        if weights is None:
            raise InferenceError("the model is closed")
        return [{"scores": item["images"].mean(axis=(2, 3)) @ weights.T} for item in batch]


def _device(asked: str) -> DeviceReport:
    """Report what really runs: another device than was asked for, with the reason."""
    if asked.lower() in {"", DEVICE}:
        return DeviceReport(asked or DEVICE, DEVICE)
    return DeviceReport(asked, DEVICE, f"unknown device {asked!r}: this runtime has {DEVICE} alone")
