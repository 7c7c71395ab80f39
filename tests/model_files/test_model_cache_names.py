"""Which model and file a `modelcache:` reference names."""

import pytest

from model_files.errors import InvalidReferenceError
from model_files.model_cache import ModelCacheSource, model_cache_names
from model_files.settings import ModelCacheSettings, ProviderSettings


@pytest.mark.parametrize(
    ("uri", "model_id", "path"),
    [
        ("modelcache://demo/yolov8n/model.onnx", "demo/yolov8n", "model.onnx"),
        ("modelcache://demo/yolov8n/onnx/model.onnx", "demo/yolov8n", "onnx/model.onnx"),
        ("MODELCACHE://demo/yolov8n/model.onnx", "demo/yolov8n", "model.onnx"),
        ("modelcache://gpt2/config.json", "gpt2", "config.json"),
        ("modelcache://gpt2//config.json", "gpt2", "config.json"),
        ("modelcache://gpt2//onnx/decoder/model.onnx", "gpt2", "onnx/decoder/model.onnx"),
        ("modelcache://demo/yolov8n//onnx/model.onnx", "demo/yolov8n", "onnx/model.onnx"),
        ("modelcache://demo/name with spaces/modèle #1.onnx", "demo/name with spaces", "modèle #1.onnx"),
    ],
)
def test_a_reference(uri: str, model_id: str, path: str) -> None:
    assert model_cache_names(uri) == (model_id, path)


@pytest.mark.parametrize(
    "names",
    [
        "",
        "demo",
        "demo/",
        "/demo",
        "//demo",
        "demo//",
        "a/b/c//file",
        "demo/m//a//b",
        "demo/m/../secret",
        "../demo/secret",
        "demo/m/./file",
        "demo/m/file/",
        "demo\\m\\file",
        "C:/demo/file",
        "demo/m/a\0b",
        "demo/m/a\nb",
        "demo/m/\udcff",
        "demo/m/nul",
        "demo/m/file?x=1",
        "demo/" + "x" * 300,
    ],
)
def test_what_names_no_file(names: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        model_cache_names(f"modelcache://{names}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("uri", ["modelcache:demo/m/file", "modelcache:/demo/m/file", "other://demo/m/file"])
def test_another_scheme(uri: str) -> None:
    with pytest.raises(InvalidReferenceError, match="expected modelcache://owner/name/file"):
        model_cache_names(uri)


def test_the_server_is_part_of_what_is_located() -> None:
    settings = ProviderSettings(modelcache=ModelCacheSettings("cache.example:50052"))
    file = ModelCacheSource(settings).locate("modelcache://demo/yolov8n/model.onnx")
    assert (file.scheme, file.place, file.model_id) == ("modelcache", "cache.example:50052", "demo/yolov8n")
    assert file.uri == "modelcache://cache.example:50052/demo/yolov8n/model.onnx"
