"""What a model must find, against what it found."""

import pytest
from msgspec import UNSET

from postprocessors.results import Detection, Detections, RawTensors
from worker.config_verify import Expectation, VerifyConfig
from worker.expectations import overlap, unmet

PERSON = Detection(bbox=[10, 10, 20, 40], score=0.9, class_id=0, class_name="person")
BUS = Detection(bbox=[100, 50, 80, 60], score=0.8, class_id=5, class_name="bus")
NAMELESS = Detection(bbox=[10, 10, 20, 40], score=0.9, class_id=0, class_name=UNSET)
FOUND = Detections(detections=[PERSON, BUS])


def verify(*expect: Expectation, **more: float) -> VerifyConfig:
    return VerifyConfig("p.jpg", expect, **more)


def person(bbox=(10, 10, 20, 40), **more) -> Expectation:
    return Expectation(bbox, class_name="person", **more)


@pytest.mark.parametrize(
    "config",
    [
        verify(),
        verify(person()),
        verify(person(score=0.95), Expectation((101, 50, 80, 60), class_id=5)),
        verify(person(bbox=(20, 10, 20, 40)), iou=0.3),
        verify(person(score=0.2), score_tolerance=0.71),
    ],
)
def test_what_is_there(config):
    assert unmet(config, FOUND) is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            verify(person(bbox=(20, 10, 20, 40))),
            "person at [20.0, 10.0, 20.0, 40.0] (nearest: person, IoU 0.33",
        ),
        (verify(person(score=0.5)), "with a score of 0.5 (nearest: person, IoU 1.00, score 0.90)"),
        (verify(Expectation((10, 10, 20, 40), class_name="dog")), "dog at"),
        (verify(Expectation((10, 10, 20, 40), class_id=3)), "class 3 at"),
        (verify(person(bbox=(300, 300, 5, 5))), "nothing there, 2 objects in all"),
        (verify(person(), person()), "person at"),
        (verify(person(bbox=(10, 10, 0, 0))), "nothing there"),
    ],
)
def test_what_is_missing_is_told_with_what_is_there_instead(config, words):
    config = VerifyConfig(
        config.image,
        tuple(
            Expectation(tuple(map(float, e.bbox)), e.class_name, e.class_id, e.score) for e in config.expect
        ),
    )
    assert words in unmet(config, FOUND)


def test_a_name_that_the_model_does_not_have():
    assert "nearest: class 0" in unmet(verify(person()), Detections(detections=[NAMELESS]))


def test_only_objects_can_be_expected():
    assert "finds objects" in unmet(verify(person()), RawTensors(tensors={}))


def test_overlap():
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0
    assert overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0
