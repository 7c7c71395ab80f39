"""The forms that a Core ML model comes in, whole and broken."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("coremltools", reason="coremltools is not installed")

from contract import tiny_coreml

from runtimes.coreml import describe
from runtimes.errors import ModelLoadError
from runtimes.spec import DYNAMIC

SCHEMA = {
    "userDefinedMetadata": {"names": "{0: 'a'}", "task": "detect"},
    "inputSchema": [
        {
            "name": "image",
            "type": "Image",
            "isOptional": "0",
            "width": "8",
            "height": "6",
            "colorspace": "Grayscale",
            "hasSizeFlexibility": "1",
            "sizeRange": "[[8, 64], [6, 6]]",
        },
        {"name": "iouThreshold", "type": "Double", "isOptional": "1"},
    ],
    "outputSchema": [
        {
            "name": "coordinates",
            "type": "MultiArray",
            "dataType": "Float16",
            "shape": "[]",
            "shapeRange": "[[0, -1], [4, 4]]",
        },
        {"name": "boxes", "type": "MultiArray", "dataType": "Float32", "shape": "[1, 5, 21]"},
    ],
}


def test_a_compiled_model_tells_by_its_json(tmp_path: Path) -> None:
    folder = tmp_path / "m.mlmodelc"
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps([SCHEMA]))
    model = describe(folder)
    assert [item.name for item in model.inputs] == ["image"]
    assert (model.inputs[0].image_size, model.inputs[0].channels) == ((DYNAMIC, 6), 1)
    assert model.outputs[1].shape == (DYNAMIC, 5, 21)
    assert model.metadata.labels == ("a",)
    (folder / "metadata.json").write_text("[{}]")
    with pytest.raises(ModelLoadError, match="damaged"):
        describe(folder)
    (folder / "metadata.json").unlink()
    with pytest.raises(ModelLoadError, match=r"no metadata\.json"):
        describe(folder)


BROKEN = [
    (b"", "is empty"),
    (b"hello world" * 10, "is not a Core ML model, or is truncated"),
    (b"\x08\x07", "is not a Core ML model, or is truncated"),
    (b"PK\x03\x04" + bytes(100), "is a zip archive"),
    (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
]


@pytest.mark.parametrize(("content", "text"), BROKEN)
def test_a_file_that_is_no_model_says_what_it_is(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "m.mlmodel").write_bytes(content)
    with pytest.raises(ModelLoadError, match=text) as caught:
        describe(tmp_path / "m.mlmodel")
    assert "\n" not in str(caught.value)


def test_packages_that_are_broken(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no such file"):
        describe(tmp_path / "none.mlmodel")
    with pytest.raises(ModelLoadError, match=r"without a Manifest\.json"):
        describe(tmp_path)
    path = tiny_coreml.means(tmp_path / "m.mlpackage", 1)
    manifest = json.loads((path / "Manifest.json").read_text())
    [root] = [item for item in manifest["itemInfoEntries"].values() if "model.mlmodel" in item["path"]]
    kept, root["path"] = root["path"], "../../secret.mlmodel"
    (path / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelLoadError, match="lies outside the package"):
        describe(path)
    whole = (path / "Data" / kept).read_bytes()
    (path / "Data" / kept).write_bytes(whole[: len(whole) // 2])
    root["path"] = kept
    (path / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelLoadError, match="truncated or damaged"):
        describe(path)
    shutil.rmtree(path / "Data")
    with pytest.raises(ModelLoadError, match="no such file"):
        describe(path)
