import sys

import pytest

from bench.inputs import PayloadFolder
from bench.scenarios import BATCHING, Kind, Scenario
from bench.sides import Side, SideFailedError, SideMaker
from bench.wire import GeneratorJob

COUNT = 7


@pytest.fixture
def maker(tmp_path) -> SideMaker:
    return SideMaker(PayloadFolder(tmp_path), calibrate_s=0.0)


@pytest.mark.parametrize("link", ["pipe", "socket"])
@pytest.mark.parametrize("name", ["raw 640", "JPEG 1080p", "cached", "batch of 8"])
def test_generator_has_every_request_answered_by_the_worker(maker, name, link) -> None:
    with maker.worker(Scenario(Kind.RATIO, "no-op", name, 3, link=link), 2) as side:
        measured = side.run(COUNT, 3)
    assert measured.count == COUNT
    assert 0 < measured.p50_ms <= measured.p95_ms
    assert measured.peak_mb > 0


@pytest.mark.parametrize("batch", BATCHING.values(), ids=BATCHING)
def test_worker_takes_the_configuration_without_warnings(maker, batch) -> None:
    with maker.worker(Scenario(Kind.RATIO, "no-op", "cached", 1, batch=batch), 2) as side:
        assert side.ready.answer["warnings"] == []
        assert side.ready.answer["workers"] == 2


@pytest.mark.parametrize("link", ["pipe", "socket"])
def test_reference_reader_answers_every_request(maker, link) -> None:
    with maker.reference(Scenario(Kind.RATIO, "no-op", "raw 1080p", 3, link=link)) as side:
        assert side.run(COUNT, 3).count == COUNT


@pytest.mark.parametrize("name", ["raw 640", "cached", "batch of 8"])
def test_bare_loop_runs_every_request(maker, name) -> None:
    with maker.best_bare(Scenario(Kind.RATIO, "no-op", name, 1)) as side:
        assert side.run(COUNT, 1).count == COUNT


def test_an_error_answer_is_no_figure(maker, tmp_path, capfd) -> None:
    picture = tmp_path / "broken.jpg"
    picture.write_bytes(b"\0not a picture")
    job = GeneratorJob(
        command=[sys.executable, "-m", "worker"],
        config={"protocol": 3, "runtime": "auto", "models": [{"path": "fake:noop"}]},
        type=1,
        payloads=[str(picture)],
    )
    with pytest.raises(SideFailedError):
        Side("bench.generator", job, "broken")
    assert "decode_failed" in capfd.readouterr().err


def test_a_subject_that_ends_is_noticed(capfd) -> None:
    job = GeneratorJob(command=[sys.executable, "-c", "pass"], config={}, type=1, payloads=[])
    with pytest.raises(SideFailedError):
        Side("bench.generator", job, "ended")
    assert capfd.readouterr().err
