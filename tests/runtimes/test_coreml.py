"""What a Core ML file says of its model, read on any platform; nothing here runs one."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("coremltools", reason="coremltools is not installed")

from contract import tiny_coreml
from coremltools.proto import FeatureTypes_pb2, Model_pb2

from model_files import ModelFiles
from runtimes import get_runtime
from runtimes.coreml import CoreMLRuntime, describe
from runtimes.errors import ModelLoadError, RuntimeUnavailableError
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC, Layout, TensorKind

ROOT = Path(__file__).resolve().parents[2]
Colors = FeatureTypes_pb2.ImageFeatureType
Arrays = FeatureTypes_pb2.ArrayFeatureType


def new_spec(kind: str = "neuralNetwork"):
    spec = Model_pb2.Model(specificationVersion=7)
    getattr(spec, kind).SetInParent()
    return spec


def add_image(features, name="image", width=8, height=6, color=Colors.RGB):
    image = features.add(name=name).type.imageType
    image.width, image.height, image.colorSpace = width, height, color
    return image


def add_array(features, name, shape, dtype=Arrays.FLOAT32):
    array = features.add(name=name).type.multiArrayType
    array.shape.extend(shape)
    array.dataType = dtype
    return array


def described(tmp_path: Path, spec):
    path = tmp_path / "m.mlmodel"
    path.write_bytes(spec.SerializeToString())
    return describe(path)


@pytest.mark.parametrize(
    ("color", "channels"),
    [(Colors.RGB, 3), (Colors.BGR, 3), (Colors.GRAYSCALE, 1), (Colors.GRAYSCALE_FLOAT16, 1)],
)
def test_a_picture_is_bytes_with_the_channels_last(tmp_path: Path, color: int, channels: int) -> None:
    spec = new_spec()
    add_image(spec.description.input, color=color)
    add_array(spec.description.output, "boxes", (1, 300, 6))
    model = described(tmp_path, spec)
    [image], [boxes] = model.inputs, model.outputs
    assert (image.kind, image.layout, image.dtype) == (TensorKind.IMAGE, Layout.NHWC, "uint8")
    assert (image.image_size, image.channels) == ((8, 6), channels)
    assert (boxes.shape, boxes.dtype) == ((DYNAMIC, 300, 6), "float32")


def test_sizes_that_a_picture_may_have(tmp_path: Path) -> None:
    spec = new_spec()
    image = add_image(spec.description.input)
    image.imageSizeRange.widthRange.lowerBound, image.imageSizeRange.widthRange.upperBound = 8, 64
    image.imageSizeRange.heightRange.lowerBound, image.imageSizeRange.heightRange.upperBound = 6, 6
    add_array(spec.description.output, "out", (1, 4))
    assert described(tmp_path, spec).inputs[0].image_size == (DYNAMIC, 6)

    image.enumeratedSizes.sizes.add(width=16, height=12)
    image.width = image.height = 0
    assert described(tmp_path, spec).inputs[0].image_size == (16, 12)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (Arrays.FLOAT32, "float32"),
        (Arrays.FLOAT16, "float16"),
        (Arrays.INT32, "int32"),
        (Arrays.DOUBLE, "float64"),
    ],
)
def test_arrays_of_every_type(tmp_path: Path, dtype: int, name: str) -> None:
    spec = new_spec()
    add_array(spec.description.input, "x", (1, 16), dtype)
    add_array(spec.description.output, "y", (1, 2), dtype)
    model = described(tmp_path, spec)
    assert (model.inputs[0].dtype, model.inputs[0].shape) == (name, (DYNAMIC, 16))
    assert model.outputs[0].dtype == ("float32" if name == "float16" else name)


def test_an_array_that_can_be_a_picture_is_one(tmp_path: Path) -> None:
    spec = new_spec()
    add_array(spec.description.input, "x", (3, 6, 8))  # as the first version of the format has it
    add_array(spec.description.output, "y", (80,))
    model = described(tmp_path, spec)
    assert (model.inputs[0].kind, model.inputs[0].layout) == (TensorKind.IMAGE, Layout.NCHW)
    assert model.inputs[0].shape == (DYNAMIC, 3, 6, 8)
    assert model.outputs[0].shape == (DYNAMIC, 80)


def test_ranges_lists_and_shapes_that_are_left_out(tmp_path: Path) -> None:
    spec = new_spec()
    ranged = add_array(spec.description.input, "ranged", (1, 3, 8, 8))
    for low, high in ((1, 4), (3, 3), (8, -1), (8, 8)):
        ranged.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
    listed = add_array(spec.description.input, "listed", (1, 5))
    for rows in (1, 2, 4):
        listed.enumeratedShapes.shapes.add(shape=(rows, 5))
    add_array(spec.description.output, "unknown", ())
    model = described(tmp_path, spec)
    assert [item.shape for item in model.inputs] == [(DYNAMIC, 3, DYNAMIC, 8), (DYNAMIC, 5)]
    assert model.outputs[0].shape == ()


def test_thresholds_and_optional_inputs_are_not_the_caller_s(tmp_path: Path) -> None:
    spec = new_spec()
    add_image(spec.description.input)
    for name in ("iouThreshold", "confidenceThreshold"):
        spec.description.input.add(name=name).type.doubleType.SetInParent()
    extra = spec.description.input.add(name="mask")
    extra.type.int64Type.SetInParent()
    extra.type.isOptional = True
    add_array(spec.description.output, "out", (1, 4))
    assert [item.name for item in described(tmp_path, spec).inputs] == ["image"]
    spec.description.input.add(name="needed").type.doubleType.SetInParent()
    assert [item.name for item in described(tmp_path, spec).inputs] == ["image", "needed"]


def test_a_pipeline_tells_by_its_last_stage(tmp_path: Path) -> None:
    spec = new_spec("pipeline")
    add_image(spec.description.input)
    add_array(spec.description.output, "confidence", ())
    detector, suppression = spec.pipeline.models.add(), spec.pipeline.models.add()
    detector.neuralNetwork.SetInParent()
    detector.description.metadata.userDefined.update({"stride": "32", "task": "classify"})
    suppression.nonMaximumSuppression.stringClassLabels.vector.extend(["cat", "dog"])
    confidence = add_array(suppression.description.output, "confidence", ())
    for low, high in ((0, -1), (2, 2)):
        confidence.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
    spec.description.metadata.userDefined["task"] = "detect"
    model = described(tmp_path, spec)
    assert model.outputs[0].shape == (DYNAMIC, DYNAMIC, 2)  # a batch axis before the count of boxes
    assert model.metadata.labels == ("cat", "dog")
    assert (model.metadata.task, model.metadata.stride) == ("detect", 32)


@pytest.mark.parametrize(
    ("pairs", "labels"),
    [
        ({"names": "{0: 'a', 2: 'c'}", "classes": "x"}, ("a", "1", "c")),
        ({"classes": "cat, dog\nbird"}, ("cat", "dog", "bird")),
        ({"com.apple.coreml.model.preview.params": '{"labels": ["a", "b"]}'}, ("a", "b")),
        ({"com.apple.coreml.model.preview.params": "[broken"}, ()),
        ({}, ()),
    ],
)
def test_labels_of_exporters(tmp_path: Path, pairs: dict[str, str], labels: tuple[str, ...]) -> None:
    spec = new_spec()
    add_image(spec.description.input)
    add_array(spec.description.output, "out", (1, 4))
    spec.description.metadata.userDefined.update(pairs)
    metadata = described(tmp_path, spec).metadata
    assert metadata.labels == labels
    assert dict(metadata.properties) == pairs


def test_a_classifier_answers_with_its_scores(tmp_path: Path) -> None:
    spec = new_spec("neuralNetworkClassifier")
    spec.neuralNetworkClassifier.int64ClassLabels.vector.extend([3, 5])
    add_image(spec.description.input, color=Colors.GRAYSCALE)
    spec.description.output.add(name="label").type.int64Type.SetInParent()
    spec.description.output.add(name="word").type.stringType.SetInParent()
    spec.description.output.add(name="scores").type.dictionaryType.int64KeyType.SetInParent()
    model = described(tmp_path, spec)
    assert model.metadata.labels == ("3", "5")
    assert {item.name: item.shape for item in model.outputs} == {
        "label": (DYNAMIC, 1),
        "scores": (DYNAMIC, 2),
    }


def test_packages_as_coremltools_writes_them(tmp_path: Path) -> None:
    stacked = describe(tiny_coreml.means(tmp_path / "open.mlpackage"))
    assert (stacked.inputs[0].shape, stacked.inputs[0].kind) == ((DYNAMIC, 3, 8, 8), TensorKind.IMAGE)
    assert stacked.outputs[0].name == "means"
    classifier = describe(tiny_coreml.means(tmp_path / "c.mlpackage", 1, ["cat", "dog", "bird"]))
    assert classifier.metadata.labels == ("cat", "dog", "bird")
    assert [item.shape for item in classifier.outputs] == [(DYNAMIC, 3)]


def test_a_model_that_keeps_a_state_is_refused(tmp_path: Path) -> None:
    spec = new_spec()
    add_array(spec.description.output, "out", (1, 4))
    spec.description.state.add(name="memory")
    with pytest.raises(ModelLoadError, match="keeps a state"):
        described(tmp_path, spec)


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is here")
def test_elsewhere_the_runtime_says_where_it_runs() -> None:
    for attempt in (CoreMLRuntime, lambda: get_runtime("coreml")):
        with pytest.raises(RuntimeUnavailableError, match=r"^Core ML runs on macOS"):
            attempt()


@pytest.mark.skipif(sys.platform != "darwin", reason="Core ML runs on macOS")
def test_on_a_mac_a_model_runs(tmp_path: Path) -> None:
    path = tiny_coreml.means(tmp_path / "m.mlpackage")
    model = CoreMLRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions())
    assert model.max_batch_size == 8


def test_without_the_library_describing_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "m.mlmodel").write_bytes(b"\x08\x07")
    program = (
        "import sys; sys.modules['coremltools'] = None\n"
        "from pathlib import Path\nfrom runtimes.coreml import describe\n"
        f"try: describe(Path({str(tmp_path / 'm.mlmodel')!r}))\n"
        "except Exception as exc: print(type(exc).__name__, exc)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(RuntimeUnavailableError.__name__)
    assert "pip install 'inferpipe[coreml]'" in done.stdout


def test_reading_writes_nothing(tmp_path: Path) -> None:
    path = tiny_coreml.means(tmp_path / "m.mlpackage", 1)
    program = f"from pathlib import Path\nfrom runtimes.coreml import describe\ndescribe(Path({str(path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


# file, image size, channels, outputs, labels, task
REAL = [
    ("yolo26n.mlpackage", (640, 640), 3, {"var_1441": (DYNAMIC, 300, 6)}, 80, "detect"),
    ("MNISTClassifier.mlmodel", (28, 28), 1, {"output": (DYNAMIC, 10)}, 10, None),
]


@pytest.mark.parametrize(("name", "size", "channels", "outputs", "labels", "task"), REAL)
def test_real_models(
    shared_data: Path,
    name: str,
    size: tuple[int, int],
    channels: int,
    outputs: dict[str, tuple[int, ...]],
    labels: int,
    task: str | None,
) -> None:
    model = describe(shared_data / "models" / "coreml" / name)
    [image] = model.inputs
    assert (image.kind, image.layout, image.dtype) == (TensorKind.IMAGE, Layout.NHWC, "uint8")
    assert (image.image_size, image.channels) == (size, channels)
    assert {item.name: item.shape for item in model.outputs} == outputs
    assert (len(model.metadata.labels), model.metadata.task) == (labels, task)
    assert model.metadata.labels[0] == ("person" if labels == 80 else "0")
