"""Which family a model is told to be of: shapes and metadata -> family, or a refusal that helps."""

import pytest

from postprocessors import bind
from postprocessors.base import PostprocessorSettings, UnknownFamilyError
from preprocess.options import Anchor, ChannelOrder
from runtimes.spec import ModelDescription, TensorKind, TensorSpec

COCO = str({index: f"class{index}" for index in range(80)})
TWO = "{0: 'cat', 1: 'dog'}"
ONE = "['plate']"
ULTRALYTICS = {"task": "detect", "stride": "32", "names": COCO}
YOLOV5_EXPORT = {"stride": "32", "names": COCO}
BIG = (640, 640)


# case, output shapes, input size, metadata, family, a part of the reason
TOLD = [
    ("v8", [(1, 84, 8400)], BIG, ULTRALYTICS, "yolov8", "4 + 80 classes (names in the metadata) by 8400"),
    ("v8 without a word", [(1, 84, 8400)], BIG, {}, "yolov8", "as many as COCO has; no names"),
    ("v8, one class, silent", [(1, 5, 8400)], BIG, {}, "yolov8", "4 + 1 classes by 8400"),
    ("v8, task only", [(1, 15, 8400)], BIG, {"task": "detect"}, "yolov8", 'task "detect" in the metadata'),
    ("v8, two classes", [(1, 6, 8400)], BIG, {"names": TWO}, "yolov8", "4 + 2 classes"),
    ("v8 rectangular", [(1, 84, 5040)], (640, 384), ULTRALYTICS, "yolov8", "640x384 at strides 8, 16, 32"),
    ("v8 dynamic batch", [(-1, 84, 8400)], BIG, ULTRALYTICS, "yolov8", "anchors of 640x640"),
    ("v8 dynamic size", [(-1, 84, -1)], (-1, -1), ULTRALYTICS, "yolov8", "any number of anchors"),
    ("v8 dynamic, no names", [(-1, 84, -1)], (-1, -1), {}, "yolov8", "any number of anchors"),
    ("v8 fixed output, open input", [(1, 84, 8400)], (-1, -1), ULTRALYTICS, "yolov8", "8400 anchors"),
    ("v8 P2", [(1, 84, 34000)], BIG, ULTRALYTICS, "yolov8", "at strides 4, 8, 16, 32"),
    ("v8 transposed", [(1, 8400, 84)], BIG, ULTRALYTICS, "yolov8", "4 + 80 classes"),
    ("v8 with end2end False", [(1, 84, 8400)], BIG, {**ULTRALYTICS, "end2end": "False"}, "yolov8", "4 + 80"),
    ("v5", [(1, 25200, 85)], BIG, YOLOV5_EXPORT, "yolov5", "25200 = 3 x the anchors of 640x640"),
    ("v5, v7 without a word", [(1, 25200, 85)], BIG, {}, "yolov5", "5 + 80 classes"),
    ("v5 dynamic size", [(-1, -1, 85)], (-1, -1), YOLOV5_EXPORT, "yolov5", "any number of anchors"),
    ("v5 with raw heads", [(1, 25200, 85), (1, 3, 80, 80, 85)], BIG, YOLOV5_EXPORT, "yolov5", "5 + 80"),
    ("v5 P6", [(1, 102000, 85)], (1280, 1280), YOLOV5_EXPORT, "yolov5", "at strides 8, 16, 32, 64"),
    ("v5, one class", [(1, 25200, 6)], BIG, {"names": ONE}, "yolov5", "5 + 1 classes"),
    ("v10", [(1, 300, 6)], BIG, {**ULTRALYTICS, "end2end": "True"}, "yolov10", "says end to end"),
    ("v10 without a word", [(1, 300, 6)], BIG, {}, "yolov10", "300 rows of 6 = corners, score and class"),
    ("v10, names", [(1, 300, 6)], BIG, ULTRALYTICS, "yolov10", "300 rows of 6"),
    ("v10, two classes", [(1, 300, 6)], BIG, {"names": TWO, "end2end": "True"}, "yolov10", "end to end"),
    ("v10 open rows", [(1, -1, 6)], BIG, {**ULTRALYTICS, "end2end": "True"}, "yolov10", "rows of 6"),
    ("v10 all open", [(-1, -1, -1)], BIG, {**ULTRALYTICS, "end2end": "true"}, "yolov10", "rows of 6"),
    ("nms=True", [(1, 300, 6)], BIG, {**ULTRALYTICS, "args": "{'nms': True}"}, "yolov10", "end to end"),
    ("nms, one class", [(1, 300, 6)], (-1, -1), {"names": ONE, "args": "{'nms': True}"}, "yolov10", "of 6"),
    ("x", [(1, 3549, 85)], (416, 416), {}, "yolox", "3549 = the anchors of 416x416 at strides 8, 16, 32"),
    ("x with names", [(1, 3549, 7)], (416, 416), {"names": TWO}, "yolox", "5 + 2 classes (names in the meta"),
]


@pytest.mark.parametrize(("case", "shapes", "size", "metadata", "family", "reason"), TOLD)
def test_told(case, shapes, size, metadata, family, reason, describe):
    bound = bind("yolo", describe(*shapes, size=size, **metadata))
    assert (bound.name, bound.family) == ("yolo", family), case
    assert reason in bound.family_reason
    assert bound.family_reason.startswith(f"output0 {list(shapes[0])} is ")


# case, output shapes, input size, metadata, a part of the refusal
REFUSED = [
    (
        "segmentation",
        [(1, 116, 2100), (1, 32, 80, 80)],
        (320, 320),
        {},
        "segmentation models, which have two",
    ),
    ("segmentation, told", [(1, 116, 2100)], (320, 320), {"task": "segment"}, 'task "segment": segmentation'),
    (
        "masks, names",
        [(1, 116, 2100)],
        (320, 320),
        {"names": COCO},
        "4 + 112 classes, but the metadata has 80",
    ),
    ("masks, silent", [(1, 116, 2100)], (320, 320), {}, "nothing says that the 112 rows"),
    ("pose", [(1, 56, 8400)], BIG, {"task": "pose", "names": ONE}, "pose models come with a later"),
    ("pose, silent", [(1, 56, 8400)], BIG, {}, "not landmarks or masks"),
    ("obb", [(1, 85, 8400)], BIG, {"task": "obb", "names": COCO}, "rotated boxes"),
    ("classifier", [(1, 1000)], (224, 224), {}, "not a YOLO detector: it has the outputs output0 [1, 1000]"),
    ("classifier, told", [(1, 1000)], (224, 224), {"task": "classify"}, "classification models"),
    ("another task", [(1, 84, 8400)], BIG, {"task": "depth"}, "only detection models"),
    ("plates with corners", [(1, 25200, 15)], BIG, {}, "10 rows after the first 5 are all classes"),
    ("plates, names", [(1, 25200, 15)], BIG, {"names": TWO}, "5 + 10 classes, but the metadata has 2 labels"),
    ("v5 or x", [(1, -1, 85)], (-1, -1), {}, "may be yolov5 or yolox"),
    ("v5 or x, names", [(1, -1, 85)], (-1, -1), {"names": COCO}, "may be yolov5 or yolox"),
    ("x or v8", [(1, 8400, 85)], BIG, {"task": "detect"}, "may be yolov8 or yolox"),
    ("all open", [(-1, -1, -1)], (-1, -1), ULTRALYTICS, "leaves open how many rows"),
    ("RT-DETR, two classes", [(1, 300, 6)], BIG, {"task": "detect", "names": TWO}, "rows of 6 are corners"),
    ("RT-DETR", [(1, 300, 84)], BIG, {"task": "detect", "names": COCO}, "of no known YOLO family"),
    ("too many rows of 6", [(1, 5000, 6)], BIG, {}, "is not clear"),
    (
        "anchors of another size",
        [(1, 84, 8400)],
        (320, 320),
        ULTRALYTICS,
        "of a 320x320 input is of no known",
    ),
    ("no classes", [(1, 4, 8400)], BIG, {}, 'set "postprocessor" to "raw"'),
    ("one dimension less", [(84, 8400)], BIG, ULTRALYTICS, "one of three dimensions was expected"),
    ("no output", [], BIG, {}, "it has the outputs none"),
    ("two outputs", [(1, 8400, 4), (1, 8400, 80)], BIG, ULTRALYTICS, "output1 [1, 8400, 80]"),
    ("batched NMS rows of 7", [(-1, 7)], BIG, {}, "not a YOLO detector"),
]


@pytest.mark.parametrize(("case", "shapes", "size", "metadata", "text"), REFUSED)
def test_refused(case, shapes, size, metadata, text, describe):
    with pytest.raises(UnknownFamilyError) as refusal:
        bind("yolo", describe(*shapes, size=size, **metadata))
    assert text in str(refusal.value), case
    assert "\n" not in str(refusal.value)


# name, output shapes, input size, metadata, a part of the refusal, or None where it binds
NAMED = [
    ("yolov5", [(1, 25200, 15)], BIG, {}, None),
    ("yolov5", [(1, 8400, 85)], BIG, {}, None),
    ("yolov5", [(1, -1, -1)], (-1, -1), {"names": COCO}, None),
    ("yolov8", [(1, 15, 8400)], BIG, {}, None),
    ("yolov8", [(1, 8400, 85)], BIG, {}, None),
    ("yolov8", [(-1, -1, -1)], (-1, -1), ULTRALYTICS, None),
    ("yolov10", [(1, 300, 6)], BIG, {"names": TWO}, None),
    ("yolov10", [(1, 5000, 6)], BIG, {}, None),
    ("yolox", [(1, -1, 85)], (-1, -1), {}, None),
    ("yolox", [(1, -1, 85)], (-1, -1), YOLOV5_EXPORT, None),
    ("yolov8", [(1, 25200, 85)], BIG, {}, "is not yolov8"),
    ("yolov8", [(1, 116, 2100)], (320, 320), {"names": COCO}, "is not yolov8 (yolov8: 116 rows are 4 + 112"),
    ("yolov8", [(1, 116, 2100), (1, 32, 80, 80)], (320, 320), {}, "not a YOLO detector"),
    ("yolov8", [(1, 56, 8400)], BIG, {"task": "pose"}, "pose models"),
    ("yolov5", [(1, 84, 8400)], BIG, ULTRALYTICS, "is not yolov5"),
    ("yolov10", [(1, 84, 8400)], BIG, ULTRALYTICS, "is not yolov10"),
    ("yolox", [(1, 25200, 85)], BIG, {}, "is not yolox"),
]


@pytest.mark.parametrize(("name", "shapes", "size", "metadata", "text"), NAMED)
def test_named(name, shapes, size, metadata, text, describe):
    model = describe(*shapes, size=size, **metadata)
    if text is None:
        bound = bind(name, model)
        assert (bound.name, bound.family) == (name, name)
        return
    with pytest.raises(UnknownFamilyError) as refusal:
        bind(name, model)
    assert text in str(refusal.value)


def test_labels_of_the_configuration_settle_what_the_model_leaves_open(describe):
    model = describe((1, 25200, 7), size=BIG)
    with pytest.raises(UnknownFamilyError):
        bind("yolo", model)
    bound = bind("yolo", model, PostprocessorSettings(labels=("cat", "dog")))
    assert bound.family == "yolov5"
    assert bound.labels == ("cat", "dog")
    assert "names in the configuration" in bound.family_reason


def test_labels_of_the_configuration_override_the_metadata(describe):
    model = describe((1, 6, 8400), size=BIG, names=TWO, task="detect")
    assert bind("yolo", model).labels == ("cat", "dog")
    assert bind("yolo", model, PostprocessorSettings(labels=("chat", "chien"))).labels == ("chat", "chien")
    with pytest.raises(UnknownFamilyError, match="but the configuration has 3 labels"):
        bind("yolo", model, PostprocessorSettings(labels=("a", "b", "c")))


def test_quantised_outputs_are_refused(describe):
    with pytest.raises(UnknownFamilyError, match="int8; only float outputs"):
        bind("yolo", describe((1, 84, 8400), size=BIG, dtype="int8", **ULTRALYTICS))


def test_a_model_of_no_picture_or_two_is_refused(describe):
    model = describe((1, 84, 8400), size=BIG)
    text = TensorSpec("ids", (1, 16), "int64")
    for inputs in ((text,), model.inputs * 2, ()):
        with pytest.raises(UnknownFamilyError, match="not a detector of one picture"):
            bind("yolo", ModelDescription(inputs, model.outputs, model.metadata))
    scalar = TensorSpec("threshold", (), "float32", TensorKind.SCALAR)
    beside = ModelDescription((*model.inputs, scalar), model.outputs, model.metadata)
    assert bind("yolo", beside).family == "yolov8"


@pytest.mark.parametrize(
    ("shape", "size", "channels", "order", "anchor", "scale"),
    [
        ((1, 84, 8400), BIG, 3, ChannelOrder.RGB, Anchor.CENTER, (1 / 255,)),
        ((1, 84, 8400), BIG, 1, ChannelOrder.GRAY, Anchor.CENTER, (1 / 255,)),
        ((1, 3549, 85), (416, 416), 3, ChannelOrder.BGR, Anchor.TOP_LEFT, (1.0,)),
    ],
)
def test_recipes(shape, size, channels, order, anchor, scale, describe):
    recipe = bind("yolo", describe(shape, size=size, channels=channels)).recipe
    assert (recipe.channels, recipe.anchor, recipe.scale) == (order, anchor, scale)
    assert (recipe.pad_value, recipe.mean) == (114, (0.0,))
