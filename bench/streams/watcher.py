"""Runs `python -m worker watch` and reads its lines, one a frame.

`python -m bench.streams.watcher` takes a `WatchJob` and orders on stdin. A run is a process; what is measured
is from its first line to its last, so that its start is left out.
"""

import subprocess
import time

from bench.generator import alarm
from bench.procfs import cpu_seconds, peak_megabytes
from bench.streams.jobs import WatchJob
from bench.streams.reader import PATIENCE_S
from bench.wire import Measurement, Order, Ready, serve


class WatchRunner:
    """One process after another."""

    def __init__(self, job: WatchJob) -> None:
        self._command = job.command

    def run(self, order: Order) -> Measurement:
        """Watch so many frames; the CPU time is that of the command alone, not of its worker."""
        command = [*self._command, "--frames", str(order.count)]
        pipe = subprocess.PIPE
        with alarm(PATIENCE_S), subprocess.Popen(command, stdout=pipe, stderr=pipe) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            lines, first, last, cpu, peak = 0, 0.0, 0.0, 0.0, 0.0
            for _ in process.stdout:
                if not lines:
                    first, cpu = time.perf_counter(), cpu_seconds(process.pid)
                lines += 1
                if lines == order.count:
                    last, peak = time.perf_counter(), peak_megabytes(process.pid)
                    cpu = cpu_seconds(process.pid) - cpu
            said = process.stderr.read().decode(errors="replace")
        if process.returncode or lines != order.count:
            raise RuntimeError(f"watch ended after {lines} frames of {order.count}: {said}")
        return Measurement(count=lines - 1, seconds=last - first, subject_cpu_s=cpu, peak_mb=peak)

    def close(self) -> None:
        """Nothing runs between orders."""


def _prepare(job: WatchJob) -> tuple[WatchRunner, Ready]:
    return WatchRunner(job), Ready()


if __name__ == "__main__":
    serve(WatchJob, _prepare)
