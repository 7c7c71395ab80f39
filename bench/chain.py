"""One model with the project's own rooms and nothing of the worker: decode, prepare, predict, postprocess."""

from collections.abc import Sequence
from dataclasses import dataclass

from model_files import resolve
from model_files.base import ModelRef
from postprocessors import bind
from postprocessors.base import BoundPostprocessor, PostprocessContext, ResultOptions
from postprocessors.results import Result
from preprocess.buffers import BufferPool
from preprocess.decode import decode
from preprocess.frame import Frame, Prepared
from preprocess.options import DecodeOptions, PrepareOptions
from preprocess.prepare import prepare
from protocol.messages import CacheFrame, InferBatch, InferJpeg, InferRaw, decode_message
from protocol.picture import Picture
from protocol.pixel_format import PixelFormat
from runtimes import get_runtime, runtime_for
from runtimes.base import CompiledModel, Lane
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, ModelDescription, TensorMap, TensorSpec

DEFAULT_SIDE = 640

POOL_BYTES = 64 << 20
"""Idle memory that is kept for reuse: as much as the worker keeps."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """A compiled model, and how it is fed and read. Threads share it; each opens its own lane."""

    compiled: CompiledModel
    postprocessor: BoundPostprocessor
    input: TensorSpec
    options: PrepareOptions
    pool: BufferPool

    def prepare(self, frame: Frame) -> Prepared:
        """Decode a picture and make its tensor."""
        return prepare(decode(frame, DecodeOptions(), self.pool), self.options, None, self.pool)

    def predict(self, lane: Lane, prepared: Prepared) -> TensorMap:
        """Run the model alone."""
        (outputs,) = self.predict_all(lane, [prepared])
        return outputs

    def predict_all(self, lane: Lane, prepared: Sequence[Prepared]) -> list[TensorMap]:
        """Run the model alone, all pictures in one call."""
        return lane.infer([{self.input.name: each.tensor} for each in prepared])

    def finish(self, lane: Lane, prepared: Prepared) -> Result:
        """Predict and postprocess."""
        return self.finish_all(lane, [prepared])[0]

    def finish_all(self, lane: Lane, prepared: Sequence[Prepared]) -> list[Result]:
        """Predict in one call, and postprocess each."""
        outputs = self.predict_all(lane, prepared)
        return [
            self.postprocessor.run(each, PostprocessContext(picture.transform, ResultOptions()))
            for each, picture in zip(outputs, prepared, strict=True)
        ]


def open_chain(path: str, options: RuntimeOptions, postprocessor_name: str = "yolo") -> Chain:
    """Load a model, by the worker's defaults."""
    compiled = get_runtime(runtime_for(path)).compile(resolve(ModelRef(path)), options)
    spec, metadata = compiled.inputs[0], compiled.metadata
    described = ModelDescription(compiled.inputs, compiled.outputs, metadata)
    postprocessor = bind(postprocessor_name, described)
    wanted = metadata.image_size or (DEFAULT_SIDE, DEFAULT_SIDE)
    width, height = (ask if own == DYNAMIC else own for own, ask in zip(spec.image_size, wanted, strict=True))
    assert spec.layout is not None
    how = PrepareOptions(width, height, spec.layout, spec.dtype, recipe=postprocessor.recipe)
    return Chain(compiled, postprocessor, spec, how, BufferPool(POOL_BYTES))


def frames_of(type_byte: int, payload: bytes | memoryview) -> Sequence[Frame]:
    """Return the pictures of a request's payload, as views of it."""
    message = decode_message(type_byte, 0, payload, strict=True)
    match message:
        case InferJpeg():
            return [Frame(message.data, 0, 0, PixelFormat.ENCODED)]
        case InferRaw() | CacheFrame():
            return [_frame(message.picture)]
        case InferBatch():
            return [_frame(picture) for picture in message.pictures]
        case _:
            raise ValueError(f"a request of type {type_byte} brings no picture")


def _frame(picture: Picture) -> Frame:
    return Frame(picture.data, picture.width, picture.height, picture.format)
