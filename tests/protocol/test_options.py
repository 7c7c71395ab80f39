"""Per-request options: what is taken, and what is refused under which name."""

import json

import pytest

from protocol.errors import ErrorCode, WireError
from protocol.options import (
    MAX_DETECTIONS,
    MAX_SOURCE_CHARACTERS,
    NO_OPTIONS,
    OPTION_NAMES,
    RequestOptions,
    parse_options,
)


def test_names_on_the_wire():
    names = (
        "confidence iou classes maxDetections agnostic roi exif colorSpace deadlineMs "
        "priority source supersede batchHint batchHintMs"
    )
    assert tuple(names.split()) == OPTION_NAMES


TAKEN = [
    ("confidence", 0, "confidence", 0.0),
    ("confidence", 1, "confidence", 1.0),
    ("confidence", None, "confidence", None),  # the slot's
    ("iou", 0.7, "iou", 0.7),
    ("classes", [], "classes", ()),  # keep none
    ("classes", [1, "dog", 2.0], "classes", (1, "dog", 2)),
    ("classes", None, "classes", None),
    ("maxDetections", 1, "max_detections", 1),
    ("maxDetections", 20.0, "max_detections", 20),
    ("maxDetections", MAX_DETECTIONS, "max_detections", MAX_DETECTIONS),
    ("agnostic", True, "agnostic", True),
    ("roi", [0, 0.0, 1.0, 4294967295], "roi", (0, 0, 1, 4294967295)),
    ("roi", None, "roi", None),
    ("exif", True, "exif", True),
    ("colorSpace", "bt709", "color_space", "bt709"),
    ("deadlineMs", 0.001, "deadline_ms", 0.001),
    ("deadlineMs", 50, "deadline_ms", 50.0),
    ("deadlineMs", None, "deadline_ms", None),
    ("priority", "high", "priority", "high"),
    ("priority", "normal", "priority", "normal"),
    ("priority", "low", "priority", "low"),
    ("source", "door", "source", "door"),
    ("source", "", "source", ""),  # a name like any other
    ("source", "ü" * MAX_SOURCE_CHARACTERS, "source", "ü" * MAX_SOURCE_CHARACTERS),
    ("source", None, "source", None),
    ("supersede", True, "supersede", True),
    ("batchHint", 1, "batch_hint", 1),
    ("batchHint", 8.0, "batch_hint", 8),
    ("batchHint", 65535, "batch_hint", 65535),
    ("batchHint", None, "batch_hint", None),
    ("batchHintMs", 0.5, "batch_hint_ms", 0.5),
    ("batchHintMs", 60_000, "batch_hint_ms", 60_000.0),
]


@pytest.mark.parametrize(("name", "value", "field", "expected"), TAKEN)
def test_taken(name, value, field, expected):
    options = parse_options(json.dumps({name: value}).encode())
    assert options == RequestOptions(**{field: expected})
    assert type(getattr(options, field)) is type(expected)


REFUSED = [
    ("confidence", -0.1),
    ("confidence", 1.1),
    ("confidence", "0.5"),  # strict: no numeric strings here
    ("confidence", True),
    ("iou", -1),
    ("iou", 2),
    ("iou", None),
    ("classes", "dog"),
    ("classes", [True]),
    ("classes", [1.5]),
    ("classes", [-1]),
    ("classes", [2**32]),
    ("classes", [[1]]),
    ("maxDetections", 0),
    ("maxDetections", MAX_DETECTIONS + 1),
    ("maxDetections", 1.5),
    ("maxDetections", True),
    ("agnostic", 1),
    ("roi", [0, 0, 0, 1]),
    ("roi", [0, 0, 1, 0]),
    ("roi", [-1, 0, 1, 1]),
    ("roi", [0, 0, 1]),
    ("roi", [0, 0, 1, 1, 1]),
    ("roi", [0, 0, 1, 1.5]),
    ("roi", [0, 0, 1, 2**32]),
    ("roi", {"x": 0}),
    ("exif", "yes"),
    ("colorSpace", "bt2020"),
    ("colorSpace", "x\n" * 500),
    ("colorSpace", None),
    ("deadlineMs", 0),
    ("deadlineMs", -1),
    ("deadlineMs", "soon"),
    ("priority", "urgent"),
    ("priority", "High"),
    ("priority", 1),
    ("priority", None),
    ("source", 2),
    ("source", ["door"]),
    ("source", "x" * (MAX_SOURCE_CHARACTERS + 1)),
    ("supersede", 1),
    ("supersede", "yes"),
    ("supersede", None),
    ("batchHint", 0),
    ("batchHint", -1),
    ("batchHint", 65536),
    ("batchHint", 1.5),
    ("batchHint", True),
    ("batchHint", "8"),
    ("batchHintMs", 0),
    ("batchHintMs", -20),
    ("batchHintMs", 60_000.5),
    ("batchHintMs", True),
    ("batchHintMs", None),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_refused_by_name(name, value):
    with pytest.raises(WireError, match=rf"^option {name}") as caught:
        parse_options(json.dumps({name: value}).encode())
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert not caught.value.payload_fault
    assert len(caught.value.text) < 250
    assert "\n" not in caught.value.text


def test_every_option_is_tested():
    assert {row[0] for row in TAKEN} == {row[0] for row in REFUSED} == set(OPTION_NAMES)


UNKNOWN = [
    ("confidense", 'unknown option "confidense" (did you mean "confidence"?)'),
    ("max_detections", 'unknown option "max_detections" (did you mean "maxDetections"?)'),
    ("batch_hint", 'unknown option "batch_hint" (did you mean "batchHint"?)'),
    ("vectorFormat", 'unknown option "vectorFormat"'),
    ("qqq", 'unknown option "qqq"'),
    ("", 'unknown option ""'),
    ("a\nb", r'unknown option "a\nb"'),
]


@pytest.mark.parametrize(("name", "text"), UNKNOWN)
def test_unknown_with_the_nearest_known_one(name, text):
    with pytest.raises(WireError) as caught:
        parse_options(json.dumps({name: 1}).encode())
    assert caught.value.text == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b"{",
        b"{}{}",
        b"{'iou':1}",
        b'{"iou":NaN}',
        b'{"a":"\xff"}',
        b'{"a":' + b"[" * 60_000,
    ],
)
def test_what_is_no_json_object(data):
    with pytest.raises(WireError, match=r"^options: ") as caught:
        parse_options(data)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_no_options():
    assert parse_options(b"{}") == NO_OPTIONS
    assert NO_OPTIONS.iou == 0.45
    assert NO_OPTIONS.max_detections == 300
    assert (NO_OPTIONS.priority, NO_OPTIONS.source, NO_OPTIONS.supersede) == ("normal", None, False)
    assert (NO_OPTIONS.batch_hint, NO_OPTIONS.batch_hint_ms) == (None, 20.0)


def test_the_unnamed_source_is_no_source_of_that_name():
    assert parse_options(b'{"source":""}') != NO_OPTIONS
    assert parse_options(b'{"source":null}') == NO_OPTIONS
