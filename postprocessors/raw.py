"""`raw`: a model's outputs as they are, for hosts that decode them themselves."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postprocessors.base import BoundPostprocessor, PostprocessContext, PostprocessorSettings
from postprocessors.results import RawTensor, RawTensors
from preprocess.options import InputRecipe
from runtimes.spec import ModelDescription, TensorMap


def bind_raw(model: ModelDescription, settings: PostprocessorSettings) -> BoundPostprocessor:
    """Fits every model. Pictures come as RGB from 0 to 1, centred, as most exporters have it."""
    return BoundPostprocessor(
        name="raw", run=raw_tensors, recipe=InputRecipe(), labels=settings.labels or model.metadata.labels
    )


def raw_tensors(outputs: TensorMap, _context: PostprocessContext) -> RawTensors:
    """Every output with its batch axis; NaN and infinities may be in them."""
    return RawTensors(tensors={name: raw_tensor(array) for name, array in outputs.items()})


def raw_tensor(array: NDArray[Any]) -> RawTensor:
    """One tensor's elements, row-major and little-endian, in base64."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    data = base64.b64encode(little.data if little.size else b"").decode("ascii")
    return RawTensor(shape=list(array.shape), dtype=array.dtype.name, data=data)
