"""Labels and the like in a model file: TFLite's own, Ultralytics' kinds, and broken ones."""

import json
import struct
from pathlib import Path

import pytest
from contract import tiny_tflite
from hypothesis import given
from hypothesis import strategies as st

from runtimes.litert_file import read_model_file
from runtimes.litert_metadata import read_litert_metadata, read_normalizations
from runtimes.metadata import read_metadata
from runtimes.spec import ModelMetadata


def metadata_of(path: Path, **rest: object) -> ModelMetadata:
    tiny_tflite.means(path / "m.tflite", **rest)
    data = (path / "m.tflite").read_bytes()
    return read_litert_metadata(path / "m.tflite", read_model_file(data).metadata)


def test_tflite_s_own(tmp_path: Path) -> None:
    described = tiny_tflite.describe("classes.txt", [127.5, 0, 1], [128, 1, 58.5])
    tail = {"other_labels.txt": "a\nb\n", "classes.txt": "cat\r\ndog \r\n???\r\nbird\r\n\r\n"}
    metadata = metadata_of(tmp_path, metadata=described, tail=tail)
    assert metadata.labels == ("cat", "dog", "???", "bird")
    assert metadata.properties["name"] == "tiny"
    assert read_normalizations(metadata) == ((127.5, 128), (0, 1), (1, 58.5))


@pytest.mark.parametrize("name", ["labels.txt", "labelmap.txt", "coco_labels.txt"])
def test_a_file_that_is_called_so_serves_without(tmp_path: Path, name: str) -> None:
    metadata = metadata_of(tmp_path, tail={"readme.txt": "hello", name: "cat\ndog\n"})
    assert metadata.labels == ("cat", "dog")


PAIRS = {"task": "detect", "stride": 32, "imgsz": [6, 8], "names": {0: "cat", 1: "dog's"}, "end2end": True}


@pytest.mark.parametrize(
    ("name", "text"),
    [("temp_meta.txt", str(PAIRS)), ("meta.txt", str(PAIRS)), ("metadata.json", json.dumps(PAIRS))],
)
def test_ultralytics_kinds(tmp_path: Path, name: str, text: str) -> None:
    described = tiny_tflite.describe("labels.txt", [0], [255])
    metadata = metadata_of(tmp_path, metadata=described, tail={name: text, "labels.txt": "wrong\n"})
    assert metadata.labels == ("cat", "dog's")
    assert (metadata.task, metadata.stride, metadata.image_size) == ("detect", 32, (8, 6))
    assert metadata.properties["end2end"] == "True"
    assert metadata.properties["name"] == "tiny"


BROKEN = [
    {"tail": {"temp_meta.txt": "{0: "}},
    {"tail": {"metadata.json": "[1, 2]"}},
    {"tail": {"temp_meta.txt": "__import__('os').getcwd()"}},
    {"tail": {"picture.jpg": "labels"}},
    {"metadata": b"junk"},
    {"metadata": b"\x08\0\0\0M001" + b"\xff" * 40},
    {"metadata": tiny_tflite.describe("missing.txt", [1], [1])},
]


@pytest.mark.parametrize("rest", BROKEN)
def test_what_is_broken_is_left_out(tmp_path: Path, rest: dict[str, object]) -> None:
    metadata = metadata_of(tmp_path, **rest)
    assert (metadata.labels, metadata.task) == ((), None)


@pytest.mark.parametrize("kept", [1, 30, 60])
def test_a_tail_that_is_cut_off(tmp_path: Path, kept: int) -> None:
    path = tiny_tflite.means(tmp_path / "m.tflite", tail={"labels.txt": "cat\ndog\n" * 20})
    path.write_bytes(path.read_bytes()[:-kept])
    assert read_litert_metadata(path, b"").labels == ()


def test_a_tail_that_says_it_is_huge_is_not_unpacked(tmp_path: Path) -> None:
    path = tiny_tflite.means(tmp_path / "m.tflite", tail={"labels.txt": "cat\n"})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 1 << 30)
    path.write_bytes(bytes(data))
    assert read_litert_metadata(path, b"").labels == ()


@given(data=st.data())
def test_damage_in_tflite_s_own_is_no_error(data: st.DataObject) -> None:
    described = bytearray(tiny_tflite.describe("labels.txt", [127.5], [127.5]))
    for _ in range(data.draw(st.integers(1, 4))):
        described[data.draw(st.integers(8, len(described) - 1))] = data.draw(st.integers(0, 255))
    assert read_litert_metadata(Path("none.tflite"), bytes(described)).labels == ()


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"normalizationMean": "[1]"},
        {"normalizationMean": "[1]", "normalizationStd": "[0]"},
        {"normalizationMean": "[1]", "normalizationStd": "[1, 2]"},
        {"normalizationMean": "no", "normalizationStd": "[1]"},
        {"normalizationMean": "7", "normalizationStd": "[1]"},
        {"normalizationMean": '["a"]', "normalizationStd": "[1]"},
    ],
)
def test_a_normalisation_that_is_none(properties: dict[str, str]) -> None:
    assert read_normalizations(read_metadata(properties)) == ()
