"""Real models through OpenVINO: what they say of themselves, and what they see against a plain reference."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import reference_yolo

from model_files import ModelFiles
from runtimes.base import CompiledModel
from runtimes.errors import ModelLoadError
from runtimes.openvino import OpenVinoRuntime
from runtimes.openvino_library import openvino
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, Layout, TensorKind

YOLOV8N = "onnx/yolov8n_float32.onnx"

WITHIN_PX = 1.0
WITHIN_SCORE = 0.01

# As MANIFEST.md has them: at least so many of each. 0 person, 1 bicycle, 5 bus, 16 dog, 17 horse.
NAMED = {
    "bus.jpg": {0: 3, 5: 1},
    "dog.jpg": {16: 1, 1: 1},
    "horses.jpg": {17: 4},
    "person.jpg": {0: 1, 17: 1, 16: 1},
}


def compile_file(path: Path, **options: object) -> CompiledModel:
    return OpenVinoRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions(**options))


@pytest.fixture(scope="module")
def models(shared_data: Path) -> Path:
    return shared_data / "models"


@pytest.fixture(scope="module")
def converted(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return YOLOv8n as OpenVINO's own tools convert it, with weights in 32 and in 16 bits."""
    folder = tmp_path_factory.mktemp("ir")
    model = openvino.convert_model(models / YOLOV8N)
    paths = {"float32": folder / "wide.xml", "float16": folder / "narrow.xml"}
    for name, path in paths.items():
        openvino.save_model(model, path, compress_to_fp16=name == "float16")
    return paths


def see(model: CompiledModel, rgb: np.ndarray) -> list[reference_yolo.ReferenceBox]:
    """Return the objects that a YOLOv8 finds in a picture, decoded by the reference."""
    boxed = reference_yolo.letterbox(rgb, "yolov8", *model.inputs[0].image_size)
    tensor = boxed.tensor
    if model.inputs[0].layout is Layout.NHWC:
        tensor = np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))
    [result] = model.open_lane().infer([{model.inputs[0].name: tensor}])
    [output] = result.values()
    return reference_yolo.objects("yolov8", output, boxed, rgb)


def furthest(found: list[reference_yolo.ReferenceBox], expected: list[reference_yolo.ReferenceBox]) -> tuple:
    """Return the largest differences of corners and scores between the same objects of two lists."""
    assert [box.class_id for box in found] == [box.class_id for box in expected]
    corners = [
        max(abs(a.x1 - b.x1), abs(a.y1 - b.y1), abs(a.x2 - b.x2), abs(a.y2 - b.y2))
        for a, b in zip(found, expected, strict=True)
    ]
    return max(corners), max(abs(a.score - b.score) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("picture", ["bus.jpg", "dog.jpg", "horses.jpg"])
@pytest.mark.parametrize("file", ["onnx", "float32", "float16"])
def test_a_float_model_sees_what_onnxruntime_sees(
    models: Path, converted: dict[str, Path], shared_data: Path, picture: str, file: str
) -> None:
    rgb = reference_yolo.load_rgb(shared_data / "images" / picture)
    expected = reference_yolo.detect(reference_yolo.open_model(models / YOLOV8N), "yolov8", rgb)
    found = see(compile_file(converted.get(file, models / YOLOV8N)), rgb)
    pixels, score = furthest(found, expected)
    assert pixels <= WITHIN_PX
    assert score <= WITHIN_SCORE
    assert len(found) >= 4


@pytest.mark.parametrize("picture", sorted(NAMED))
def test_the_int8_ir_finds_the_named_objects_where_the_float_model_does(
    models: Path, shared_data: Path, picture: str
) -> None:
    rgb = reference_yolo.load_rgb(shared_data / "images" / picture)
    found = see(compile_file(models / "openvino/yolov8n_int8/yolov8n.xml"), rgb)
    assert Counter(box.class_id for box in found) >= Counter(NAMED[picture])
    expected = reference_yolo.detect(reference_yolo.open_model(models / YOLOV8N), "yolov8", rgb)
    for box in (box for box in expected if box.score > 0.6):
        same = [other for other in found if other.class_id == box.class_id]
        assert max(reference_yolo.overlap(box, other) for other in same) > 0.8


def test_an_ir_with_metadata_yaml_says_what_it_is(models: Path) -> None:
    model = compile_file(models / "openvino/yolov8n_int8/yolov8n.xml")
    assert [(spec.name, spec.shape) for spec in model.inputs] == [("x", (1, 3, 640, 640))]
    assert [(spec.name, spec.shape) for spec in model.outputs] == [("output0", (1, 84, 8400))]
    assert (model.inputs[0].kind, model.inputs[0].layout) == (TensorKind.IMAGE, Layout.NCHW)
    metadata = model.metadata
    assert len(metadata.labels) == 80
    assert (metadata.labels[0], metadata.labels[9]) == ("person", "traffic light")
    assert (metadata.task, metadata.stride, metadata.image_size) == ("detect", 32, (640, 640))
    assert metadata.properties["model_type"] == "YOLO"
    pose = compile_file(models / "openvino/yolov8n-pose_int8/yolov8n-pose.xml").metadata
    assert (pose.labels, pose.task) == (("person",), "pose")
    assert pose.properties["kpt_shape"] == "[17, 3]"


def test_labels_of_an_onnx_file_survive_as_ir(models: Path, converted: dict[str, Path]) -> None:
    plain = compile_file(models / YOLOV8N).metadata
    assert (len(plain.labels), plain.labels[5], plain.task, plain.stride) == (80, "bus", "detect", 32)
    for path in converted.values():
        assert compile_file(path).metadata == plain


def test_an_old_ir_finds_a_face(models: Path, shared_data: Path) -> None:
    import cv2

    model = compile_file(models / "openvino/face-detection-retail-0004/face-detection-retail-0004.xml")
    rgb = reference_yolo.load_rgb(shared_data / "images/portrait.jpg")
    bgr = cv2.resize(rgb, model.inputs[0].image_size)[..., ::-1]
    tensor = np.ascontiguousarray(bgr.transpose(2, 0, 1)[None].astype(np.float32))
    [result] = model.open_lane().infer([{model.inputs[0].name: tensor}])
    [output] = result.values()
    best = output[0, 0, output[0, 0, :, 2].argmax()]
    height, width = rgb.shape[:2]
    x1, y1, x2, y2 = best[3:7] * [width, height, width, height]
    assert best[2] > 0.9
    assert 313 - 150 < (x1 + x2) / 2 < 408 + 150  # above the tie of YOLOv8n
    assert y1 < y2 < 500


def test_tflite_files_are_read_too(models: Path, shared_data: Path) -> None:
    rgb = reference_yolo.load_rgb(shared_data / "images/bus.jpg")
    model = compile_file(models / "tflite/yolov8n_int8_dynamic_floatio.tflite")
    assert model.inputs[0].layout is Layout.NHWC
    boxed = reference_yolo.letterbox(rgb, "yolov8", 640, 640)
    tensor = np.ascontiguousarray(boxed.tensor.transpose(0, 2, 3, 1))
    [result] = model.open_lane().infer([{model.inputs[0].name: tensor}])
    [output] = result.values()
    found = reference_yolo.objects("yolov8", output * [[[640]] * 4 + [[1]] * 80], boxed, rgb)
    assert Counter(box.class_id for box in found) >= Counter(NAMED["bus.jpg"])


def test_an_operation_that_it_cannot_read_is_named_in_one_line(models: Path) -> None:
    with pytest.raises(ModelLoadError, match="TFLite_Detection_PostProcess") as caught:
        compile_file(models / "tflite/ssd_mobilenet_v1_coco_quant.tflite")
    assert "\n" not in str(caught.value)


# file, image size, max_batch_size
REAL = [
    ("yolov8n_int8_dynamic", (640, 640), 1),
    ("yolov10n_end2end_int8", (640, 640), 1),
    ("yolox_nano", (416, 416), 1),
    ("mobilefacenet", (112, 112), 32),
    ("plate_rec_color", (168, 48), 32),
    ("reid_deepsort_feature", (128, 64), 32),
    ("scrfd_2.5g_bnkps", (DYNAMIC, DYNAMIC), 1),
]


@pytest.mark.parametrize(("name", "size", "max_batch"), REAL)
def test_onnx_files_give_in_batches_what_onnxruntime_gives_alone(
    models: Path, name: str, size: tuple[int, int], max_batch: int
) -> None:
    path = models / "onnx" / f"{name}.onnx"
    model = compile_file(path)
    image = model.inputs[0]
    assert (image.kind, image.layout, image.image_size) == (TensorKind.IMAGE, Layout.NCHW, size)
    assert model.max_batch_size == max_batch
    shape = [1, *(axis if axis > 0 else 320 for axis in image.shape[1:])]
    rng = np.random.default_rng(0)
    batch = [{image.name: rng.random(shape, np.float32)} for _ in range(2)]
    session = reference_yolo.open_model(path)
    assert [spec.name for spec in model.outputs] == [output.name for output in session.get_outputs()]
    for item, result in zip(batch, model.open_lane().infer(batch), strict=True):
        for tensor, expected in zip(result.values(), session.run(None, dict(item)), strict=True):
            assert tensor.shape == expected.shape
            if "int8" not in name:  # which quantise their activations anew for each library
                np.testing.assert_allclose(tensor, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("options", [{"lanes": 4}, {"lanes": 4, "intra_threads": 1}, {"streams": 2}])
def test_four_lanes_at_once_see_what_one_sees(models: Path, options: dict[str, object]) -> None:
    model = compile_file(models / YOLOV8N, **options)
    rng = np.random.default_rng(0)
    items = [{"images": rng.random((1, 3, 640, 640), np.float32)} for _ in range(3)]
    expected = [result["output0"] for result in model.open_lane().infer(items)]

    def run(_lane: int) -> list[np.ndarray]:
        lane = model.open_lane()
        alone = [lane.infer([item])[0]["output0"] for item in items]
        return alone + [result["output0"] for result in lane.infer(items)]

    with ThreadPoolExecutor(4) as pool:
        for outputs in pool.map(run, range(4)):
            for output, wanted in zip(outputs, expected * 2, strict=True):
                np.testing.assert_allclose(output, wanted, rtol=1e-3, atol=1e-3)
