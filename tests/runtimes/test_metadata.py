"""Exporters' key-value pairs, as found in the field and as nobody should write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.metadata import MAX_LABELS, parse_image_size, parse_labels, read_metadata
from runtimes.spec import ModelMetadata

NAMES = [
    ("{0: 'person', 1: 'bicycle'}", ("person", "bicycle")),
    ("{1: 'b', 0: 'a'}", ("a", "b")),
    ("{'0': 'a', '1': 'b'}", ("a", "b")),
    ('["a", "b"]', ("a", "b")),
    ("('a',)", ("a",)),
    ("{0: \"driver's licence\", 1: 'é'}", ("driver's licence", "é")),
    ("{0: 'a', 2: 'c'}", ("a", "1", "c")),
    ("[1, 2]", ("1", "2")),
    ("", ()),
    ("{}", ()),
    ("[]", ()),
    ("person, bicycle", ()),
    ("{0: 'a'", ()),
    ("{-1: 'a'}", ()),
    ("{'x': 'a'}", ()),
    ("{None: 'a'}", ()),
    (f"{{{MAX_LABELS}: 'a'}}", ()),
    ("__import__('os').getcwd()", ()),
    ("[" * 5000, ()),
    ("\0", ()),
    ("7", ()),
    ("'abc'", ()),
]


@pytest.mark.parametrize(("text", "labels"), NAMES)
def test_labels(text: str, labels: tuple[str, ...]) -> None:
    assert parse_labels(text) == labels


@pytest.mark.parametrize(
    ("text", "stride"),
    [
        ("32", 32),
        ("32.0", 32),
        ("[8, 16, 32]", 32),
        ("[32, 16, 8]", 32),
        ("", None),
        ("[]", None),
        ("0", None),
        ("-8", None),
        ("[8, 'x']", None),
        ("1e999", None),
        ("auto", None),
    ],
)
def test_stride(text: str, stride: int | None) -> None:
    assert read_metadata({"stride": text}).stride == stride


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("[480, 640]", (640, 480)),  # the exporters write height first
        ("(480, 640)", (640, 480)),
        ("640", (640, 640)),
        ("[640]", (640, 640)),
        ("[1, 3, 640, 640]", None),
        ("[0, 640]", None),
        ("640x480", None),
        ("", None),
    ],
)
def test_image_size(text: str, size: tuple[int, int] | None) -> None:
    assert parse_image_size(text) == size


def test_everything_is_kept_as_written() -> None:
    pairs = {"task": " Detect ", "author": "somebody", "names": "broken {"}
    assert read_metadata(pairs) == ModelMetadata(task="detect", properties=pairs)
    assert read_metadata({}) == ModelMetadata()


@given(st.dictionaries(st.sampled_from(["names", "task", "stride", "imgsz", "other"]), st.text()))
def test_nothing_that_a_file_holds_is_an_error(pairs: dict[str, str]) -> None:
    assert read_metadata(pairs).properties == pairs
