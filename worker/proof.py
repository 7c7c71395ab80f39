"""What a model has to show before it serves: pictures through its own queue, threads and lanes.

Runs on the thread of the load, before the model has any other request.
"""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from postprocessors.base import ResultOptions
from postprocessors.results import Result
from preprocess.frame import Frame
from preprocess.options import DecodeOptions
from protocol.pixel_format import PixelFormat
from runtimes.errors import ModelLoadError
from runtimes.spec import TensorMap
from worker.config import ModelConfig
from worker.errors import Failure
from worker.expectations import unmet
from worker.golden import golden_frame, misshapen
from worker.pipeline import ModelPipeline
from worker.requests import Group, Item, ItemOptions, Reply, Timings
from worker.sources import PacketSource

_PATIENCE_S = 60.0
"""How long the answer of a model may take that has been warmed up; a call that hangs fails its load."""

_EVERYTHING = ResultOptions(confidence=0.0)
"""Of the golden picture: decoding refuses NaN and infinities in what is reported, and so sees all of it."""


@dataclass(slots=True)
class _Outcome:
    """The reply of one picture, and the outputs that it was made of."""

    done: threading.Event = field(default_factory=threading.Event)
    failure: Failure | None = None
    result: Result | None = None
    outputs: TensorMap = field(default_factory=dict)
    predicted: bool = False
    """Whether the predict call itself returned."""

    def succeed(self, item: Item, result: Result) -> None:
        self.result = result
        self.predicted = True
        self.done.set()

    def fail(self, item: Item, failure: Failure) -> None:
        self.failure = failure
        self.predicted = item.timings.predict_ms > 0
        self.done.set()

    def see(self, outputs: TensorMap) -> None:
        self.outputs = outputs


def blank_item(pipeline: ModelPipeline, reply: Reply) -> Item:
    """Return a picture of one pixel on its way to `reply`: what a model is warmed up with."""
    pixel = Frame(memoryview(bytes(1)), 1, 1, PixelFormat.GRAY)
    return _item(pipeline, pixel, ItemOptions(ResultOptions(), DecodeOptions()), reply)


def warm_up(pipeline: ModelPipeline) -> None:
    """Run one blank picture through the model's own lane, so that the first request pays for nothing.

    Raises:
        ModelLoadError: the model cannot run it. What a blank picture decodes to is no fault.
    """
    outcome = _Outcome()
    pipeline.queue.submit(Group([blank_item(pipeline, outcome)]))
    outcome.done.wait()
    if outcome.failure is not None and not outcome.predicted:
        raise ModelLoadError(f"the warm-up failed: {outcome.failure.text}")


def run_golden(pipeline: ModelPipeline) -> None:
    """Run the golden picture, which must have outputs of the declared shapes and a result without NaN.

    Raises:
        ModelLoadError: it does not.
    """
    plan = pipeline.plan
    frame = golden_frame(plan.prepare.width, plan.prepare.height)
    outcome = _Outcome()
    pipeline.show_outputs(outcome.see)
    _run(pipeline, frame, ItemOptions(_EVERYTHING, DecodeOptions()), outcome, "the golden picture")
    pipeline.show_outputs(None)
    fault = misshapen(outcome.outputs, plan.compiled.outputs)
    if fault is not None:
        raise ModelLoadError(f"the golden picture failed: {fault}")


def run_verify(pipeline: ModelPipeline, config: ModelConfig, decoding: DecodeOptions) -> None:
    """Run the picture of a model's `verify`, in which everything expected must be found.

    Raises:
        ModelLoadError: the picture cannot be read, it has no result, or something is missing.
    """
    verify = config.verify
    if verify is None:
        return
    what = f"verify of {verify.image}"
    try:
        data = Path(verify.image).read_bytes()
    except OSError as error:
        raise ModelLoadError(f"{what}: the picture cannot be read: {error.strerror}") from error
    outcome = _Outcome()
    options = ItemOptions(ResultOptions(confidence=config.confidence), decoding)
    result = _run(pipeline, Frame(memoryview(data), 0, 0, PixelFormat.ENCODED), options, outcome, what)
    missing = unmet(verify, result)
    if missing is not None:
        raise ModelLoadError(f"{what}: {missing}")


def _run(pipeline: ModelPipeline, frame: Frame, options: ItemOptions, outcome: _Outcome, what: str) -> Result:
    pipeline.queue.submit(Group([_item(pipeline, frame, options, outcome)]))
    if not outcome.done.wait(_PATIENCE_S):
        raise ModelLoadError(f"{what} was not answered within {_PATIENCE_S:.0f} s")
    if outcome.failure is not None or outcome.result is None:
        raise ModelLoadError(f"{what} failed: {outcome.failure.text if outcome.failure else 'no result'}")
    return outcome.result


def _item(pipeline: ModelPipeline, frame: Frame, options: ItemOptions, reply: Reply) -> Item:
    source = PacketSource(frame, "")
    return Item(source, pipeline.key(options), options, reply, Timings(time.perf_counter()))
