"""A host library's driver as a side, with the worker that it starts."""

import sys
from collections.abc import Sequence

import msgspec
from msgspec import Struct, json

from bench.hosts.messages import DriverJob, DriverReady, Problem, Ran, Run
from bench.procfs import cpu_seconds, peak_megabytes
from bench.sides import Answer, LineProcess, SideFailedError
from bench.wire import Latency, Measurement

PATIENCE_S = 120.0
"""A driver that is silent for longer than this beyond what it was asked to do has hung."""


class Driver(LineProcess):
    """A driver with its worker."""

    def __init__(self, command: Sequence[str], job: DriverJob, label: str) -> None:
        """Start it and wait until a request has been answered.

        Raises:
            SideFailedError: it has ended, or said an error.
        """
        super().__init__(command, label)
        try:
            self._worker_pid = self.ask(job, DriverReady).worker_pid
        except SideFailedError:
            self.close()
            raise

    def run(self, count: int) -> Measurement:
        """Run so many requests, and wait for the figures.

        Raises:
            SideFailedError: some of them failed, or it has ended.
        """
        worker, own = cpu_seconds(self._worker_pid), cpu_seconds(self._process.pid)
        ran = self.ask(Run(run=count), Ran)
        if ran.failed:
            raise SideFailedError(f"{self.label}: {ran.failed} of {count} requests failed")
        return Measurement(
            count=count,
            seconds=ran.seconds,
            subject_cpu_s=cpu_seconds(self._worker_pid) - worker,
            generator_cpu_s=cpu_seconds(self._process.pid) - own,
            peak_mb=peak_megabytes(self._worker_pid),
            latency=Latency(p50=ran.p50_ms, p99=ran.p99_ms),
        )

    def ask(self, question: Struct, answer: type[Answer], seconds: float = 0.0) -> Answer:
        """Write a line, and return the next one.

        Args:
            question: what to do.
            answer: what the line is read as.
            seconds: how long it is asked to work.

        Raises:
            SideFailedError: it has ended, hangs, said an error, or something that cannot be read.
        """
        line = self._exchange(question, PATIENCE_S + seconds)
        try:
            problem = json.decode(line, type=Problem).error
            if not problem:
                return json.decode(line, type=answer)
        except msgspec.DecodeError as error:
            raise SideFailedError(f"{self.label} cannot be read: {error}") from error
        first, *more = problem.splitlines()
        if more:
            print(problem, file=sys.stderr)
        raise SideFailedError(f"{self.label}: {first}")
