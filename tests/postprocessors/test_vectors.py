"""Every postprocessor against recorded outputs and the results that a plain reference found in them."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from postprocessors import POSTPROCESSORS, bind
from postprocessors.base import PostprocessContext, ResultOptions
from preprocess.frame import Transform
from runtimes.metadata import read_metadata
from runtimes.spec import Layout, ModelDescription, TensorKind, TensorSpec

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "postprocess"
NAMES = sorted(path.stem for path in VECTORS.glob("*.json"))


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text()), dict(np.load(VECTORS / f"{name}.npz"))


def model_of(vector):
    (image,) = vector["model"]["inputs"]
    return ModelDescription(
        (TensorSpec(image["name"], tuple(image["shape"]), image["dtype"], TensorKind.IMAGE, Layout.NCHW),),
        tuple(
            TensorSpec(output["name"], tuple(output["shape"]), output["dtype"])
            for output in vector["model"]["outputs"]
        ),
        read_metadata(vector["model"]["metadata"]),
    )


def context_of(vector):
    geometry = vector["transform"]
    transform = Transform(
        *geometry["source"], tuple(geometry["roi"]), *geometry["scale"], *geometry["pad"], *geometry["tensor"]
    )
    return PostprocessContext(transform, ResultOptions(**vector["options"]))


def run(vector, outputs, name):
    bound = bind(name, model_of(vector))
    return bound, msgspec.json.decode(msgspec.json.encode(bound.run(outputs, context_of(vector))))


def assert_same(found, expected):
    """Compare objects in order, boxes to the last decimal written, and one more for float32."""
    assert [each["className"] for each in found] == [each["className"] for each in expected]
    assert [each["classId"] for each in found] == [each["classId"] for each in expected]
    np.testing.assert_allclose(
        [each["score"] for each in found], [each["score"] for each in expected], atol=1.01e-4
    )
    np.testing.assert_allclose(
        [each["bbox"] for each in found], [each["bbox"] for each in expected], atol=0.0201
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("yolo")])
def test_yolo(name):
    vector, outputs = load(name)
    assert len(vector["result"]["detections"]) > 2
    for wanted in (vector["postprocessor"], "yolo"):
        bound, answer = run(vector, outputs, wanted)
        assert bound.family == vector["postprocessor"]
        assert answer["kind"] == "detections"
        assert_same(answer["detections"], vector["result"]["detections"])


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("ssd")])
def test_ssd(name):
    vector, outputs = load(name)
    assert len(vector["result"]["detections"]) > 2
    answer = run(vector, outputs, "ssd")[1]
    assert answer["kind"] == "detections"
    assert_same(answer["detections"], vector["result"]["detections"])


def test_raw():
    vector, outputs = load("raw")
    assert run(vector, outputs, "raw")[1] == vector["result"]


def test_every_postprocessor_has_a_vector():
    assert {load(name)[0]["postprocessor"] for name in NAMES} == POSTPROCESSORS.keys() - {"yolo"}
