"""Model files: a bad one fails its slot and nothing more; tiny good ones of every kind are served."""

import base64
import hashlib
import os
import shutil
import sys

import numpy as np
import pytest
from contract import tiny_onnx
from onnx import helper
from wire import GRAY, INFER_BATCH, INFER_RAW, RGB, any_raw, batch, pixels, raw

CONFIG = {
    "protocol": 3,
    "runtime": "onnxruntime",
    "models": [{"path": "fake:noop?size=32", "runtime": "fake"}],
}
GOOD_SLOT, SLOT = 0, 1


@pytest.fixture
def host(shared_host):
    """A worker whose slot 1 is free for the taking."""
    host = shared_host(CONFIG)
    yield host
    host.command("unload", index=SLOT)


def load(host, path, **config):
    return host.command("load", index=SLOT, config={"path": str(path), **config})


def refused(host, path, code, *words, **config) -> None:
    """A load fails so, its slot stays empty, the worker lives, and other slots serve."""
    answer = load(host, path, **config)

    assert (answer["cmd"], answer["index"], answer["status"]) == ("load", SLOT, "error"), answer
    assert answer["code"] == code
    for word in words:
        assert word.lower() in answer["error"].lower()
    assert answer["slot"]["error"] == answer["error"]
    assert answer["slot"]["loaded"] is False
    assert host.ask(INFER_RAW, any_raw(SLOT))["code"] == "model_not_loaded"
    assert host.ask(INFER_RAW, any_raw(GOOD_SLOT))["detections"] == []


def test_a_missing_file(host, tmp_path):
    refused(host, tmp_path / "none.onnx", "provider_failed", "no such file", "none.onnx")


def test_an_empty_file(host, tmp_path):
    (tmp_path / "m.onnx").touch()
    refused(host, tmp_path / "m.onnx", "model_not_loaded", "empty")


@pytest.mark.parametrize("kept", [1, 10, 100, -10])
def test_a_truncated_file(host, tmp_path, kept):
    whole = tiny_onnx.means(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[:kept])
    refused(host, tmp_path / "m.onnx", "model_not_loaded", "m.onnx")


def test_a_folder(host, tmp_path):
    refused(host, tmp_path, "model_not_loaded", "folder")


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"\x1c\0\0\0TFL3" + bytes(100), "TensorFlow Lite"),
        (b'<?xml version="1.0"?><net/>', "XML"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "JPEG"),
        (b"what is this", "m.onnx"),
    ],
)
def test_a_file_of_another_kind_is_named(host, tmp_path, head, word):
    (tmp_path / "m.onnx").write_bytes(head)
    refused(host, tmp_path / "m.onnx", "model_not_loaded", word)


LIBRARIES = {
    "onnxruntime": ("onnx", ["onnxruntime"]),
    "openvino": ("openvino", ["openvino"]),
    "litert": ("litert", ["ai_edge_litert", "tflite_runtime"]),
    "torch": ("torch", ["torch"]),
}
"""Of each runtime that runs everywhere: the extra that installs its library, and its modules."""


@pytest.fixture
def bare_host(spawn, tmp_path):
    """A worker that cannot import the library of any runtime, as if none were installed."""
    modules = [module for _, names in LIBRARIES.values() for module in names]
    blocker = f"import sys\nsys.modules.update(dict.fromkeys({modules}))\n"
    (tmp_path / "sitecustomize.py").write_text(blocker)
    return spawn(CONFIG, env={**os.environ, "PYTHONPATH": str(tmp_path)})


def test_a_runtime_whose_library_is_not_here_says_what_installs_it(bare_host, tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    for runtime, (extra, _) in LIBRARIES.items():
        install = f"pip install 'inferpipe[{extra}]'"
        refused(bare_host, tmp_path / "m.tflite", "unsupported", runtime, install, runtime=runtime)
    refused(bare_host, tmp_path / "m.tflite", "unsupported", "inferpipe[litert]", runtime="auto")


@pytest.mark.skipif(sys.platform == "darwin", reason="it is refused everywhere else")
def test_core_ml_is_refused_where_it_cannot_run(host, tmp_path):
    (tmp_path / "m.mlmodel").write_bytes(bytes(100))
    for runtime in ("coreml", "auto"):
        refused(host, tmp_path / "m.mlmodel", "unsupported", "Core ML runs on macOS", runtime=runtime)


def test_auto_and_a_name_that_does_not_tell(host, tmp_path):
    (tmp_path / "model.weights").write_bytes(b"x")
    refused(host, tmp_path / "model.weights", "model_not_loaded", "suffix", runtime="auto")


@pytest.mark.parametrize("uri", ["gopher://owner/name/m.onnx", "nonsense://x"])
def test_a_scheme_without_a_provider(host, uri):
    refused(host, uri, "unsupported", uri.partition(":")[0])


def test_a_digest_that_is_not_the_files(host, tmp_path):
    path = tiny_onnx.means(tmp_path / "m.onnx")
    refused(host, path, "provider_failed", "sha256", sha256="0" * 64)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load(host, path, sha256=digest, postprocessor="raw")["status"] == "ok"


def test_a_model_that_takes_numbers_and_no_picture(host, tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    path = tiny_onnx.save(tmp_path / "m.onnx", nodes, {"x": ("float32", (1, 7))}, {"y": ("float32", (1, 7))})
    refused(host, path, "model_not_loaded", "not an image model", "x", postprocessor="raw")


def test_a_model_that_takes_a_picture_and_more(host, tmp_path):
    nodes = [helper.make_node("Add", ["picture", "scale"], ["sum"])]
    inputs = {"picture": ("float32", (1, 3, 8, 8)), "scale": ("float32", (1,))}
    path = tiny_onnx.save(tmp_path / "m.onnx", nodes, inputs, {"sum": ("float32", (1, 3, 8, 8))})
    refused(host, path, "model_not_loaded", "not an image model", "scale", postprocessor="raw")


def test_an_audio_model(host, shared_data):
    path = shared_data / "models/onnx/silero_vad.onnx"
    refused(host, path, "model_not_loaded", "not an image model")


def test_outputs_that_no_family_has(host, tmp_path):
    refused(host, tiny_onnx.means(tmp_path / "m.onnx"), "model_not_loaded", "means")


@pytest.mark.parametrize("name", ["yolov11x", "", "Raw "])
def test_an_unknown_postprocessor(host, tmp_path, name):
    path = tiny_onnx.means(tmp_path / "m.onnx")
    if name:
        refused(host, path, "model_not_loaded", name, postprocessor=name)
    else:
        refused(host, path, "model_not_loaded", "means", postprocessor=name)


def test_nan_from_a_real_model_is_inference_failed(host, tmp_path):
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "mean"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["nan"]),
        helper.make_node("Reshape", ["nan", "one"], ["scalar"]),
        helper.make_node("Expand", ["scalar", "shape"], ["output0"]),
    ]
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        nodes,
        {"images": ("float32", (1, 3, 32, 32))},
        {"output0": ("float32", (1, 300, 6))},
        metadata={"task": "detect", "end2end": "True"},
        constants={"one": np.array([1, 1, 1], np.int64), "shape": np.array([1, 300, 6], np.int64)},
    )
    assert load(host, path)["status"] == "ok"
    assert host.ask(INFER_RAW, any_raw(SLOT))["code"] == "inference_failed"

    results = host.ask(INFER_BATCH, batch(SLOT, []))
    assert results == {"results": []}


def tensor(answer: dict, name: str = "means") -> np.ndarray:
    entry = answer["tensors"][name]
    return np.frombuffer(base64.b64decode(entry["data"]), entry["dtype"]).reshape(entry["shape"])


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize(
    ("shape", "spatial"),
    [
        (("batch", 3, 8, 8), (2, 3)),
        ((1, 3, 8, 8), (2, 3)),
        ((1, 8, 8, 3), (1, 2)),
        (("batch", 1, 8, 8), (2, 3)),
        (("batch", 3, "height", "width"), (2, 3)),
        ((4, 3, 6, 8), (2, 3)),
    ],
)
def test_inputs_of_every_type_layout_and_size(host, tmp_path, dtype, shape, spatial):
    path = tiny_onnx.means(tmp_path / "m.onnx", shape, dtype=dtype, spatial=spatial, out_batch=shape[0])
    answer = load(
        host,
        path,
        postprocessor="raw",
        preprocessMode="resize",
        inputSize=[8, shape[spatial[0]]] if isinstance(shape[spatial[0]], int) else 8,
    )
    assert answer["status"] == "ok", answer
    assert answer["slot"]["inputs"][0]["dtype"] == dtype

    colour = bytes((200, 100, 50)) * (16 * 16)
    means = tensor(host.ask(INFER_RAW, raw(SLOT, 16, 16, RGB, colour)))
    scale = 1 if dtype == "uint8" else 255
    gray = 1 in shape[1:] and 3 not in shape
    expected = [0.299 * 200 + 0.587 * 100 + 0.114 * 50] if gray else [200, 100, 50]
    assert means.shape == (1, len(expected))
    assert means[0] * scale == pytest.approx(expected, abs=1.2)


@pytest.mark.parametrize("axis", ["batch", 1, 3])
def test_a_batch_on_any_batch_axis(spawn, tmp_path, axis):
    path = tiny_onnx.means(tmp_path / "m.onnx", (axis, 3, 8, 8), out_batch=axis)
    model = {"path": str(path), "postprocessor": "raw"}
    host = spawn({"protocol": 3, "runtime": "onnxruntime", "batch_mode": "list", "models": [model]})
    values = [10, 60, 110, 160, 210]
    items = [(8, 8, RGB, pixels(8, 8, value=value)) for value in values]

    results = host.ask(INFER_BATCH, batch(0, items))["results"]
    assert [round(float(tensor(result)[0, 0]) * 255) for result in results] == values
    assert {result["batchSize"] for result in results} == {5}


def test_one_channel_in_and_gray_pixels(host, tmp_path):
    path = tiny_onnx.means(tmp_path / "m.onnx", ("batch", 1, 8, 8))
    load(host, path, postprocessor="raw")
    answer = host.ask(INFER_RAW, raw(SLOT, 8, 8, GRAY, pixels(8, 8, 1, 77)))
    assert tensor(answer)[0] * 255 == pytest.approx([77], abs=0.1)


@pytest.mark.parametrize(
    ("device", "fallback"), [("cpu", False), ("", False), ("CPU", False), ("cuda", True), ("nonsense", True)]
)
def test_the_device_in_effect_and_why(host, tmp_path, device, fallback):
    path = tiny_onnx.means(tmp_path / "m.onnx")
    slot = load(host, path, postprocessor="raw", device=device)["slot"]
    assert slot["loaded"] is True
    if slot["device"] == "cpu":
        assert ("deviceFallback" in slot) is fallback


def test_a_model_file_may_go_once_it_is_loaded(host, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    path = tiny_onnx.means(folder / "m.onnx")
    load(host, path, postprocessor="raw")
    shutil.rmtree(folder)
    assert "tensors" in host.ask(INFER_RAW, any_raw(SLOT))


def test_a_path_with_spaces_and_umlauts(host, tmp_path):
    path = tiny_onnx.means(tmp_path / "mödel one.onnx")
    answer = load(host, path, postprocessor="raw")
    assert (answer["status"], answer["slot"]["path"]) == ("ok", str(path))
    file_uri = load(host, path.as_uri(), postprocessor="raw")
    assert file_uri["status"] == "ok"
