"""Tables and widths, the tiny model, and the doctor's findings."""

import pytest

from worker.cli import doctor_devices, doctor_libraries
from worker.cli.checks import State
from worker.cli.table import table
from worker.cli.terminal import display_width, printable, shortened, shortened_path
from worker.cli.tiny_model import tiny_model


@pytest.mark.parametrize(
    ("text", "width", "end", "begin"),
    [
        ("short", 8, "short", "short"),
        ("exactly8", 8, "exactly8", "exactly8"),
        ("a/long/path.jpg", 8, "a/long/…", "…ath.jpg"),
        ("写真写真.jpg", 8, "写真写…", "…真.jpg"),
        ("", 8, "", ""),
    ],
)
def test_texts_are_shortened_to_columns(text, width, end, begin):
    assert shortened(text, width) == end
    assert shortened_path(text, width) == begin
    assert max(display_width(end), display_width(begin)) <= width


def test_a_table_takes_what_is_too_much_from_its_words():
    text = table(
        ("picture", "ms", "found"),
        [("folder/" * 9 + "p.jpg", "1.0", "x " * 40), ("写真.jpg", "22.5", "")],
        width=60,
        words=(0, 2),
    )
    lines = text.splitlines()
    assert max(map(display_width, lines)) == 60
    assert lines[2].startswith("…")
    assert "p.jpg" in lines[2]
    assert "22.5" in lines[3]


def test_names_that_no_terminal_should_get(tmp_path):
    assert printable(tmp_path / "a\x1b[2J\udcff.jpg") == f"{tmp_path}/a�[2J�.jpg"


def test_the_tiny_model_is_valid_and_adds_the_channels(tmp_path):
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_from_string(tiny_model()), full_check=True)


def test_two_distributions_of_opencv():
    check = doctor_libraries._opencv(["pip", "pytest"])  # any two that are installed
    assert check.state is State.BAD
    assert check.needed
    assert check.then == "pip uninstall pip pytest; pip install 'inferpipe[opencv]'"


@pytest.mark.parametrize(
    ("slot", "state", "text"),
    [
        ({"loaded": False, "error": "broken; pip install 'inferpipe[onnx]'"}, State.BAD, "broken"),
        (
            {"loaded": True, "deviceFallback": "no X: install onnxruntime-gpu in place of onnxruntime"},
            State.ABSENT,
            "the installed onnxruntime has no CUDAExecutionProvider",
        ),
        ({"loaded": True, "deviceFallback": "X did not start"}, State.BAD, "X did not start"),
    ],
)
def test_what_a_slot_tells_of_its_device(slot, state, text):
    import asyncio

    check = asyncio.run(doctor_devices._check(None, slot, "cuda"))
    assert (check.state, check.text) == (state, text)
    assert check.then
