"""Models and contexts that these tests describe in one line."""

import pytest

from postprocessors.base import PostprocessContext, ResultOptions
from preprocess.frame import Transform
from runtimes.metadata import read_metadata
from runtimes.spec import Layout, ModelDescription, TensorKind, TensorSpec


def describe(*outputs, size=(64, 64), channels=3, dtype="float32", **properties):
    """Describe a model of one picture; outputs as shapes, metadata as exporters write it."""
    image = TensorSpec("images", (-1, channels, size[1], size[0]), "float32", TensorKind.IMAGE, Layout.NCHW)
    specs = tuple(TensorSpec(f"output{index}", shape, dtype) for index, shape in enumerate(outputs))
    return ModelDescription((image,), specs, read_metadata(properties))


def plain_context(width=64, height=64, **options):
    """Source and tensor are the same picture."""
    transform = Transform(width, height, (0, 0, width, height), 1.0, 1.0, 0.0, 0.0, width, height)
    return PostprocessContext(transform, ResultOptions(**options))


@pytest.fixture(scope="session", name="describe")
def describe_fixture():
    return describe


@pytest.fixture(scope="session")
def context():
    return plain_context
