"""Loads a worker in a closed loop: so many requests in flight, each answer brings the next one.

The pictures go through the real pipe, and the client takes its share of the machine, as a host does.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocol.messages import Picture
from worker.cli.tune_process import cpu_seconds
from worker.client import WorkerClient

_PATIENCE_S = 60.0
"""Without any answer: a worker that hangs must not hold up the other configurations."""
LEAD_IN_S = 0.1
"""Before a measurement, at least: threads and buffers are made on first use."""
_LEAD_IN = 2
"""Answers before a measurement, at least; else as many as are in flight."""
_LEAST_ANSWERS = 3
"""Of a measurement, however slow the model is."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one measurement gave."""

    rate: float
    """Answers a second."""
    p50_ms: float
    p99_ms: float
    cpu: float | None
    """Cores that the worker kept busy; None where the system does not tell."""


class _Recorder:
    """Takes the answers as they come, and knows when there are enough."""

    def __init__(self, pid: int, in_flight: int, seconds: float) -> None:
        self._pid = pid
        self._lead_in = max(_LEAD_IN, in_flight)
        self._least = max(_LEAST_ANSWERS, in_flight // 2)
        self._seconds = seconds
        self._opened = time.perf_counter()
        self._settled = self._opened + LEAD_IN_S
        self._began = self._last = self._ended = 0.0
        self._cpu_began: float | None = None
        self._cpu_ended: float | None = None
        self._latencies: list[float] = []
        self.over = False

    def add(self, sent: float) -> None:
        """Take an answer to what was sent then; those after the end are not counted."""
        now = time.perf_counter()
        if self._lead_in > 0 or now < self._settled:
            self._lead_in -= 1
            if self._lead_in == 0:
                # The answers of a batch come together; somewhat later is between two batches.
                self._settled = max(self._settled, now + (now - self._opened) / 10)
            self._began, self._cpu_began = now, cpu_seconds(self._pid)
        elif not self.over and now - self._began > self._seconds and len(self._latencies) >= self._least:
            # Not counted itself: it is the first of its batch, and the others are yet to come.
            self.over = True
            self._ended, self._cpu_ended = now, cpu_seconds(self._pid)
        elif not self.over:
            self._latencies.append(now - sent)
            self._last = now

    def sample(self) -> Sample:
        """Return the figures, once it is over."""
        latencies = sorted(self._latencies)
        cpu = None
        if self._cpu_began is not None and self._cpu_ended is not None:
            cpu = (self._cpu_ended - self._cpu_began) / (self._ended - self._began)
        rate = len(latencies) / (self._last - self._began)
        return Sample(rate, _percentile(latencies, 50) * 1000, _percentile(latencies, 99) * 1000, cpu)


async def measure(
    worker: WorkerClient, pictures: Sequence[Picture], in_flight: int, seconds: float
) -> Sample:
    """Keep requests in flight for a while, and take the figures.

    Args:
        worker: a model is in its slot 0.
        pictures: sent in turn.
        in_flight: how many requests wait for their answers at once.
        seconds: of the measurement, which comes after a lead-in; longer where few answers come.

    Raises:
        WorkerError: a request was answered with an error.
        WorkerGone: the worker ended.
        TimeoutError: it hangs.
    """
    recorder = _Recorder(worker.process.pid, in_flight, seconds)
    turn = itertools.cycle(pictures)
    async with asyncio.timeout(_PATIENCE_S) as silence:
        senders = [
            asyncio.create_task(_keep_sending(worker, turn, recorder, silence)) for _ in range(in_flight)
        ]
        try:
            await asyncio.gather(*senders)
        finally:
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
    return recorder.sample()


async def _keep_sending(
    worker: WorkerClient, turn: Iterator[Picture], recorder: _Recorder, silence: asyncio.Timeout
) -> None:
    """Send one picture after another, each when the last one is answered."""
    loop = asyncio.get_running_loop()
    while not recorder.over:
        sent = time.perf_counter()
        await worker.infer_raw(next(turn))
        recorder.add(sent)
        silence.reschedule(loop.time() + _PATIENCE_S)


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the nearest-rank percentile."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
