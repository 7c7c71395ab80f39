"""A replace loads beside, proves, and swaps: no request fails, and no bad model ever answers."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract import tiny_onnx
from onnx import helper
from raw_host import RawHost
from wire import COMMAND, INFER_JPEG, INFER_RAW, RGB, any_raw, jpeg, raw

from runtimes.picture_ids import draw_id

SLOTS = (0, 1)
REPLACES = 50
IN_FLIGHT = 3
"""Requests of each slot that are under way at all times."""

PICTURE = raw(0, 32, 32, RGB, draw_id(0, 32, 32).tobytes())[1:]
"""Without the index; `fake:echo` finds an object of class 0 in it, which has the model's only label."""

Config = dict[str, Any]


@dataclass
class Answer:
    slot: int
    sent: float
    received: float
    body: dict[str, Any]

    @property
    def label(self) -> str:
        return self.body["detections"][0]["className"]


@dataclass
class Term:
    """A model's time in its slot, as far as the host can tell."""

    slot: int
    label: str
    asked: float
    """When its load was sent."""
    gone: float = float("inf")
    """When the load of the next one was answered."""


@dataclass
class Traffic:
    """Requests for both slots, from threads that wait for one answer each."""

    host: RawHost
    answers: list[Answer] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        for slot in SLOTS * IN_FLIGHT:
            self._threads.append(threading.Thread(target=self._ask, args=(slot,)))
            self._threads[-1].start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, slot: int) -> None:
        while not self._over.is_set():
            sent = time.monotonic()
            body = self.host.ask(INFER_RAW, bytes([slot]) + PICTURE)
            self.answers.append(Answer(slot, sent, time.monotonic(), body))


def swap_under_load(
    host: RawHost, good: Iterator[tuple[str, Config]], bad: Iterator[Config]
) -> tuple[list[Answer], list[Term], list[str]]:
    """Replace models 50 times, every other time by a bad one; returns answers, terms and refusals."""
    terms = []
    for slot in SLOTS:
        label, config = next(good)
        terms.append(Term(slot, label, time.monotonic()))
        assert host.command("load", index=slot, config=config)["status"] == "ok"
    serving = dict(zip(SLOTS, terms, strict=True))
    refusals: list[str] = []
    traffic = Traffic(host)
    traffic.begin()
    try:
        for turn in range(REPLACES):
            slot, cmd = SLOTS[turn // 2 % 2], ("replace", "load")[turn // 4 % 2]
            before = host.command("status")["slots"][slot]["path"]
            if turn % 2:
                answer = host.command(cmd, index=slot, config=next(bad))
                assert answer["status"] == "error"
                assert (answer["slot"]["loaded"], answer["slot"]["path"]) == (True, before)
                refusals.append(answer["error"])
                continue
            label, config = next(good)
            term = Term(slot, label, time.monotonic())
            answer = host.command(cmd, index=slot, config=config)
            assert answer["status"] == "ok", answer
            assert answer["slot"]["path"] == config["path"]
            serving[slot].gone = time.monotonic()
            serving[slot] = term
            terms.append(term)
    finally:
        traffic.end()
    return traffic.answers, terms, refusals


def assert_valid(answers: list[Answer], terms: list[Term]) -> None:
    """No request failed, and each was answered by a model that served while it was under way."""
    assert [answer.body for answer in answers if "code" in answer.body] == []
    by_label = {(term.slot, term.label): term for term in terms}
    for answer in answers:
        term = by_label[answer.slot, answer.label]
        assert term.asked < answer.received, answer
        assert answer.sent < term.gone, answer
    seen = {(answer.slot, answer.label) for answer in answers}
    assert len(seen) == len(by_label), "every model has answered something"


def fake_good() -> Iterator[tuple[str, Config]]:
    for turn in itertools.count():
        slow = ("", "&load_ms=150", "&ms=2", "&mb=8")[turn % 4]
        yield f"v{turn}", {"path": f"fake:echo?size=32&labels=v{turn}{slow}"}


def fake_bad(folder: Path) -> Iterator[Config]:
    broken = folder / "broken.onnx"
    broken.write_bytes(tiny_onnx.means(folder / "whole.onnx").read_bytes()[:60])
    return itertools.cycle(
        [
            {"path": "fake:warmfail?size=32"},
            {"path": "fake:nan?size=32"},
            {"path": "fake:fail?size=32"},
            {"path": "fake:echo?sise=32"},
            {"path": "fake:nan?size=32&load_ms=100"},
            {"path": str(broken), "runtime": "onnxruntime"},
            {"path": str(folder / "none.onnx"), "runtime": "onnxruntime"},
            {"path": "fake:loadfail"},
        ]
    )


FAKE_FAULTS = ("the warm-up failed", "the golden picture failed", "unknown option", "damaged", "no such file")


@pytest.mark.parametrize(
    "settings",
    [{"concurrency": 2}, {"concurrency": 1, "batch_mode": "adaptive"}],
    ids=["lanes-prepare", "adaptive"],
)
def test_fifty_replaces_under_full_load(spawn, tmp_path, settings):
    host = spawn({"protocol": 3, "runtime": "fake", **settings})
    answers, terms, refusals = swap_under_load(host, fake_good(), fake_bad(tmp_path))

    assert_valid(answers, terms)
    assert len(refusals) == REPLACES // 2
    for fault in FAKE_FAULTS:
        assert any(fault in text.lower() for text in refusals), fault


def onnx_model(path: Path, label: str, factor: float = 1.0) -> Path:
    """Write a detector of one object of the class `label`; a factor of NaN spoils all that it answers."""
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0] = 4, 4, 28, 28, 0.9, 0
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "flat"], ["scalar"]),
        helper.make_node("Mul", ["scalar", "zero"], ["nothing"]),
        helper.make_node("Mul", ["rows", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "nothing"], ["output0"]),
    ]
    return tiny_onnx.save(
        path,
        nodes,
        {"images": ("float32", (1, 3, 32, 32))},
        {"output0": ("float32", (1, 300, 6))},
        metadata={"task": "detect", "end2end": "True", "names": repr({0: label})},
        constants={
            "rows": rows,
            "flat": np.array([1, 1, 1], np.int64),
            "zero": np.zeros((), np.float32),
            "factor": np.array(factor, np.float32),
        },
    )


def onnx_good(folder: Path) -> Iterator[tuple[str, Config]]:
    for turn in itertools.count():
        yield f"v{turn}", {"path": str(onnx_model(folder / f"v{turn}.onnx", f"v{turn}"))}


def onnx_bad(folder: Path) -> Iterator[Config]:
    whole = onnx_model(folder / "whole.onnx", "bad").read_bytes()
    (folder / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.onnx").touch()
    onnx_model(folder / "nan.onnx", "bad", float("nan"))
    tiny_onnx.means(folder / "family.onnx")
    names = ["truncated", "nan", "empty", "none", "family"]
    return itertools.cycle([{"path": str(folder / f"{name}.onnx")} for name in names])


def test_fifty_replaces_of_real_models_under_full_load(spawn, tmp_path):
    host = spawn({"protocol": 3, "runtime": "onnxruntime", "concurrency": 2})
    answers, terms, refusals = swap_under_load(host, onnx_good(tmp_path), onnx_bad(tmp_path))

    assert_valid(answers, terms)
    for fault in ("damaged", "golden picture", "empty", "no such file", "means"):
        assert any(fault in text.lower() for text in refusals), fault


ECHO = {"path": "fake:echo?size=32&labels=old"}


@pytest.fixture
def echo(spawn) -> RawHost:
    return spawn({"protocol": 3, "runtime": "fake", "models": [ECHO]})


def label(host: RawHost) -> str:
    return host.ask(INFER_RAW, bytes([0]) + PICTURE)["detections"][0]["className"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("fake:nan?size=32", ("golden picture", "nan")),
        ("fake:fail?size=32", ("golden picture", "fake:fail")),
        ("fake:warmfail?size=32", ("warm-up", "fake:warmfail")),
    ],
)
def test_a_model_that_would_fail_its_requests_does_not_replace_one_that_works(echo, path, words):
    for cmd in ("replace", "load"):
        answer = echo.command(cmd, index=0, config={"path": path})
        assert (answer["status"], answer["code"]) == ("error", "model_not_loaded")
        for word in words:
            assert word in answer["error"].lower()
        assert answer["slot"].items() >= {"path": ECHO["path"], "loaded": True, "error": None}.items()
        assert label(echo) == "old"


def test_the_raw_tensors_of_a_model_may_hold_nan(echo):
    answer = echo.command("replace", index=0, config={"path": "fake:nan?size=32", "postprocessor": "raw"})
    assert answer["status"] == "ok"


def test_outputs_of_other_shapes_than_declared_do_not_replace_a_model(echo, tmp_path):
    # How many elements are not zero is known only when it has run: the file may declare what it likes.
    path = tiny_onnx.save(
        tmp_path / "m.onnx",
        [helper.make_node("NonZero", ["images"], ["found"])],
        {"images": ("float32", (1, 3, 8, 8))},
        {"found": ("int64", (4, 5))},
    )
    config = {"path": str(path), "runtime": "onnxruntime", "postprocessor": "raw"}
    answer = echo.command("replace", index=0, config=config)
    assert answer["code"] == "model_not_loaded"
    assert "golden picture failed: output found is [4, " in answer["error"]
    assert "declared as [4, 5]" in answer["error"]
    assert label(echo) == "old"


def test_an_empty_slot_takes_any_model_that_runs(echo):
    echo.command("unload", index=0)
    assert echo.command("replace", index=0, config={"path": "fake:nan?size=32"})["status"] == "ok"
    assert echo.ask(INFER_RAW, any_raw())["code"] == "inference_failed"


def test_while_a_new_model_hangs_in_its_proof_the_old_one_serves_and_can_be_unloaded(echo):
    replace = echo.request(COMMAND, {"cmd": "replace", "index": 0, "config": {"path": "fake:hang?size=32"}})
    for _ in range(20):
        assert label(echo) == "old"
    assert not echo.is_answered(replace)
    echo.command("unload", index=0)
    assert echo.command("load", index=0, config=ECHO)["status"] == "ok"
    assert label(echo) == "old"


FOUND = {"className": "seven", "bbox": [0, 0, 64, 64], "score": 1.0}
SEVEN = {"path": "fake:echo?size=32&labels=a,b,c,d,e,f,g,seven"}


@pytest.fixture
def picture(tmp_path, encode_picture) -> Callable[[int], str]:
    """Return what writes a picture of 64x64 pixels that carries a number."""

    def write(number: int) -> str:
        path = tmp_path / f"{number}.png"
        path.write_bytes(encode_picture(draw_id(number, 64, 64), ".png"))
        return str(path)

    return write


def proven(picture: str, *expect: dict[str, Any], **more: Any) -> Config:
    return SEVEN | {"verify": {"image": picture, "expect": list(expect), **more}}


def test_a_model_that_finds_what_is_expected_is_loaded(echo, picture):
    nearly = FOUND | {"bbox": [2, 2, 60, 60], "score": 0.95}
    by_id = {"classId": 7, "bbox": [0, 0, 64, 64]}
    for cmd, expect in (("replace", FOUND), ("replace", nearly), ("load", by_id)):
        answer = echo.command(cmd, index=0, config=proven(picture(7), expect))
        assert (answer["status"], answer["warnings"]) == ("ok", [])
    echo.command("unload", index=0)
    assert echo.command("load", index=0, config=proven(picture(7), FOUND))["status"] == "ok"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"className": "six"}, ("six", "nearest: seven")),
        ({"bbox": [32, 32, 32, 32]}, ("iou 0.25",)),
        ({"score": 0.5}, ("a score of 0.5", "score 1.00")),
    ],
)
def test_a_model_that_misses_what_is_expected_is_not_loaded(echo, picture, wrong, words):
    config = proven(picture(7), FOUND | wrong)
    refused = echo.command("replace", index=0, config=config)
    assert (refused["status"], refused["code"]) == ("error", "model_not_loaded")
    for word in ("7.png", "not found", *words):
        assert word in refused["error"].lower()
    assert label(echo) == "old"

    echo.command("unload", index=0)
    assert echo.command("load", index=0, config=config)["status"] == "error"
    assert echo.command("status")["slots"][0]["state"] == "empty"


def test_a_proof_that_cannot_be_had(echo, tmp_path, picture):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    raw_tensors = proven(picture(7), FOUND) | {"postprocessor": "raw"}
    for config, word in (
        (proven(str(tmp_path / "none.png"), FOUND), "no such file"),
        (proven(str(tmp_path / "broken.png"), FOUND), "broken"),
        (raw_tensors, "finds objects"),
    ):
        answer = echo.command("replace", index=0, config=config)
        assert (answer["status"], answer["code"]) == ("error", "model_not_loaded")
        assert word in answer["error"].lower()
    misread = echo.command("replace", index=0, config=proven("p.png", {"className": "x"}))
    assert misread["code"] == "bad_request"
    assert "config.verify.expect" in misread["error"]
    assert label(echo) == "old"


def test_a_real_detector_proves_itself(spawn, shared_data):
    model = str(shared_data / "models/onnx/yolov8n_float32.onnx")
    bus = str(shared_data / "images/bus.jpg")
    host = spawn({"protocol": 3, "runtime": "onnxruntime", "models": [{"path": model}]})
    data = (shared_data / "images/bus.jpg").read_bytes()
    found = host.ask(INFER_JPEG, jpeg(0, data))["detections"]
    expect = [{key: one[key] for key in ("className", "bbox", "score")} for one in found[:3]]
    config = {"path": model, "verify": {"image": bus, "expect": expect}}
    assert host.command("replace", index=0, config=config)["status"] == "ok"

    other = {"path": str(shared_data / "models/onnx/yolox_nano.onnx"), "postprocessor": "yolox"}
    moved = [one | {"className": "giraffe"} for one in expect]
    refused = host.command("replace", index=0, config=other | {"verify": {"image": bus, "expect": moved}})
    assert "giraffe" in refused["error"]
    assert refused["slot"]["path"] == model
