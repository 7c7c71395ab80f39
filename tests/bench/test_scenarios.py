import re
from pathlib import Path

import pytest

from bench.inputs import INPUTS
from bench.intervals import Interval
from bench.link import LINKS
from bench.models import MODELS
from bench.pictures import drawn_scene, variants
from bench.scenario import Absolute, Driven, Open, Ratio
from bench.scenario_files import (
    FILES,
    FOLDER,
    ScenarioFileError,
    chosen,
    own_scenarios,
    read_file,
    read_files,
)
from bench.settings import QUICK, Settings, estimate_s
from bench.target import Metric, Target

MINUTES_IN_FULL = 34
MINUTES_QUICK = 8

RATIO = """
[[scenario]]
kind = "ratio"
rival = "bare loop"
model = "no-op"
input = "cached"
in_flight = 4
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text)
    return file


def test_every_file_of_the_folder_is_read() -> None:
    assert sorted(FILES) == sorted(path.name for path in FOLDER.glob("*.toml"))


def test_own_scenarios_parse_and_have_names_of_their_own() -> None:
    titles = [each.title for each in own_scenarios()]
    assert len(titles) == len(set(titles)) > 30


@pytest.mark.parametrize("scenario", own_scenarios(), ids=lambda each: each.title)
def test_scenario_names_what_there_is(scenario) -> None:
    if isinstance(scenario, Driven):
        assert scenario.model in MODELS or scenario.model.startswith("fake:")
        assert scenario.input in INPUTS
        assert scenario.link in LINKS


def test_all_of_it_fits_into_the_time_it_is_given() -> None:
    every = own_scenarios()
    assert sum(estimate_s(each, Settings()) for each in every) < MINUTES_IN_FULL * 60
    assert sum(estimate_s(each, QUICK) for each in every if each.targets) < MINUTES_QUICK * 60


def test_lists_stand_for_each_combination(tmp_path) -> None:
    text = RATIO.replace('"cached"', '["cached", "raw 640"]').replace("= 4", "= [1, 8]")
    found = read_file(write(tmp_path, text))
    assert [each.title for each in found] == [
        "no-op cached x1",
        "no-op cached x8",
        "no-op raw 640 x1",
        "no-op raw 640 x8",
    ]


def test_the_example_of_the_readme_is_read(tmp_path) -> None:
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    found = read_file(write(tmp_path, example))
    assert [(type(each), each.input, each.sources) for each in found] == [
        (Open, "raw 640", 4),
        (Open, "shared 640", 4),
    ]


def test_a_users_model_may_be_any_path(tmp_path) -> None:
    (scenario,) = read_file(write(tmp_path, RATIO.replace('"no-op"', '"models/own.onnx"')))
    assert isinstance(scenario, Ratio)
    assert scenario.models == ("models/own.onnx",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("in_flight", "in_fligth"), "in_fligth"),
        (('kind = "ratio"', 'kind = "ration"'), "ration"),
        (("in_flight = 4", 'in_flight = "4"'), "in_flight"),
        (("in_flight = 4", "in_flight = 0"), "in_flight"),
        (("in_flight = 4", ""), "in_flight"),
        (('input = "cached"', 'input = "raw 480"'), "unknown input 'raw 480'"),
        (("in_flight = 4", 'in_flight = 4\nlink = "tcp"'), "link"),
        (('"bare loop"', '"imports alone"'), "no rival of a ratio"),
        (("in_flight = 4", 'in_flight = 4\ntargets = [{ metric = "CPU %", at_most = 1 }]'), "no figure"),
        (("in_flight = 4", 'in_flight = 4\ntargets = [{ metric = "ratio" }]'), "at_least or at_most"),
        (("[[scenario]]", "[[scenarios]]"), "unknown key 'scenarios'"),
        ((RATIO, ""), "no [[scenario]]"),
        (("[[scenario]]", "[[scenario"), "line 2"),
    ],
)
def test_what_is_not_understood_is_an_error_that_names_the_file(tmp_path, change, reason) -> None:
    file = write(tmp_path, RATIO.replace(*change))
    with pytest.raises(ScenarioFileError) as raised:
        read_file(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert reason in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(ScenarioFileError, match=r"none\.toml"):
        read_file(tmp_path / "none.toml")


def test_one_name_twice_is_an_error(tmp_path) -> None:
    with pytest.raises(ScenarioFileError, match="several scenarios 'no-op cached x4'"):
        read_files([write(tmp_path, RATIO + RATIO)])


def test_scenarios_are_chosen_by_parts_of_their_names() -> None:
    found = chosen(own_scenarios(), ["no-op cached x16"])
    assert [type(each) for each in found] == [Absolute]


@pytest.mark.parametrize(
    ("at_least", "low", "high", "met"),
    [
        (True, 0.91, 0.95, True),
        (True, 0.85, 0.90, True),
        (True, 0.85, 0.89, False),
        (False, 0.80, 0.85, True),
        (False, 0.90, 0.95, True),
        (False, 0.91, 0.95, False),
    ],
)
def test_target_holds_when_the_interval_reaches_it(at_least, low, high, met) -> None:
    bound = {"at_least": 0.9} if at_least else {"at_most": 0.9}
    target = Target(metric=Metric.RATIO, **bound)
    assert target.met_by(Interval((low + high) / 2, low, high, 0.95)) is met


def test_variants_are_different_pictures_of_the_size_asked_for() -> None:
    pictures = variants(drawn_scene(), 64, 48)
    assert {picture.shape for picture in pictures} == {(48, 64, 3)}
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
