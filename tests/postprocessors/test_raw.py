"""Raw tensors: bytes, shapes and names as a host reads them."""

import base64
import math

import msgspec
import numpy as np
import pytest

from postprocessors import bind
from postprocessors.base import PostprocessorSettings
from postprocessors.raw import raw_tensor


@pytest.mark.parametrize(
    ("array", "dtype", "data"),
    [
        (np.array([[1, 2], [3, 4]], np.uint8), "uint8", bytes([1, 2, 3, 4])),
        (np.array([1, -2], np.int16), "int16", b"\x01\x00\xfe\xff"),
        (np.array([1, -2], ">i2"), "int16", b"\x01\x00\xfe\xff"),
        (np.array([1.5], np.float32), "float32", b"\x00\x00\xc0\x3f"),
        (np.array([1.5], np.float16), "float16", b"\x00\x3e"),
        (np.array([[1, 2], [3, 4]], np.uint8).T, "uint8", bytes([1, 3, 2, 4])),
        (np.array(7, np.int64), "int64", b"\x07" + bytes(7)),
        (np.array([True, False]), "bool", b"\x01\x00"),
        (np.empty((1, 0, 4), np.float32), "float32", b""),
    ],
)
def test_elements_are_row_major_and_little_endian(array, dtype, data):
    tensor = raw_tensor(array)
    assert (tensor.shape, tensor.dtype) == (list(array.shape), dtype)
    assert base64.b64decode(tensor.data) == data


def test_every_output_is_there_and_nan_survives(describe, context):
    bound = bind("raw", describe((1, 2), (1, 3)), PostprocessorSettings(labels=("a",)))
    outputs = {"scores": np.array([[math.nan, math.inf]], np.float32), "ids": np.array([[1, 2, 3]])}
    answer = msgspec.json.decode(msgspec.json.encode(bound.run(outputs, context())))
    assert answer["kind"] == "raw"
    assert list(answer["tensors"]) == ["scores", "ids"]
    scores = np.frombuffer(base64.b64decode(answer["tensors"]["scores"]["data"]), "<f4")
    np.testing.assert_array_equal(scores, outputs["scores"][0])
    assert (bound.labels, bound.family, bound.family_reason) == (("a",), None, None)


def test_raw_fits_models_of_every_kind(describe):
    for model in (describe(), describe((1, 1000), task="classify"), describe((1, 8), dtype="int8")):
        assert bind("raw", model).name == "raw"
