"""`cancel` at every stage of a request, while others are served: none lost, none answered twice."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from bench.intervals import exact
from bench.policies.closed_loop import Flood
from bench.policies.host import Host, Request
from bench.policies.requests import picture_request
from bench.rows import Row, SideFigures, row_of
from bench.scenario import Cancel
from bench.settings import Settings
from bench.side_maker import SideMaker
from bench.target import Metric

CONCURRENCY = 2
PREDICT_MS = 3

BUSY_SLOT, SLOW_SLOT, PICTURE_SLOT, LOADING_SLOT = range(4)
"""The last one is empty until a load is under way."""

CONFIG = {
    "protocol": 3,
    "runtime": "fake",
    "concurrency": CONCURRENCY,
    "limits": {"maxInFlight": 4096},
    "models": [
        {"path": "fake:noop?size=64"},
        {"path": f"fake:sleep?size=64&ms={PREDICT_MS}"},
        {"path": "fake:noop?size=640"},
    ],
}

CHUNK = 250
"""Requests that are cancelled together, where many can be at the same stage."""

LOAD_MS = 300
AHEAD = CONCURRENCY * 2
"""What a slot may have prepared ahead of predict, without batches: lanes x (1 + 1)."""


@dataclass(frozen=True, slots=True)
class _Brought:
    """Requests that were cancelled at a stage, and those that kept the slot busy meanwhile."""

    cancelled: list[int]
    others: list[int]


class _Stages:
    """Brings requests to each stage and cancels them there."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._slow = picture_request(SLOW_SLOT, 64)
        self._waiting = picture_request(LOADING_SLOT, 64)
        self._jpeg = picture_request(PICTURE_SLOT, 640, encoded=True)

    def loading(self) -> _Brought:
        """They wait for a model that is being loaded."""
        config = {"path": f"fake:slowload?size=64&ms={LOAD_MS}"}
        others = self._host.command({"cmd": "load", "index": LOADING_SLOT, "config": config})
        ids = self._cancelled(self._waiting, CHUNK)
        return _Brought(ids, others + self._host.command({"cmd": "unload", "index": LOADING_SLOT}))

    def unprepared(self) -> _Brought:
        """They wait behind more than may be prepared ahead."""
        others = self._host.post([self._slow] * (AHEAD + CONCURRENCY + 2))
        return _Brought(self._cancelled(self._slow, CHUNK), others)

    def preparing(self) -> _Brought:
        """Their pictures are being decoded."""
        return _Brought(self._cancelled(self._jpeg, CONCURRENCY, after_ms=0.5), [])

    def ready(self) -> _Brought:
        """They are prepared, and every lane is busy."""
        others = self._host.post([self._slow] * CONCURRENCY)
        return _Brought(self._cancelled(self._slow, CONCURRENCY, after_ms=PREDICT_MS / 2), others)

    def predicting(self) -> _Brought:
        """They are in predict: a result comes, and the cancel counts none."""
        return _Brought(self._cancelled(self._slow, CONCURRENCY, after_ms=PREDICT_MS / 2), [])

    def answered(self) -> _Brought:
        """They have their answers."""
        ids = self._host.post([self._slow] * CONCURRENCY)
        self._host.wait_for(ids)
        return _Brought(ids, self._host.cancel(ids))

    def _cancelled(self, request: Request, count: int, after_ms: float = 0.0) -> list[int]:
        ids = self._host.post([request] * count)
        time.sleep(after_ms / 1000)
        self._host.cancel(ids)
        return ids


STAGES: Mapping[str, Callable[[_Stages], _Brought]] = {
    "waiting for a load": _Stages.loading,
    "unprepared": _Stages.unprepared,
    "being prepared": _Stages.preparing,
    "ready": _Stages.ready,
    "in predict": _Stages.predicting,
    "answered": _Stages.answered,
}
"""Each function brings some requests to its stage, cancels them, and tells which."""


def measure(
    scenario: Cancel, settings: Settings, maker: SideMaker, step: Callable[[str, float], None]
) -> Row:
    """Cancel so many requests at each stage, beside a flood to another slot."""
    each = max(CHUNK, round(scenario.each * settings.policy_share))
    cancelled: dict[str, float] = {}
    with Host(CONFIG, ["cancel"]) as host:
        stages = _Stages(host)
        flood = Flood(host, [picture_request(BUSY_SLOT, 64)], scenario.load_in_flight)
        for number, (name, bring) in enumerate(STAGES.items()):
            step(name, number / len(STAGES))
            cancelled[name] = _stage(host, partial(bring, stages), each)
        flood.stop()
        wrong = host.lost_or_twice(["cancelled"])
        told = sum(answered.outcome.cancelled for answered in host.answers.values())
        miscounted = abs(told - host.codes["cancelled"])
    shares = ", ".join(f"{name} {share:.0%}" for name, share in cancelled.items())
    return row_of(
        scenario,
        {Metric.WRONG_ANSWERS: exact(wrong), Metric.MISCOUNTED: exact(miscounted)},
        worker_side=SideFigures(f"concurrency {CONCURRENCY}"),
        note=f"{each:,} a stage; cancelled: {shares}",
    )


def _stage(host: Host, bring: Callable[[], _Brought], count: int) -> float:
    """Bring so many requests to a stage, some at a time; returns the share that was cancelled."""
    done = cancelled = 0
    while done < count:
        brought = bring()
        host.wait_for(brought.cancelled + brought.others)
        answers = [host.answers.get(number) for number in brought.cancelled]
        cancelled += sum(answer is not None and answer.outcome.code == "cancelled" for answer in answers)
        done += len(answers)
    return cancelled / done
