"""Measures configurations, each in a worker of its own, one at a time, in rounds of alternating order."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from protocol.messages import Picture
from worker.cli.chosen_model import serving_slot
from worker.cli.failures import CommandFailed
from worker.cli.hosting import hosted
from worker.cli.tune_candidates import Candidate, Space
from worker.cli.tune_choice import GOALS, Result, Round, best
from worker.cli.tune_load import LEAD_IN_S, measure
from worker.cli.tune_process import peak_megabytes
from worker.client import Answer, WorkerClient, WorkerError


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure, and with how much."""

    rounds: int
    seconds: float
    """Of each of the two measurements that a configuration gets in a round."""
    in_flight: int | None = None
    """Requests in flight at load; None lets each configuration have what keeps it busy."""
    debug: bool = False


class Observer(Protocol):
    """Is told how the search goes."""

    def stage(self, text: str, configurations: int, seconds: float) -> None:
        """Take what begins, how many configurations it has, and about how long it takes."""

    def measured(self, done: int, total: int, candidate: Candidate) -> None:
        """Take how many measurements of the stage are done, and what the last one was of."""

    def failed(self, result: Result) -> None:
        """Take a configuration that does not work."""


class Tuner:
    """One search; `results` may be read at any time."""

    def __init__(
        self, base: Mapping[str, Any], pictures: Sequence[Picture], effort: Effort, observer: Observer
    ) -> None:
        """Prepare a search.

        Args:
            base: the configuration of a worker with the one model, which candidates vary.
            pictures: what is sent.
            effort: how much is measured.
            observer: is told of the progress.
        """
        self.results: dict[Candidate, Result] = {}
        self._base = base
        self._pictures = pictures
        self._effort = effort
        self._observer = observer
        self._start_s = 0.0

    async def probe(self) -> Answer:
        """Load the model once and send it one picture; returns its slot.

        Raises:
            CommandFailed: it cannot be loaded, gives no answer, or the worker does not start.
        """
        began = time.perf_counter()
        async with hosted(self._base, debug=self._effort.debug) as worker:
            slot = self._slot(worker)
            self._start_s = time.perf_counter() - began
            try:
                await worker.infer_raw(self._pictures[0])
            except WorkerError as error:
                model = self._base["models"][0]["path"]
                then = "try another picture with --image; --debug shows the worker's log"
                raise CommandFailed(f"the model {model} gives no answer", str(error), then) from error
        return slot

    async def search(self, space: Space) -> None:
        """Measure both stages; the second has the best of the first again, beside what varies them."""
        await self._stage("predict threads and native threads", space.pools())
        varied = self._varied(space)
        if varied:
            await self._stage("spinning and batches", varied)

    def _varied(self, space: Space) -> list[Candidate]:
        """Return the best of the first stage, each with its variants; empty where there are none."""
        tried = list(self.results.values())
        threaded = [one for one in tried if one.candidate.native_threads(space.cores) > 1]
        single = [one for one in tried if one.candidate.concurrency == 1]
        bases = (
            (best(threaded, "latency", space.cores), space.spinning),
            (best(threaded, "throughput", space.cores), space.spinning),
            (best(single, "throughput", space.cores), space.batched),  # one thread gains most from batches
            (best(tried, "throughput", space.cores), space.batched),
        )
        found = [
            candidate
            for base, vary in bases
            if base is not None and (variants := vary(base.candidate))
            for candidate in (base.candidate, *variants)
        ]
        leaders = [result.candidate for goal in GOALS if (result := best(tried, goal, space.cores))]
        return list(dict.fromkeys((*leaders, *found))) if found else []

    async def _stage(self, text: str, candidates: Sequence[Candidate]) -> None:
        effort = self._effort
        results = [self.results.setdefault(candidate, Result(candidate)) for candidate in candidates]
        total = len(results) * effort.rounds
        self._observer.stage(text, len(results), total * (self._start_s + 2 * (LEAD_IN_S + effort.seconds)))
        done = 0
        for number in range(effort.rounds):
            for result in results if number % 2 == 0 else reversed(results):
                if not result.failure:
                    await self._measure(result)
                done += 1
                self._observer.measured(done, total, result.candidate)

    async def _measure(self, result: Result) -> None:
        try:
            result.rounds.append(await self._round(result.candidate))
        except (CommandFailed, WorkerError, TimeoutError) as error:
            result.failure = _reason(error)
            self._observer.failed(result)

    async def _round(self, candidate: Candidate) -> Round:
        effort = self._effort
        in_flight = effort.in_flight or candidate.in_flight
        async with hosted(candidate.handshake(self._base), debug=effort.debug) as worker:
            self._slot(worker)
            alone = await measure(worker, self._pictures, 1, effort.seconds)
            load = await measure(worker, self._pictures, in_flight, effort.seconds)
            peak = peak_megabytes(worker.process.pid)
        return Round(load.rate, load.p50_ms, load.p99_ms, alone.p50_ms, load.cpu, alone.cpu, peak)

    def _slot(self, worker: WorkerClient) -> Answer:
        return serving_slot(self._base["models"][0]["path"], worker.ready)


def _reason(error: Exception) -> str:
    explain = next(explain for kind, explain in _REASONS if isinstance(error, kind))
    return explain(error)


_REASONS: tuple[tuple[type[Exception], Callable[[Any], str]], ...] = (
    (CommandFailed, lambda error: f"{error.what}: {error.why}"),
    (WorkerError, lambda error: error.text),
    (TimeoutError, lambda _: "no answer comes any more"),
)
