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
        self._chain = open_chain(job.model, _runtime_options(job), job.postprocessor)
        payloads = [Path(path).read_bytes() for path in job.payloads]
        self._frames = [frames_of(job.type, payload) for payload in payloads]
        self._threads = ThreadPoolExecutor(job.threads, initializer=self._open_lane)
        self._thread_count = job.threads
        self._lanes: dict[int, Lane] = {}
        self._batch = job.batch
        self._step = self._chosen_step(job)
        self.run(Order(count=len(payloads) * job.threads * job.batch))

    def run(self, order: Order) -> Measurement:
        """Run so many requests, or the next multiple of a batch, on all threads."""
        steps = -(-order.count // self._batch)
        numbers = iter(range(steps))
        cpu, began = time.process_time(), time.perf_counter()
        done = [self._threads.submit(self._work, numbers) for _ in range(self._thread_count)]
        finished = sum(future.result() for future in done)
        seconds = time.perf_counter() - began
        assert finished == steps
        return Measurement(
            count=steps * self._batch,
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

    def _batch_step(self, lane: Lane, number: int) -> None:
        frames = itertools.islice(itertools.cycle(self._pictures()), self._batch)
        self._chain.finish_all(lane, [self._chain.prepare(frame) for frame in frames])

    def _pictures(self) -> Iterator[Frame]:
        return itertools.chain.from_iterable(self._frames)

    def _chosen_step(self, job: BareJob) -> Callable[[Lane, int], None]:
        if job.cached:
            return _CachedStep(self._chain, list(self._pictures()))  # prepares every picture now
        return self._batch_step if job.batch > 1 else self._fresh_step


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
