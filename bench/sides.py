"""The processes that take turns: a generator with its subject, or a bare loop."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec import Struct, json

from bench.inputs import MODELS, PayloadFolder, Payloads
from bench.scenarios import Rival, Scenario
from bench.wire import BareJob, GeneratorJob, Measurement, Order, Ready

WORKER = [sys.executable, "-m", "worker"]
REFERENCE_READER = [sys.executable, "-m", "bench.reference_reader"]

Answer = TypeVar("Answer", bound=Struct)


END_S = 30.0
"""How long a process may take to end."""


class SideFailedError(Exception):
    """A process of the bench ended before its time; what it said is on stderr."""


class Side:
    """A process that runs orders."""

    def __init__(self, module: str, job: Struct, label: str) -> None:
        """Start it and wait until it is set up."""
        self.label = label
        """How it is configured, for a person."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            self.ready = self._ask(job, Ready)
        except SideFailedError:
            self.close()
            raise

    def run(self, count: int, in_flight: int) -> Measurement:
        """Run so many requests and wait for the figures."""
        return self._ask(Order(count=count, in_flight=in_flight), Measurement)

    def rate(self, in_flight: int, seconds: float) -> float:
        """Return the requests a second of a run of about so long, with shorter ones to warm up."""
        count = max(4, 2 * in_flight)
        while True:
            measured = self.run(count, in_flight)
            if measured.seconds >= seconds / 2:
                return measured.rate
            count = min(count * 20, round(measured.rate * seconds) + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and what it started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, question: Struct, answer: type[Answer]) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.encode(question) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise SideFailedError(f"{self.label} has ended") from None
        line = self._process.stdout.readline()
        if not line:
            raise SideFailedError(f"{self.label} has ended")
        return json.decode(line, type=answer)


@dataclass(frozen=True, slots=True)
class BareVariant:
    """One way to call the bare loop."""

    threads: int
    native_threads: int | None

    @property
    def label(self) -> str:
        """For a person."""
        native = "default" if self.native_threads is None else str(self.native_threads)
        return f"{self.threads} calling, {native} native"


BARE_VARIANTS = tuple(BareVariant(threads, native) for threads in (1, 2) for native in (1, None))
"""The best of them is what the worker is held against."""

UNCALIBRATED_BARE = BareVariant(2, 1)

CONCURRENCIES = (1, 2)
"""The best of them is how the worker is configured."""


def worker_config(scenario: Scenario, concurrency: int) -> dict[str, Any]:
    """Return the handshake."""
    model = {"path": MODELS[scenario.model].path}
    return {
        "protocol": 3,
        "runtime": "auto",
        "concurrency": concurrency,
        "models": [model],
        **scenario.batch,
    }


class SideMaker:
    """Starts sides, and knows by calibration which variants are the best."""

    def __init__(self, folder: PayloadFolder, calibrate_s: float, worker: Sequence[str] = WORKER) -> None:
        """Create a maker.

        Args:
            folder: where the payloads are.
            calibrate_s: how long each variant is tried; 0: none is, two threads are taken.
            worker: starts the worker.
        """
        self._folder = folder
        self._worker = worker
        self._calibrate_s = calibrate_s
        self._best_bare: dict[tuple[str, str], BareVariant] = {}

    def worker(self, scenario: Scenario, concurrency: int) -> Side:
        """Start a generator and a worker."""
        return self._generator(scenario, self._worker, f"concurrency {concurrency}", concurrency)

    def best_worker(self, scenario: Scenario) -> Side:
        """Start the worker with each concurrency, and keep the quickest."""
        if not self._calibrate_s:
            return self.worker(scenario, CONCURRENCIES[-1])
        return self._best(
            [partial(self.worker, scenario, each) for each in CONCURRENCIES], scenario.in_flight
        )

    def bare(self, scenario: Scenario, variant: BareVariant) -> Side:
        """Start a bare loop."""
        payloads = self._payloads(scenario)
        type_byte, files = payloads.with_pixels
        job = BareJob(
            model=MODELS[scenario.model].path,
            type=type_byte,
            payloads=files,
            cached=bool(payloads.setup_files),
            threads=variant.threads,
            native_threads=variant.native_threads,
        )
        return Side("bench.bare_loop", job, variant.label)

    def rival(self, scenario: Scenario) -> Side:
        """Start the best of what a ratio is taken against."""
        return _RIVALS[scenario.rival](self, scenario)

    def reference(self, scenario: Scenario) -> Side:
        """Start a generator and the reference reader."""
        return self._generator(scenario, REFERENCE_READER, "two threads", 1)

    def best_bare(self, scenario: Scenario) -> Side:
        """Start the quickest bare loop; calibrated once a model and input."""
        key = (scenario.model, scenario.input)
        if key in self._best_bare:
            return self.bare(scenario, self._best_bare[key])
        if not self._calibrate_s:
            return self.bare(scenario, UNCALIBRATED_BARE)
        starts = [partial(self.bare, scenario, variant) for variant in BARE_VARIANTS]
        labels = {variant.label: variant for variant in BARE_VARIANTS}
        best = self._best(starts, 1)
        self._best_bare[key] = labels[best.label]
        return best

    def _best(self, starts: Sequence[Callable[[], Side]], in_flight: int) -> Side:
        """Start each, one after another, and keep the quickest."""
        with ExitStack() as ending:
            sides = [ending.enter_context(start()) for start in starts]
            # In two rounds, as the machine may be slow during one.
            tries = [[side.rate(in_flight, self._calibrate_s) for side in sides] for _ in range(2)]
            rates = [max(rates) for rates in zip(*tries, strict=True)]
            best = sides[rates.index(max(rates))]
            ending.pop_all()
        for side in sides:
            if side is not best:
                side.close()
        return best

    def _payloads(self, scenario: Scenario) -> Payloads:
        return self._folder.payloads(scenario.model, scenario.input)

    def _generator(self, scenario: Scenario, command: Sequence[str], label: str, concurrency: int) -> Side:
        payloads = self._payloads(scenario)
        job = GeneratorJob(
            command=list(command),
            config=worker_config(scenario, concurrency),
            link=scenario.link,
            type=payloads.type,
            payloads=payloads.files,
            setup_type=payloads.setup_type,
            setup_payloads=payloads.setup_files,
        )
        return Side("bench.generator", job, label)


_RIVALS = {Rival.BARE: SideMaker.best_bare, Rival.REFERENCE: SideMaker.reference}
