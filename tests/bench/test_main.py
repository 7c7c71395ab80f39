"""The command as a person calls it, for one short round."""

import sys
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.report import read
from bench.target import Metric

MINE = """
[[scenario]]
kind = "absolute"
name = "mine"
model = "fake:noop?size=64"
input = "raw 64"
in_flight = 2
targets = [{ metric = "p50 ms", at_most = 0 }]

[[scenario]]
kind = "start-up"
name = "my start"
model = "fake:noop?size=64"
input = "raw 64"

[[scenario]]
kind = "idle"
name = "my rest"
loaded = ["fake:noop"]
"""


@pytest.fixture
def mine(tmp_path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    return file


def test_another_worker_takes_the_rivals_place_in_alternation(mine, tmp_path, capfd) -> None:
    out = tmp_path / "out.json"
    words = ["--quick", "--rounds", "1", "--scenario", str(mine), "--out", str(out)]
    other = f"{sys.executable} -m worker"
    assert main([*words, "--against", other]) == 0
    closed, start, idle = read(out).rows
    assert closed.rival == other
    assert set(closed.figures) == {Metric.RATIO, Metric.P50_RATIO}
    assert set(start.figures) == {Metric.EXTRA_S}
    assert closed.verdicts == start.verdicts == ()  # the targets are about other rivals
    assert idle.note == "skipped: about one worker alone"
    shown = capfd.readouterr()
    assert "[1/3] mine" in shown.err
    assert out.with_suffix(".html").name in shown.out


def test_names_are_listed_and_nothing_runs(mine, capsys) -> None:
    assert main(["--list", "--scenario", str(mine)]) == 0
    assert capsys.readouterr().out.splitlines() == ["mine", "my start", "my rest"]


def test_a_name_that_nothing_has_is_told_with_those_there_are(mine, capsys) -> None:
    assert main(["--only", "yours", "--scenario", str(mine)]) == 2
    assert "my start" in capsys.readouterr().out


def test_a_wrong_file_is_told(mine, capsys) -> None:
    mine.write_text("[[scenario]]\nkind = 1")
    assert main(["--scenario", str(mine)]) == 2
    assert str(mine) in capsys.readouterr().err
