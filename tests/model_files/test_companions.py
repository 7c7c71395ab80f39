"""What belongs to a main file, by its name and by what is in it."""

import json
import os
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data

from model_files.companions import (
    MAX_INDEX_BYTES,
    Companion,
    companions_of,
    entry_file,
    folder_files,
    is_folder,
    listed_in,
)
from model_files.errors import InvalidReferenceError, SourceFailedError
from model_files.onnx_external import external_locations

NOTHING = memoryview(b"")


def named(path: str, content: bytes = b"") -> list[tuple[str, bool]]:
    return [(other.path, other.required) for other in companions_of(path, memoryview(content))]


def index(weights: object) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": weights}).encode()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("m.xml", [("m.bin", True), ("metadata.yaml", False)]),
        ("a/m.v1.XML", [("a/m.v1.bin", True), ("a/metadata.yaml", False)]),
        ("a/m.bin", [("a/m.xml", False), ("a/metadata.yaml", False)]),
        ("m.tflite", []),
        ("m.pt", []),
        ("m.onnx", []),
        ("README.md", []),
    ],
)
def test_by_name(path: str, expected: list[tuple[str, bool]]) -> None:
    assert named(path) == expected


def test_shards() -> None:
    content = index(
        {"a": "model-2-of-2.safetensors", "b": "model-1-of-2.safetensors", "c": "x/3.safetensors"}
    )
    assert [path for path, _ in named("w/model.safetensors.index.json", content)] == [
        "w/model-1-of-2.safetensors",
        "w/model-2-of-2.safetensors",
        "w/x/3.safetensors",
    ]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff", index({}), index([]), index({"a": 1}), b"[" * 100_000],
)
def test_what_is_no_index(content: bytes) -> None:
    with pytest.raises(SourceFailedError, match=r"m\.index\.json"):
        named("m.index.json", content)


def test_an_index_of_absurd_size() -> None:
    with pytest.raises(SourceFailedError, match="too large"):
        named("m.index.json", bytes(MAX_INDEX_BYTES + 1))


@pytest.mark.parametrize("place", ["../x", "/etc/passwd", "a\\b", "C:/x", "a//b", ""])
def test_places_outside_are_refused(place: str) -> None:
    with pytest.raises(InvalidReferenceError, match=r"m\.index\.json names a file that cannot lie beside it"):
        named("m.index.json", index({"a": place}))
    with pytest.raises(InvalidReferenceError, match=r"m\.onnx names a file that cannot lie beside it"):
        named("m.onnx", external_model(place))


def external_model(place: str) -> bytes:
    """Return a model whose one tensor lies elsewhere."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    tensor.external_data.add(key="offset", value="0")
    graph = helper.make_graph([], "g", [], [], initializer=[tensor])
    return helper.make_model(graph).SerializeToString()


def everywhere() -> onnx.ModelProto:
    """Return a model with external tensors in every place where the format allows some."""

    def tensor(place: str) -> TensorProto:
        made = TensorProto(name=place, data_type=TensorProto.FLOAT, dims=[1])
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value=place)
        return made

    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=tensor("attribute"))],
        "inner",
        [],
        [],
        initializer=[tensor("inner")],
    )
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner)
    many = helper.make_node("Custom", [], ["z"], many=[tensor("several-0"), tensor("several-1")])
    graph = helper.make_graph([branch, many], "g", [], [], initializer=[tensor("outer"), tensor("outer")])
    sparse = graph.sparse_initializer.add()
    sparse.values.CopyFrom(tensor("sparse"))
    model = helper.make_model(graph)
    function = model.functions.add(name="f", domain="d")
    function.node.append(helper.make_node("Constant", [], ["c"], value=tensor("function")))
    model.training_info.add().initialization.CopyFrom(
        helper.make_graph([], "t", [], [], initializer=[tensor("training")])
    )
    inline = TensorProto(name="inline", data_type=TensorProto.FLOAT, dims=[1], raw_data=b"\0" * 4)
    inline.external_data.add(key="location", value="not-external")
    model.graph.initializer.append(inline)
    return model


def test_external_data_in_every_place_of_a_model() -> None:
    found = external_locations(memoryview(everywhere().SerializeToString()))
    assert found == (
        "attribute",
        "function",
        "inner",
        "outer",
        "several-0",
        "several-1",
        "sparse",
        "training",
    )


def test_a_file_that_the_library_wrote(tmp_path: Path) -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1024], os.urandom(4096), raw=True)
    model = helper.make_model(helper.make_graph([], "g", [], [], initializer=[weights]))
    convert_model_to_external_data(model, location="m.onnx_data", size_threshold=0)
    onnx.save(model, str(tmp_path / "m.onnx"))
    assert named("sub/m.onnx", (tmp_path / "m.onnx").read_bytes()) == [("sub/m.onnx_data", True)]


@given(st.binary(max_size=300))
def test_any_bytes_are_walked_without_an_error(content: bytes) -> None:
    external_locations(memoryview(content))


@given(st.data())
def test_a_damaged_model_is_walked_without_an_error(data: st.DataObject) -> None:
    content = bytearray(everywhere().SerializeToString())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    external_locations(memoryview(bytes(content[: data.draw(st.integers(0, len(content)))])))


def test_real_models_name_no_external_data(shared_data: Path) -> None:
    for path in (shared_data / "models" / "onnx").glob("*.onnx"):
        assert named(path.name, path.read_bytes()) == []


def test_real_openvino_files_have_what_the_rule_says(shared_data: Path) -> None:
    found = list((shared_data / "models" / "openvino").rglob("*.xml"))
    assert found
    for path in found:
        assert all((path.parent / name).is_file() for name, required in named(path.name) if required)


MANIFEST = {
    "itemInfoEntries": {
        "1": {"path": "com.apple.CoreML/model.mlmodel"},
        "2": {"path": "com.apple.CoreML/weights"},
        "3": {"name": "nothing"},
        "4": 5,
    }
}


def test_a_package_by_its_manifest() -> None:
    assert is_folder("a/M.MLPackage")
    assert entry_file("a/m.mlpackage") == Companion("a/m.mlpackage/Manifest.json")
    assert folder_files("a/m.mlpackage", memoryview(json.dumps(MANIFEST).encode())) == (
        Companion("a/m.mlpackage/Data/com.apple.CoreML/model.mlmodel"),
        Companion("a/m.mlpackage/Data/com.apple.CoreML/weights/weight.bin", required=False),
    )


def test_a_manifest_that_leads_out() -> None:
    manifest = json.dumps({"itemInfoEntries": {"1": {"path": "../../x.mlmodel"}}}).encode()
    with pytest.raises(InvalidReferenceError):
        folder_files("m.mlpackage", memoryview(manifest))


def test_a_real_package_is_told_by_its_manifest(shared_data: Path) -> None:
    package = shared_data / "models" / "coreml" / "yolo26n.mlpackage"
    others = folder_files(package.name, memoryview((package / "Manifest.json").read_bytes()))
    told = {entry_file(package.name).path, *(other.path for other in others)}
    assert told == {str(path.relative_to(package.parent)) for path in package.rglob("*") if path.is_file()}


def test_a_compiled_model_by_usual_names() -> None:
    assert entry_file("m.mlmodelc") == Companion("m.mlmodelc/coremldata.bin")
    assert not any(other.required for other in folder_files("m.mlmodelc", NOTHING))


def test_what_is_listed() -> None:
    listing = ("m.mlpackage/Manifest.json", "m.mlpackage2/x", "m.mlpackage/Data/x", "other")
    assert [other.path for other in listed_in("m.mlpackage", listing)] == [
        "m.mlpackage/Manifest.json",
        "m.mlpackage/Data/x",
    ]
    with pytest.raises(InvalidReferenceError):
        listed_in("m.mlpackage", ("m.mlpackage/../../x",))
