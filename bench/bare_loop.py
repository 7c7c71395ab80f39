"""The rival of the worker: the same work in one process, called from one thread or two, without a pipe.

`python -m bench.bare_loop` takes a `BareJob` and orders on stdin; the bench starts it.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.chain import Chain, frames_of, open_chain
from bench.procfs import peak_megabytes
from bench.wire import BareJob, Measurement, Order, Ready, serve
from preprocess.frame import Frame
from runtimes.base import Lane
from runtimes.cores import available_cores
from runtimes.options import RuntimeOptions


class BareLoop:
    """A model, its pictures, and the threads that call it."""

    def __init__(self, job: BareJob) -> None:
        """Load the model, and run each picture once in each thread."""
        self._chain = open_chain(job.model, _runtime_options(job))
        payloads = [Path(path).read_bytes() for path in job.payloads]
        self._frames = [frames_of(job.type, payload) for payload in payloads]
        self._threads = ThreadPoolExecutor(job.threads, initializer=self._open_lane)
        self._thread_count = job.threads
        self._lanes: dict[int, Lane] = {}
        self._step = self._cached_step() if job.cached else self._fresh_step
        self.run(Order(count=len(payloads) * job.threads))

    def run(self, order: Order) -> Measurement:
        """Run so many requests, on all threads."""
        numbers = iter(range(order.count))
        cpu, began = time.process_time(), time.perf_counter()
        done = [self._threads.submit(self._work, numbers) for _ in range(self._thread_count)]
        finished = sum(future.result() for future in done)
        seconds = time.perf_counter() - began
        assert finished == order.count
        return Measurement(
            count=order.count,
            seconds=seconds,
            subject_cpu_s=time.process_time() - cpu,
            peak_mb=peak_megabytes(os.getpid()),
        )

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()
        self._chain.compiled.close()

    def _open_lane(self) -> None:
        self._lanes[threading.get_ident()] = self._chain.compiled.open_lane()

    def _work(self, numbers: Iterator[int]) -> int:
        """Take one number after another: a range's iterator gives each to one thread alone."""
        lane, finished = self._lanes[threading.get_ident()], 0
        for number in numbers:
            self._step(lane, number)
            finished += 1
        return finished

    def _fresh_step(self, lane: Lane, number: int) -> None:
        for frame in self._frames[number % len(self._frames)]:
            self._chain.finish(lane, self._chain.prepare(frame))

    def _cached_step(self) -> Callable[[Lane, int], None]:
        """Prepare every picture now."""
        return _CachedStep(self._chain, list(itertools.chain.from_iterable(self._frames)))


class _CachedStep:
    """Predict and postprocess alone, over tensors that are there."""

    def __init__(self, chain: Chain, frames: list[Frame]) -> None:
        self._chain = chain
        self._prepared = [chain.prepare(frame) for frame in frames]

    def __call__(self, lane: Lane, number: int) -> None:
        self._chain.finish(lane, self._prepared[number % len(self._prepared)])


def _runtime_options(job: BareJob) -> RuntimeOptions:
    if job.native_threads is None:
        return RuntimeOptions(lanes=1, intra_threads=available_cores(), spinning=True)
    return RuntimeOptions(lanes=job.threads, intra_threads=job.native_threads)


def _prepare(job: BareJob) -> tuple[BareLoop, Ready]:
    return BareLoop(job), Ready()


if __name__ == "__main__":
    serve(BareJob, _prepare)
