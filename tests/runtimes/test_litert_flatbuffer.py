"""Tables and settings in a file's bytes: what is there is read, what is not is refused."""

import contextlib

import pytest
from contract import tiny_tflite
from flatbuffers import flexbuffers
from hypothesis import given
from hypothesis import strategies as st

from runtimes.litert_flatbuffer import FlatbufferError, check_flex_map, root_table

DESCRIBED = tiny_tflite.describe("labels.txt", [127.5, 1], [127.5, 2])


def test_fields_of_every_kind_and_absent_ones() -> None:
    root = root_table(DESCRIBED, b"M001")
    assert (root.text(0), root.text(1), root.text(700)) == ("tiny", "", "")
    [graph] = root.tables(3)
    assert (graph.tables(6), graph.vector(5, "i"), graph.bytes_of(4), graph.table(7)) == ([], (), b"", None)
    [image] = graph.tables(2)
    [unit] = image.tables(4)
    options = unit.table(1)
    assert options is not None
    assert (unit.number(0, "B"), unit.number(5, "B", 7)) == (1, 7)
    assert (options.vector(0, "f"), options.vector(1, "f")) == ((127.5, 1), (127.5, 2))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\0\0\0",
        b"\x08\0\0\0TFL3",
        b"\x07\0\0\0M001" + bytes(20),
        b"\xff\xff\xff\xffM001" + bytes(20),
        b"\x08\0\0\0M001" + b"\xff\xff\xff\x7f" + bytes(20),
        b"\x08\0\0\0M001" + bytes(20),
        DESCRIBED[:30],
    ],
)
def test_what_does_not_lie_in_the_file(data: bytes) -> None:
    with pytest.raises(FlatbufferError):
        root_table(data, b"M001").text(0)


def test_a_string_that_runs_on_and_a_vector_that_is_too_long() -> None:
    name = DESCRIBED.index(b"tiny\0")
    with pytest.raises(FlatbufferError, match="does not end"):
        root_table(DESCRIBED[: name + 4] + b"x" + DESCRIBED[name + 5 :], b"M001").text(0)
    with pytest.raises(FlatbufferError, match="the file ends"):
        root_table(DESCRIBED[: name - 1] + b"\x7f" + DESCRIBED[name:], b"M001").text(0)


SETTINGS = [
    {},
    {"a": 1},
    {"max": 10, "scale": 0.5, "negative": -7, "yes": True, "none": None},
    {f"key{number}": number << number for number in range(40)},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_that_are_numbers(settings: dict[str, object]) -> None:
    check_flex_map(bytes(flexbuffers.Dumps(settings)))


@pytest.mark.parametrize("value", [7, "text", [1, 2], {"a": "text"}, {"a": [1]}, {"a": {"b": 1}}])
def test_settings_that_are_something_else(value: object) -> None:
    with pytest.raises(FlatbufferError):
        check_flex_map(bytes(flexbuffers.Dumps(value)))


@given(noise=st.binary(max_size=60), data=st.data())
def test_noise_is_refused_or_is_none(noise: bytes, data: st.DataObject) -> None:
    settings = bytearray(flexbuffers.Dumps(SETTINGS[2]))
    settings[data.draw(st.integers(0, len(settings) - 1))] = data.draw(st.integers(0, 255))
    for each in (noise, bytes(settings)):
        with contextlib.suppress(FlatbufferError):
            check_flex_map(each)
