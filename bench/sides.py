"""The processes that take turns: a generator with its subject, a bare loop, or a host library's driver."""

import contextlib
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from msgspec import Struct, json

from bench.wire import Measurement, Order, Ready

Answer = TypeVar("Answer", bound=Struct)

Run = Callable[[int], Measurement]
"""Runs so many requests in a closed loop."""

END_S = 30.0
"""How long a process may take to end."""


class SideFailedError(Exception):
    """A process of the bench ended before its time; what it said is on stderr."""


class LineProcess:
    """A process that answers each line on its stdin by one on its stdout."""

    def __init__(self, command: Sequence[str], label: str) -> None:
        """Start it; its stderr is ours."""
        self.label = label
        """How it is configured, for a person."""
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

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

    def _exchange(self, question: Struct, patience_s: float | None = None) -> bytes:
        """Write a line and wait for the next one.

        Raises:
            SideFailedError: the process has ended, or was killed as it said nothing for so long.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.encode(question) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise SideFailedError(f"{self.label} has ended") from None
        if not select.select([self._process.stdout], [], [], patience_s)[0]:
            self._process.kill()
            raise SideFailedError(f"{self.label} has not answered within {patience_s:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise SideFailedError(f"{self.label} has ended")
        return line


class Side(LineProcess):
    """A process that runs orders."""

    def __init__(self, module: str, job: Struct, label: str) -> None:
        """Start it and wait until it is set up."""
        super().__init__([sys.executable, "-m", module], label)
        try:
            self.ready = self._ask(job, Ready)
        except SideFailedError:
            self.close()
            raise

    def run(self, count: int, in_flight: int) -> Measurement:
        """Run so many requests, so many in flight, and wait for the figures."""
        return self._ask(Order(count=count, in_flight=in_flight), Measurement)

    def run_open(self, rate: float, seconds: float) -> Measurement:
        """Let requests arrive at a fixed rate for so long."""
        return self._ask(Order(count=max(1, round(rate * seconds)), rate=rate), Measurement)

    def stages(self, count: int, in_flight: int) -> dict[str, float]:
        """Return mean milliseconds a stage over so many requests; nothing where answers tell none."""
        return self._ask(Order(count=count, in_flight=in_flight, stages=True), Measurement).stages

    def rate(self, in_flight: int, seconds: float) -> float:
        """Return the requests a second of a run of about so long, with shorter ones to warm up."""
        return settled_rate(partial(self.run, in_flight=in_flight), in_flight, seconds)

    def _ask(self, question: Struct, answer: type[Answer]) -> Answer:
        return json.decode(self._exchange(question), type=answer)


def settled_rate(run: Run, in_flight: int, seconds: float) -> float:
    """Return the requests a second of a run of about so long, with shorter ones to warm up."""
    count = max(4, 2 * in_flight)
    while True:
        measured = run(count)
        if measured.seconds >= seconds / 2:
            return measured.rate
        count = min(count * 20, round(measured.rate * seconds) + 1)
