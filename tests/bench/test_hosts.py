"""Host libraries: with their own drivers where they are built, and with a double for what goes wrong."""

import json
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.host_scenario import HOST_INPUTS, Hosted, HostKills, HostLag, HostRatio, HostRecycle
from bench.hosts.libraries import Library, own_libraries
from bench.inputs import INPUTS
from bench.measure import run_scenario
from bench.report import tally
from bench.rows import Row
from bench.settings import Settings
from bench.side_maker import SideMaker
from bench.sides import SideFailedError
from bench.target import Metric, Target

SHORT = Settings(rounds=2, round_s=0.1, calibrate_s=0.0)
DOUBLE = Path(__file__).with_name("driver_double.py")

RATIO = HostRatio(language="node", model="no-op", input="raw 640", in_flight=2)
OVER = replace(RATIO, rival_input="shared 640")
LAG = HostLag(language="node", model="no-op", input="raw 640", sources=2, seconds=1.0)
KILLS = HostKills(language="node", model="fake:echo?size=64", input="raw 640", requests=100, kills=2)
RECYCLE = HostRecycle(
    language="node", model="no-op", input="raw 640", seconds=2.5, every_s=1.0, calm_seconds=1.0
)

RAN = {"seconds": 1.0, "p50Ms": 4.0, "p99Ms": 9, "failed": 0}
FRAMES = {"sent": 200, "answered": 150, "superseded": 50, "failed": 0}
LAGGED = FRAMES | {"lagP50Ms": 0.1, "lagP99Ms": 12.0, "lagMaxMs": 30.0}
KILLED = {"answered": 95, "rejected": 4, "wrong": 1, "slowestRejectionMs": 40.5}
CALM = {"calmP99Ms": 10.0, "calmPerSecond": 300.0}
RECYCLED = CALM | {"p99Ms": 25.0, "perSecond": 290.0, "failed": 2, "recycles": 3, "answered": 900}


def double(**answers: object) -> Library:
    return Library((sys.executable, str(DOUBLE), json.dumps(answers)), needs=(), build="", link="socket")


def run(tmp_path, scenario: Hosted, library: Library | None = None) -> Row:
    libraries = {"node": library, "rust": library} if library else None
    maker = SideMaker(tmp_path, 0.0, libraries=libraries)
    return run_scenario(scenario, SHORT, maker, lambda text, share: None)


def middles(row: Row) -> dict[Metric, float]:
    return {metric: interval.median for metric, interval in row.figures.items()}


def built(language: str) -> str:
    """Return the language, where its driver is built."""
    if lacking := own_libraries()[language].lacking:
        pytest.skip(lacking)
    return language


@pytest.fixture(params=["node", "rust"])
def language(request) -> str:
    return built(request.param)


def test_a_driver_is_held_against_the_generator(tmp_path, language) -> None:
    row = run(tmp_path, replace(RATIO, language=language))
    assert set(row.figures) == {Metric.RATIO, Metric.P50_RATIO}
    assert row.rival == "generator"
    assert row.worker_side is not None
    assert row.worker_side.latency is not None
    assert 0 < row.worker_side.latency.p50 <= row.worker_side.latency.p99
    assert row.worker_side.peak_mb > 0


@pytest.mark.parametrize(
    ("language", "name"),
    [
        (language, name)
        for name in ("shared 640", "in place 640", "cached")
        for language in HOST_INPUTS[name].languages
    ],
)
def test_a_driver_sends_every_input_that_its_language_has(tmp_path, language, name) -> None:
    scenario = HostRatio(language=built(language), model="no-op", input=name, rival_input="raw 640")
    row = run(tmp_path, scenario)
    assert row.rival == f"{language} raw 640"
    assert row.figures[Metric.RATIO].median > 0


def test_the_driver_of_node_tells_how_late_its_timer_is(tmp_path) -> None:
    row = run(tmp_path, replace(LAG, language=built("node")))
    assert row.figures[Metric.LAG_P99].median >= 0
    assert row.figures[Metric.FRESH].median > 0


def test_a_driver_kills_its_worker_and_has_every_request_answered(tmp_path, language) -> None:
    row = run(tmp_path, replace(KILLS, language=language, retries=3))
    assert middles(row)[Metric.REJECTED_OR_WRONG] == 0


def test_a_driver_recycles_without_a_failed_request(tmp_path, language) -> None:
    row = run(tmp_path, replace(RECYCLE, language=language))
    assert middles(row)[Metric.FAILED] == 0


def test_the_same_from_both_sides_is_a_ratio_of_one(tmp_path) -> None:
    row = run(tmp_path, OVER, double(run=RAN))
    assert middles(row) == {Metric.RATIO: 1, Metric.P50_RATIO: 1}
    assert row.rival == "node shared 640"


def test_the_figures_of_a_driver_are_those_that_are_judged(tmp_path) -> None:
    answers = double(lag=LAGGED, kills=KILLED, recycle=RECYCLED)
    assert middles(run(tmp_path, LAG, answers)) == {Metric.LAG_P99: 12, Metric.FRESH: 75}
    assert middles(run(tmp_path, KILLS, answers)) == {
        Metric.REJECTED_OR_WRONG: 5,
        Metric.WRONG: 1,
        Metric.REJECTION_MS: 40.5,
    }
    assert middles(run(tmp_path, RECYCLE, answers)) == {Metric.FAILED: 2, Metric.RECYCLED_P99: 2.5}


def test_one_request_that_fails_in_a_recycle_misses_the_target(tmp_path) -> None:
    scenario = replace(RECYCLE, targets=(Target(metric=Metric.FAILED, at_most=0),))
    row = run(tmp_path, scenario, double(recycle={**RECYCLED, "failed": 1}))
    assert "0 of 1 targets met. Missed: host node recycle every 1 s (failed ≤ 0)" in tally([row])


@pytest.mark.parametrize(
    ("scenario", "answers", "reason"),
    [
        (OVER, {"ready": {"error": "no such model"}}, "node, concurrency 2: no such model"),
        (OVER, {"run": {"error": "the worker died\n    at infer"}}, "the worker died"),
        (OVER, {"run": {**RAN, "failed": 3}}, "3 of 4 requests failed"),
        (OVER, {"ready": None}, "has ended"),
        (OVER, {"run": None}, "has ended"),
        (OVER, {"run": "what?"}, "cannot be read"),
        (OVER, {"run": {"seconds": 1}}, "cannot be read"),
        (OVER, {"run": 60}, "has not answered within 0.2 s"),
        (LAG, {"lag": {**LAGGED, "failed": 1}}, "2 frames failed"),
        (KILLS, {"kills": {**KILLED, "answered": 94}}, "1 of 100 requests have no outcome"),
        (RECYCLE, {"recycle": {**RECYCLED, "recycles": 0}}, "nothing was recycled"),
    ],
)
def test_a_driver_that_fails_gives_no_figure(tmp_path, monkeypatch, scenario, answers, reason) -> None:
    if answers.get("run") == 60:
        monkeypatch.setattr("bench.hosts.driver.PATIENCE_S", 0.2)
    with pytest.raises(SideFailedError) as raised:
        run(tmp_path, scenario, double(**answers))
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("command", ["no-such-program", sys.executable])
def test_what_is_not_built_is_skipped_with_the_command_that_builds_it(tmp_path, command) -> None:
    library = Library((command,), needs=(tmp_path / "dist",), build="make dist", link="pipe")
    row = run(tmp_path, RATIO, library)
    assert row.note.startswith("skipped: no ")
    assert row.note.endswith(": make dist")
    assert not row.measured


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input": "in place 640"}, "node has no input 'in place 640'"),
        ({"rival_input": "in place 640"}, "node has no input 'in place 640'"),
        ({"input": "shared 640"}, "name a rival_input"),
        ({"targets": (Target(metric=Metric.FAILED, at_most=0),)}, "no figure"),
    ],
)
def test_what_a_driver_cannot_show_is_no_scenario(change, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(RATIO, **change)


def test_the_generator_sends_pictures_of_the_same_size_under_the_same_name() -> None:
    for name, sent in HOST_INPUTS.items():
        if sent.by_generator:
            assert INPUTS[name].size == (sent.width, sent.height)
