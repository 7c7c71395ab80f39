"""Policies at a small scale: that they run, and notice what they are there to notice. No figure is judged."""

import sys
from pathlib import Path

import pytest

from bench.measure import run_scenario
from bench.policies.host import Host, Request
from bench.rows import Row
from bench.scenario import Endurance, Fairness, Overload
from bench.settings import Settings
from bench.side_maker import LackingError, SideMaker
from bench.target import Metric

SHORT = Settings(rounds=1, round_s=0.1, calibrate_s=0.0)
DOUBLE = [sys.executable, str(Path(__file__).with_name("worker_double.py")), "as_asked"]
SLEEPS = "fake:sleep?ms=2&size=64"


def run(tmp_path, scenario) -> Row:
    return run_scenario(scenario, SHORT, SideMaker(tmp_path, 0.0), lambda text, share: None)


def test_answers_too_many_and_too_few_are_counted(monkeypatch) -> None:
    monkeypatch.setattr("bench.policies.host.PATIENCE_S", 0.2)
    with Host({}, command=DOUBLE) as host:
        host.post([Request(2, each) for each in (b"once", b"twice", b"never", b"twice")])
        assert host.lost_or_twice() == 3
        assert host.repeated == 2


def test_a_worker_without_a_feature_is_told(monkeypatch) -> None:
    with pytest.raises(LackingError, match="teleport"):
        Host({}, ["teleport"], command=DOUBLE)


def test_fairness_has_a_ratio_for_each_of_the_other_sources(tmp_path) -> None:
    row = run(tmp_path, Fairness(model=SLEEPS, input="raw 64", sources=4, seconds=0.4, flood_in_flight=16))
    assert len(row.rounds[Metric.FLOODED_P99]) == 3
    worst = row.figures[Metric.FLOODED_P99]
    assert worst.low <= worst.median <= worst.high


@pytest.mark.parametrize("how", [{"options": {"supersede": True}, "sources": 2}, {"deadline_predicts": 1.5}])
def test_overload_answers_some_and_withdraws_the_rest(tmp_path, how) -> None:
    row = run(tmp_path, Overload(model=SLEEPS, input="raw 64", seconds=0.5, load=3.0, **how))
    assert row.figures[Metric.WRONG_ANSWERS].median == 0
    assert 0 < row.figures[Metric.FRESH].median < 100


def test_endurance_has_every_request_answered_once(tmp_path) -> None:
    row = run(tmp_path, Endurance(early=200, late=1_000, in_flight=16))
    assert row.figures[Metric.WRONG_ANSWERS].median == 0
    assert row.figures[Metric.RSS_GROWTH].median > 0
