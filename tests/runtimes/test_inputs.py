"""Which inputs are pictures, and where their channels are."""

import pytest

from runtimes.inputs import Axis, DeclaredTensor, image_layout, input_specs, sizes
from runtimes.spec import DYNAMIC, Layout, TensorKind

LAYOUTS = [
    ((1, 3, 640, 640), Layout.NCHW),
    ((1, 1, 28, 28), Layout.NCHW),
    ((4, 3, 384, 640), Layout.NCHW),
    (("batch", 3, "height", "width"), Layout.NCHW),
    ((None, 3, None, None), Layout.NCHW),
    ((1, 640, 640, 3), Layout.NHWC),
    ((1, 96, 96, 1), Layout.NHWC),
    (("unk__1", "unk__2", "unk__3", 3), Layout.NHWC),
    ((-1, -1, -1, 3), Layout.NHWC),
    # names decide where sizes do not
    (("batch", "channels", "height", "width"), Layout.NCHW),
    (("N", "C", "H", "W"), Layout.NCHW),
    (("batch", "height", "width", "channels"), Layout.NHWC),
    ((1, 3, "height", 3), None),
    ((1, "h", "w", "c"), Layout.NHWC),
    ((1, 1, "height", "width"), Layout.NCHW),
    # neither, either, or a contradiction
    ((None, None, None, None), None),
    ((1, -1, 640, 640), None),
    ((1, 3, 224, 3), None),
    ((1, 1, 1, 1), None),
    ((1, 64, 80, 80), None),
    ((1, "height", "width", 64), Layout.NHWC),
    ((1, 3, "w", "channels"), None),
    ((1, 4, 640, 640), None),
    ((3, 640, 640), None),
    ((1, 3, 16, 112, 112), None),
    ((), None),
]


@pytest.mark.parametrize(("axes", "layout"), LAYOUTS)
def test_layout(axes: tuple[Axis, ...], layout: Layout | None) -> None:
    assert image_layout(axes, "float32") == layout


@pytest.mark.parametrize(
    ("dtype", "is_image"),
    [
        ("float32", True),
        ("float16", True),
        ("uint8", True),
        ("int8", True),
        ("float64", False),
        ("int64", False),
    ],
)
def test_pictures_have_a_picture_s_element_type(dtype: str, is_image: bool) -> None:
    assert (image_layout((1, 3, 8, 8), dtype) is not None) == is_image


def test_the_first_picture_is_the_image_and_the_rest_are_told_apart() -> None:
    specs = input_specs(
        [
            DeclaredTensor("mask", (1, 64, 8, 8), "float32"),
            DeclaredTensor("images", ("n", 3, 480, 640), "uint8"),
            DeclaredTensor("images2", (1, 3, 8, 8), "uint8"),
            DeclaredTensor("rate", (), "int64"),
            DeclaredTensor("level", (), "float32"),
            DeclaredTensor("count", (1,), "int32"),
            DeclaredTensor("factor", (1,), "float32"),
        ]
    )
    assert [spec.kind for spec in specs] == [
        TensorKind.TENSOR,
        TensorKind.IMAGE,
        TensorKind.TENSOR,
        TensorKind.SCALAR,
        TensorKind.SCALAR,
        TensorKind.SCALAR,
        TensorKind.TENSOR,
    ]
    image = specs[1]
    assert (image.shape, image.layout) == ((DYNAMIC, 3, 480, 640), Layout.NCHW)
    assert (image.image_size, image.channels) == ((640, 480), 3)
    assert specs[2].layout is None


def test_open_axes_are_dynamic_however_they_are_written() -> None:
    assert sizes((None, "batch", "", -1, 0, 3)) == (DYNAMIC, DYNAMIC, DYNAMIC, DYNAMIC, 0, 3)
