"""Model files as the OpenVINO adapter reads them: tiny ones, written here."""

from pathlib import Path

import numpy as np
import pytest
from contract import tiny_onnx
from onnx import TensorProto, helper

from model_files import ModelFiles
from runtimes.base import CompiledModel
from runtimes.errors import ModelLoadError
from runtimes.openvino import OpenVinoRuntime
from runtimes.openvino_library import openvino, read_model
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, Layout, TensorKind

ROOT = Path(__file__).resolve().parents[2]


def compile_file(path: Path, **options: object) -> CompiledModel:
    return OpenVinoRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions(**options))


def save_ir(model: object, path: Path) -> Path:
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def ir_of(path: Path) -> Path:
    return save_ir(read_model(path), path.with_suffix(".xml"))


def pictures(count: int, shape: tuple[int, ...] = (1, 3, 8, 8)) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(count)
    return [{"images": rng.random(shape, np.float32)} for _ in range(count)]


NCHW, NHWC = (2, 3), (1, 2)

# shape, element type, spatial axes, layout, (width, height), channels, max_batch_size
IMAGES = [
    (("batch", 3, 8, 8), "float32", NCHW, Layout.NCHW, (8, 8), 3, 32),
    (("batch", 3, 6, 8), "uint8", NCHW, Layout.NCHW, (8, 6), 3, 32),
    (("batch", 3, 8, 8), "float16", NCHW, Layout.NCHW, (8, 8), 3, 32),
    (("batch", 1, 8, 8), "float32", NCHW, Layout.NCHW, (8, 8), 1, 32),
    (("batch", 6, 8, 3), "uint8", NHWC, Layout.NHWC, (8, 6), 3, 32),
    ((1, 8, 8, 1), "float32", NHWC, Layout.NHWC, (8, 8), 1, 1),
    ((1, 3, 6, 8), "float16", NCHW, Layout.NCHW, (8, 6), 3, 1),
    ((4, 3, 8, 8), "float32", NCHW, Layout.NCHW, (8, 8), 3, 4),
    (("batch", 3, "height", "width"), "float32", NCHW, Layout.NCHW, (DYNAMIC, DYNAMIC), 3, 32),
    ((1, 3, "height", "width"), "uint8", NCHW, Layout.NCHW, (DYNAMIC, DYNAMIC), 3, 1),
]


@pytest.mark.parametrize(("shape", "dtype", "spatial", "layout", "size", "channels", "max_batch"), IMAGES)
@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("count", [1, 5])
def test_pictures_of_every_kind(
    tmp_path: Path,
    shape: tuple[int | str, ...],
    dtype: str,
    spatial: tuple[int, int],
    layout: Layout,
    size: tuple[int, int],
    channels: int,
    max_batch: int,
    suffix: str,
    count: int,
) -> None:
    path = tiny_onnx.means(tmp_path / "m.onnx", shape, dtype=dtype, spatial=spatial, out_batch=shape[0])
    model = compile_file(path if suffix == ".onnx" else ir_of(path), lanes=2)
    [spec] = model.inputs
    assert (spec.name, spec.kind, spec.layout, spec.dtype) == ("images", TensorKind.IMAGE, layout, dtype)
    assert (spec.image_size, spec.channels, model.max_batch_size) == (size, channels, max_batch)

    run_shape = [1, *(axis if axis > 0 else 3 for axis in spec.shape[1:])]
    rng = np.random.default_rng(count)
    batch = [{"images": (rng.random(run_shape) * 200).astype(dtype)} for _ in range(count)]
    for item, result in zip(batch, model.open_lane().infer(batch), strict=True):
        expected = item["images"].astype(np.float32).mean(axis=spatial)
        np.testing.assert_allclose(result["means"], expected, rtol=1e-3)


def test_pictures_of_several_sizes_through_one_lane(tmp_path: Path) -> None:
    path = tiny_onnx.means(tmp_path / "m.onnx", ("batch", 3, "height", "width"))
    lane = compile_file(path).open_lane()
    for side in (4, 9, 4, 32, 1):
        for count in (1, 2, 1):
            batch = pictures(count, (1, 3, side, side + 1))
            for item, result in zip(batch, lane.infer(batch), strict=True):
                np.testing.assert_allclose(result["means"], item["images"].mean(axis=NCHW), rtol=1e-5)


def test_a_layout_in_the_file_says_where_open_channels_are(tmp_path: Path) -> None:
    path = tiny_onnx.means(tmp_path / "m.onnx", ("b", "c", "h", "w"), out_batch="b")
    model = read_model(path)
    assert compile_file(path).inputs[0].kind is TensorKind.TENSOR
    model.inputs[0].get_node().set_layout(openvino.Layout("NCHW"))
    [spec] = compile_file(save_ir(model, tmp_path / "m.xml")).inputs
    assert (spec.kind, spec.layout, spec.shape) == (TensorKind.IMAGE, Layout.NCHW, (DYNAMIC,) * 4)


def test_a_bound_on_the_batch_is_kept(tmp_path: Path) -> None:
    model = read_model(tiny_onnx.means(tmp_path / "m.onnx"))
    model.reshape([openvino.Dimension(1, 4), 3, 8, 8])
    compiled = compile_file(save_ir(model, tmp_path / "m.xml"))
    assert compiled.max_batch_size == 4
    batch = pictures(9)
    for item, result in zip(batch, compiled.open_lane().infer(batch), strict=True):
        np.testing.assert_allclose(result["means"], item["images"].mean(axis=NCHW), rtol=1e-5)


def test_ports_without_a_name_get_one_by_their_place(tmp_path: Path) -> None:
    model = read_model(tiny_onnx.means(tmp_path / "m.onnx"))
    for port in (*model.inputs, *model.outputs):
        port.get_tensor().set_names(set())
    compiled = compile_file(save_ir(model, tmp_path / "m.xml"))
    assert [spec.name for spec in (*compiled.inputs, *compiled.outputs)] == ["input0", "output0"]
    [result] = compiled.open_lane().infer([{"input0": np.ones((1, 3, 8, 8), np.float32)}])
    np.testing.assert_allclose(result["output0"], np.ones((1, 3)))


def test_of_several_names_one_is_taken_and_always_the_same(tmp_path: Path) -> None:
    model = read_model(tiny_onnx.means(tmp_path / "m.onnx"))
    model.outputs[0].get_tensor().set_names({"z", "means", "m"})
    path = save_ir(model, tmp_path / "m.xml")
    assert [compile_file(path).outputs[0].name for _ in range(2)] == ["m", "m"]


def test_labels_task_stride_and_size_come_from_an_onnx_file_and_survive_as_ir(tmp_path: Path) -> None:
    pairs = {"names": "{0: 'cat', 1: 'dog'}", "task": "detect", "stride": "32", "imgsz": "[6, 8]", "x": "y"}
    path = tiny_onnx.means(tmp_path / "m.onnx", metadata=pairs)
    for file in (path, ir_of(path)):
        metadata = compile_file(file).metadata
        assert metadata.labels == ("cat", "dog")
        assert (metadata.task, metadata.stride, metadata.image_size) == ("detect", 32, (8, 6))
        assert metadata.properties == pairs


def test_metadata_yaml_beside_an_ir_is_better_than_its_model_info(tmp_path: Path) -> None:
    model = read_model(tiny_onnx.means(tmp_path / "m.onnx"))
    model.set_rt_info("traffic_light cat", ["model_info", "labels"])
    model.set_rt_info("YOLO", ["model_info", "model_type"])
    path = save_ir(model, tmp_path / "m.xml")
    metadata = compile_file(path).metadata
    assert metadata.labels == ("traffic light", "cat")
    assert metadata.properties["model_type"] == "YOLO"
    (tmp_path / "metadata.yaml").write_text(
        "task: detect\nstride: 16\nimgsz:\n- 6\n- 8\nnames:\n  0: snake_case\n  1: cat\n"
    )
    metadata = compile_file(path).metadata
    assert metadata.labels == ("snake_case", "cat")
    assert (metadata.task, metadata.stride, metadata.image_size) == ("detect", 16, (8, 6))


def test_a_batch_size_hidden_in_the_graph_is_found_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [
            helper.make_node("ReduceMax", ["images"], ["brightest"], keepdims=0),
            helper.make_node("Mul", ["brightest", "zero"], ["nothing"]),
            helper.make_node("Add", ["numbers", "nothing"], ["floats"]),
            helper.make_node("Cast", ["floats"], ["shape"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["images", "shape"], ["flat"]),
        ],
        {"images": ("float32", ("batch", 3, 8, 8))},
        {"flat": ("float32", ("batch", 192))},
        constants={"numbers": np.array([1, 192], np.float32), "zero": np.array(0, np.float32)},
    )
    model = compile_file(path, streams=2)
    lane = model.open_lane()
    batch = [{"images": np.full((1, 3, 8, 8), value, np.float32)} for value in range(5)]
    for _ in range(2):
        assert [float(result["flat"][0, 0]) for result in lane.infer(batch)] == [0, 1, 2, 3, 4]
    assert "one by one" in caplog.text


def test_several_inputs_scalars_and_outputs(tmp_path: Path) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [
            helper.make_node("Mul", ["images", "factor"], ["scaled"]),
            helper.make_node("Add", ["state", "state"], ["next"]),
        ],
        {
            "state": ("float32", (2, 4)),
            "images": ("float32", ("batch", 3, 8, 8)),
            "factor": ("float32", ()),
        },
        {"scaled": ("float32", ("batch", 3, 8, 8)), "next": ("float32", (2, 4))},
    )
    model = compile_file(path, hint="throughput", streams=3)
    assert [spec.kind for spec in model.inputs] == [TensorKind.TENSOR, TensorKind.IMAGE, TensorKind.SCALAR]
    assert model.max_batch_size == 1
    batch = [
        {
            "state": np.full((2, 4), value, np.float32),
            "images": np.ones((1, 3, 8, 8), np.float32),
            "factor": np.array(value, np.float32),
        }
        for value in range(8)
    ]
    results = model.open_lane().infer(batch)
    assert [float(result["scaled"].max()) for result in results] == list(range(8))
    assert [float(result["next"].max()) for result in results] == list(range(0, 16, 2))


def test_types_that_are_no_numeric_tensor_are_refused(tmp_path: Path) -> None:
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [helper.make_node("Identity", ["words"], ["same"])],
        {"words": ("string", ("n",))},
        {"same": ("string", ("n",))},
    )
    with pytest.raises(ModelLoadError, match=r"numeric tensors .* words is string"):
        compile_file(path)


BROKEN = [
    ("m.xml", b"", "is empty"),
    ("m.onnx", b"hello world" * 10, "is not a model"),
    ("m.onnx", b"\x08\x07", "m.onnx"),
    ("m.xml", b"<html>", "is a web page"),
    ("m.xml", b"PK\x03\x04" + bytes(100), "is a zip archive"),
    ("m.xml", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    ("m.xml", b'<?xml version="1.0"?><svg></svg>', "is an XML file, but no OpenVINO model"),
    ("m.xml", b'<?xml version="1.0"?><net name="x" version="11"><layers>', "cannot be loaded"),
    ("m.xml", b'<?xml version="1.0"?><net name="x" version="11"></net>', "without inputs or outputs"),
    ("m.tflite", b"\x1c\0\0\0TFL3" + bytes(100), "cannot be loaded"),
    ("m.tflite", b"\xff" * 200, "is not a model"),
]


@pytest.mark.parametrize(("name", "content", "text"), BROKEN)
def test_a_file_that_is_no_model_says_what_it_is_and_prints_nothing(
    tmp_path: Path, name: str, content: bytes, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelLoadError) as caught:
        compile_file(path)
    assert text in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".bin"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_model(tmp_path: Path, suffix: str, kept: float) -> None:
    path = ir_of(tiny_onnx.means(tmp_path / "m.onnx")).with_suffix(suffix)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelLoadError, match=r"m\..* (cannot be loaded|is not a model|is an XML file, but)"):
        compile_file(path)


def test_the_weights_name_their_model_and_are_missed_when_they_are_gone(tmp_path: Path) -> None:
    path = ir_of(tiny_onnx.means(tmp_path / "m.onnx"))
    weights = path.with_suffix(".bin")
    assert compile_file(weights).inputs[0].name == "images"
    weights.unlink()
    with pytest.raises(ModelLoadError, match="bin file"):
        compile_file(path)
    path.unlink()
    with pytest.raises(ModelLoadError, match=r"no such file: .*m\.xml"):
        compile_file(weights)


def test_a_missing_model_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no such file"):
        compile_file(tmp_path / "none.xml")
    with pytest.raises(ModelLoadError, match="is a folder"):
        compile_file(tmp_path)
    with pytest.raises(ModelLoadError, match="cannot read"):
        compile_file(Path("a\0b.xml"))
