import sys

import pytest

from bench.scenario import Memory, Ratio, Rival
from bench.side_maker import LackingError, SideMaker
from bench.sides import Side, SideFailedError
from bench.wire import GeneratorJob

COUNT = 7
STAGES = {"queue", "decode", "prepare", "wait", "predict", "postprocess", "outside"}

BATCHING = {
    "window": {"batch_mode": "window", "window_ms": 5, "max_batch_size": 8},
    "adaptive": {"batch_mode": "adaptive"},
}


@pytest.fixture
def maker(tmp_path) -> SideMaker:
    return SideMaker(tmp_path, calibrate_s=0.0)


def scenario(name: str, **more) -> Ratio:
    return Ratio(**{"model": "no-op", "input": name, "in_flight": 3, "rival": Rival.BARE, **more})


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("raw 1080p", "socket"),
        ("JPEG 1080p", "pipe"),
        ("cached", "socket"),
        ("batch of 8", "pipe"),
        ("shared 640", "socket"),
    ],
)
def test_generator_has_every_request_answered_by_the_worker(maker, name, link) -> None:
    with maker.worker(scenario(name, link=link), 2) as side:
        measured = side.run(COUNT, 3)
        opened = side.run_open(100.0, COUNT / 100)
    assert measured.count == opened.count == COUNT
    assert measured.latency is not None
    assert 0 < measured.latency.p50 <= measured.latency.p999
    assert measured.peak_mb > 0


def test_options_and_sources_are_taken_by_the_worker(maker) -> None:
    options = {"priority": "high", "deadlineMs": 60_000}
    with maker.worker(scenario("cached", sources=3, options=options), 1) as side:
        assert side.run_open(1000.0, 0.03).errors == {}


def test_stages_are_those_that_the_answers_tell(maker) -> None:
    with maker.worker(scenario("raw 640"), 1) as side:
        stages = side.stages(COUNT, 2)
    assert set(stages) == STAGES
    assert all(milliseconds >= 0 for milliseconds in stages.values())


@pytest.mark.parametrize("batch", BATCHING.values(), ids=BATCHING)
def test_worker_takes_the_configuration_without_warnings(maker, batch) -> None:
    with maker.worker(scenario("cached", config=batch), 2) as side:
        assert side.ready.answer["warnings"] == []
        assert side.ready.answer["workers"] == 2


def test_reference_reader_answers_every_request(maker) -> None:
    with maker.reference(scenario("raw 1080p", link="socket")) as side:
        assert side.run(COUNT, 3).count == COUNT


@pytest.mark.parametrize("name", ["cached", "shared 640"])
def test_bare_loop_runs_every_request(maker, name) -> None:
    with maker.best_bare(scenario(name)) as side:
        assert side.run(COUNT, 1).count == COUNT


def test_bare_loop_of_full_batches_runs_whole_ones(maker) -> None:
    with maker.best_bare(scenario("raw 64", full_batches=4)) as side:
        assert side.run(COUNT, 1).count == 8


def test_what_another_worker_lacks_is_told(tmp_path) -> None:
    other = [sys.executable, "-c", OLD_WORKER]
    maker = SideMaker(tmp_path, calibrate_s=0.0, against=other)
    with pytest.raises(LackingError, match="has no shared"):
        maker.rival(scenario("shared 640"))
    with pytest.raises(LackingError, match="has no shared"):
        maker.start_rival(Memory(model="no-op", input="shared 640"))


OLD_WORKER = """
import os, struct
os.read(0, 65536)
text = b'{"status":"ready","features":["options"]}'
os.write(1, struct.pack("<II", 4 + len(text), 0) + text)
os.read(0, 1)
"""
"""A double of a worker that knows no shared memory."""


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
