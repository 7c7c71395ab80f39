from collections import Counter

import pytest

from bench.inputs import INPUTS, MODELS, drawn_scene, variants
from bench.intervals import Interval
from bench.link import LINKS
from bench.measure import Row, SideFigures, Verdict
from bench.report import HEADINGS, cells, tally
from bench.scenarios import SCENARIOS, Kind, Metric, Rival, Target

METRICS = {
    Kind.RATIO: {Metric.RATIO},
    Kind.ABSOLUTE: {Metric.P50_MS, Metric.RATE},
    Kind.START_UP: {Metric.EXTRA_S},
    Kind.MEMORY: {Metric.EXTRA_MB},
}


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(each.name for each in SCENARIOS).items() if count > 1] == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_scenario_names_what_there_is(scenario) -> None:
    assert scenario.model in MODELS
    assert scenario.input in INPUTS
    assert scenario.link in LINKS
    assert {target.metric for target in scenario.targets} <= METRICS[scenario.kind]
    assert (scenario.rival is Rival.NONE) == (scenario.kind is Kind.ABSOLUTE)


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
    interval = Interval((low + high) / 2, low, high, 0.95)
    assert Target(Metric.RATIO, 0.9, at_least).met_by(interval) is met


def test_rows_have_a_cell_for_each_heading() -> None:
    measured = Row(
        "a",
        Kind.RATIO,
        "bare loop",
        worker_side=SideFigures("concurrency 2", rate=90.0, p50_ms=1.0, generator_cpu=0.05),
        rival_side=SideFigures("2 calling", rate=1234.5),
        figures={Metric.RATIO: Interval(0.9, 0.8, 0.95, 0.97)},
        verdicts=(Verdict("ratio ≥ 0.9", met=True),),
    )
    skipped = Row("b", Kind.RATIO, "bare loop", "skipped: no model 'b' here")
    assert [len(cells(row)) for row in (measured, skipped)] == [len(HEADINGS)] * 2
    assert "ratio 0.900 [0.800, 0.950]" in cells(measured)
    assert tally([measured, skipped]) == ("1 of 1 targets met. Not measured: b (skipped: no model 'b' here).")


def test_variants_are_different_pictures_of_the_size_asked_for() -> None:
    pictures = variants(drawn_scene(), 64, 48)
    assert {picture.shape for picture in pictures} == {(48, 64, 3)}
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
