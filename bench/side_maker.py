"""Starts the sides of a scenario, the best of each by a short trial."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.host_scenario import HOST_INPUTS, Hosted, HostRatio, Language
from bench.hosts.driver import Driver
from bench.hosts.libraries import ROOT, Library, own_libraries
from bench.hosts.messages import DriverJob
from bench.inputs import REGION, PayloadFolder, Payloads
from bench.models import ModelFolder
from bench.scenario import Absolute, Driven, Memory, Ratio, Sweep
from bench.scenario_base import Rival
from bench.sides import Side
from bench.stream_scenario import Streamed
from bench.wire import BareJob, GeneratorJob
from protocol.messages import MessageType
from runtimes.cores import available_cores

WORKER = [sys.executable, "-m", "worker"]
REFERENCE_READER = [sys.executable, "-m", "bench.reference_reader"]


@dataclass(frozen=True, slots=True)
class BareVariant:
    """One way to call the bare loop."""

    threads: int
    native_threads: int | None
    batch: int = 1

    @property
    def label(self) -> str:
        """For a person."""
        native = "default" if self.native_threads is None else str(self.native_threads)
        batch = f", {self.batch} a call" if self.batch > 1 else ""
        return f"{self.threads} calling, {native} native{batch}"


BARE_VARIANTS = tuple(BareVariant(threads, native) for threads in (1, 2) for native in (1, None))
"""The best of them is what the worker is held against."""

UNCALIBRATED_BARE = BareVariant(2, 1)

CONCURRENCIES = (1, 2)
"""The best of them is how the worker is configured."""

IN_FLIGHT_OF_TRIALS = 4
"""Where a scenario has no number of its own."""


class LackingError(Exception):
    """A subject cannot do what a scenario asks for."""


class SideMaker:
    """Starts sides, and knows by calibration which variants are the best."""

    def __init__(
        self,
        folder: Path,
        calibrate_s: float,
        worker: Sequence[str] = WORKER,
        against: Sequence[str] = (),
        libraries: Mapping[Language, Library] | None = None,
    ) -> None:
        """Create a maker.

        Args:
            folder: where models and payloads are written.
            calibrate_s: how long each variant is tried; 0: none is, two threads are taken.
            worker: starts the worker.
            against: starts another one, which takes every rival's place; (): none does.
            libraries: the host libraries; None: the project's own.
        """
        self._models = ModelFolder(folder)
        self._folder = PayloadFolder(folder)
        self._worker = worker
        self._calibrate_s = calibrate_s
        self._best_bare: dict[tuple[str, str], BareVariant] = {}
        self.against = tuple(against)
        self._libraries = own_libraries() if libraries is None else libraries

    def config(
        self, scenario: Driven | Hosted | Streamed, concurrency: int, more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the handshake."""
        model = self._models.model(scenario.model)
        return {
            "protocol": 3,
            "runtime": "auto",
            "concurrency": concurrency,
            "models": [{"path": model.path, **model.config, **scenario.model_config}],
            **more,
        }

    def payloads(self, scenario: Driven) -> Payloads:
        """Return the files of what is sent."""
        return self._folder.payloads(scenario.model, scenario.input)

    def worker(self, scenario: Driven, concurrency: int) -> Side:
        """Start a generator and a worker."""
        return self._subject(scenario, self._worker, concurrency, scenario.config)

    def best_worker(self, scenario: Driven) -> Side:
        """Start the worker with each concurrency, and keep the quickest."""
        return self._best_subject(scenario, self._worker, scenario.config)

    def other_worker(self, scenario: Driven) -> Side:
        """Start what stands against the worker: the other command, or this one otherwise configured."""
        if self.against:
            return self._best_subject(scenario, self.against, scenario.config)
        assert isinstance(scenario, Ratio)
        return self._best_subject(scenario, self._worker, scenario.rival_config)

    def rival(self, scenario: Driven) -> Side | None:
        """Start the best of what a scenario is held against; None where it stands alone."""
        if self.against:
            return self.other_worker(scenario)
        rival = scenario.rival if isinstance(scenario, Ratio | Sweep) else Rival.NONE
        start = _RIVALS.get(Rival(rival))
        return start(self, scenario) if start else None

    def rival_name(self, name: str) -> str:
        """Return what to call the rival."""
        return shlex.join(self.against) or name

    def reference(self, scenario: Driven) -> Side:
        """Start a generator and the reference reader."""
        return Side("bench.generator", self._job(scenario, REFERENCE_READER, 1, {}), "two threads")

    def bare(self, scenario: Driven, variant: BareVariant) -> Side:
        """Start a bare loop."""
        payloads = self.payloads(scenario)
        model = self._models.model(scenario.model)
        job = BareJob(
            model=model.path,
            postprocessor={**model.config, **scenario.model_config}.get("postprocessor", "yolo"),
            type=payloads.pixels_type,
            payloads=payloads.pixels_files,
            cached=payloads.cached,
            threads=variant.threads,
            native_threads=variant.native_threads,
            batch=variant.batch,
        )
        return Side("bench.bare_loop", job, variant.label)

    def best_bare(self, scenario: Driven) -> Side:
        """Start the quickest bare loop; calibrated once a model and input."""
        if isinstance(scenario, Ratio) and scenario.full_batches:
            return self.bare(scenario, BareVariant(1, available_cores(), scenario.full_batches))
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

    def start_rival(self, scenario: Memory) -> Side:
        """Start what a fresh worker's memory is held against."""
        if self.against:
            return self._subject(scenario, self.against, CONCURRENCIES[-1], scenario.config)
        return self.bare(scenario, UNCALIBRATED_BARE)

    def driver(self, scenario: Hosted, name: str) -> Driver:
        """Start a host library's driver, which starts the worker and sends it the input of this name.

        Raises:
            LackingError: it is not built.
        """
        library = self._libraries[scenario.language]
        if library.lacking:
            raise LackingError(library.lacking)
        sent = HOST_INPUTS[name]
        config = self.config(scenario, scenario.concurrency, scenario.config)
        del config["protocol"]  # the library says it
        job = DriverJob(
            command=list(self._worker),
            config=config,
            input=sent.word,
            width=sent.width,
            height=sent.height,
            in_flight=scenario.in_flight,
            cwd=str(ROOT),
        )
        return Driver(library.command, job, f"{scenario.language}, concurrency {scenario.concurrency}")

    def generator(self, scenario: HostRatio) -> Side:
        """Start a generator and a worker on the same kind of link as the host library uses."""
        alike = Absolute(
            model=scenario.model,
            model_config=scenario.model_config,
            input=scenario.input,
            link=self._libraries[scenario.language].link,
            config=scenario.config,
            in_flight=scenario.in_flight,
        )
        return self.worker(alike, scenario.concurrency)

    def _best_subject(self, scenario: Driven, command: Sequence[str], config: Mapping[str, Any]) -> Side:
        if scenario.concurrency or not self._calibrate_s:
            return self._subject(scenario, command, scenario.concurrency or CONCURRENCIES[-1], config)
        starts = [partial(self._subject, scenario, command, each, config) for each in CONCURRENCIES]
        return self._best(starts, getattr(scenario, "in_flight", IN_FLIGHT_OF_TRIALS))

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

    def _subject(
        self, scenario: Driven, command: Sequence[str], concurrency: int, config: Mapping[str, Any]
    ) -> Side:
        job = self._job(scenario, command, concurrency, config)
        side = Side("bench.generator", job, f"concurrency {concurrency}")
        if side.ready.lacking:
            side.close()
            raise LackingError(f"{shlex.join(command)} has no {', '.join(side.ready.lacking)}")
        return side

    def _job(
        self, scenario: Driven, command: Sequence[str], concurrency: int, config: Mapping[str, Any]
    ) -> GeneratorJob:
        payloads = self.payloads(scenario)
        options = request_options(scenario)
        return GeneratorJob(
            command=list(command),
            config=self.config(scenario, concurrency, config),
            link=scenario.link,
            type=payloads.type,
            payloads=payloads.files,
            setup_type=payloads.pixels_type,
            setup_payloads=payloads.setup_files,
            region_file=payloads.region_file,
            region_id=REGION,
            options=options,
            features=_features(payloads.type, options),
        )


_RIVALS: Mapping[Rival, Callable[[SideMaker, Driven], Side]] = {
    Rival.BARE: SideMaker.best_bare,
    Rival.REFERENCE: SideMaker.reference,
    Rival.WORKER: SideMaker.other_worker,
}


def request_options(scenario: Driven) -> list[dict[str, Any]]:
    """Return the options of the requests, in turn; none where there are none."""
    if scenario.sources:
        return [{**scenario.options, "source": f"camera {number}"} for number in range(scenario.sources)]
    return [scenario.options] if scenario.options else []


def _features(type_byte: int, options: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the features of protocol 3 that requests use."""
    return ["shared"] * (type_byte == MessageType.INFER_SHARED) + ["options"] * bool(options)
