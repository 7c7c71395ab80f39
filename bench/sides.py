"""The processes that take turns: a generator with its subject, or a bare loop."""

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec import Struct, json

from bench.inputs import MODELS, PayloadFolder, Payloads
from bench.scenarios import Rival, Scenario
from bench.wire import BareJob, GeneratorJob, Measurement, Order, Ready

WORKER = [sys.executable, "-m", "worker"]
REFERENCE_READER = [sys.executable, "-m", "bench.reference_reader"]

Answer = TypeVar("Answer", bound=Struct)


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
        self.ready = self._ask(job, Ready)

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
        """End the process, and what it started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdin, self._process.stdout:
            pass
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()

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

    def __init__(self, folder: PayloadFolder, calibrate_s: float) -> None:
        """Create a maker; no seconds to calibrate mean the last variant of each table."""
        self._folder = folder
        self._calibrate_s = calibrate_s
        self._best_bare: dict[tuple[str, str], BareVariant] = {}

    def worker(self, scenario: Scenario, concurrency: int) -> Side:
        """Start a generator and a worker."""
        return self._generator(scenario, WORKER, f"concurrency {concurrency}", concurrency)

    def best_worker(self, scenario: Scenario) -> Side:
        """Start the worker with each concurrency, and keep the quickest."""
        if not self._calibrate_s:
            return self.worker(scenario, CONCURRENCIES[-1])
        return self._best([self.worker(scenario, each) for each in CONCURRENCIES], scenario.in_flight)

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
            return self.bare(scenario, BareVariant(2, 1))
        sides = [self.bare(scenario, variant) for variant in BARE_VARIANTS]
        labels = {variant.label: variant for variant in BARE_VARIANTS}
        best = self._best(sides, 1)
        self._best_bare[key] = labels[best.label]
        return best

    def _best(self, sides: list[Side], in_flight: int) -> Side:
        """Keep the quickest side, end the others."""
        with ExitStack() as others:
            for side in sides:
                others.enter_context(side)
            rates = [side.rate(in_flight, self._calibrate_s) for side in sides]
            best = sides[rates.index(max(rates))]
            others.pop_all()
        for side in sides:
            if side is not best:
                side.__exit__(None, None, None)
        return best

    def _payloads(self, scenario: Scenario) -> Payloads:
        return self._folder.payloads(scenario.model, scenario.input)

    def _generator(self, scenario: Scenario, command: list[str], label: str, concurrency: int) -> Side:
        payloads = self._payloads(scenario)
        job = GeneratorJob(
            command=command,
            config=worker_config(scenario, concurrency),
            link=scenario.link,
            type=payloads.type,
            payloads=payloads.files,
            setup_type=payloads.setup_type,
            setup_payloads=payloads.setup_files,
        )
        return Side("bench.generator", job, label)


_RIVALS = {Rival.BARE: SideMaker.best_bare, Rival.REFERENCE: SideMaker.reference}
