"""The rival of a stream: the same file decoded, converted and prepared in one process, without a worker.

`python -m bench.streams.bare_loop` takes a `StreamBareJob` and orders on stdin; the bench starts it. The
file is opened anew for each run. Decoding is PyAV's with threads as the worker has them; tensors are made by
the worker's own OpenCV code, in memory that is used again.
"""

import ctypes
import itertools
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import av
import cv2
import numpy as np

from bench.chain import open_chain
from bench.procfs import peak_megabytes
from bench.stream_scenario import Way
from bench.streams.jobs import StreamBareJob
from bench.wire import Measurement, Order, Ready, serve
from preprocess.buffers import BufferPool
from preprocess.frame import Pixels
from preprocess.prepare import prepare
from protocol.pixel_format import PixelFormat
from runtimes.base import Lane
from runtimes.cores import available_cores
from runtimes.options import RuntimeOptions

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's names for `mallopt`."""

_KEPT_BYTES, _LARGEST_BYTES = 256 << 20, 32 << 20

Convert = Callable[[av.VideoFrame, BufferPool], Pixels]


def _by_libswscale(frame: av.VideoFrame, _pool: BufferPool) -> Pixels:
    return Pixels(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), PixelFormat.RGB)


def _by_opencv(frame: av.VideoFrame, pool: BufferPool) -> Pixels:
    rgb = pool.tensor((frame.height, frame.width, 3), "uint8")
    cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420, dst=rgb)
    return Pixels(rgb, PixelFormat.RGB)


CONVERTERS: Mapping[Way, Convert] = {"rgb24": _by_libswscale, "I420": _by_opencv}


class StreamBareLoop:
    """A file, and what makes tensors of its frames."""

    def __init__(self, job: StreamBareJob) -> None:
        _keep_memory()
        self._job = job
        self._convert = CONVERTERS[job.way]
        self._chain = open_chain(job.model, _runtime_options(job))
        self._lanes: dict[int, Lane] = {}
        self._decoding = threading.Lock()
        self._threads = ThreadPoolExecutor(job.threads)
        self.run(Order(count=2 * job.threads))

    def run(self, order: Order) -> Measurement:
        """Decode so many frames from the first on, and make the tensor of each."""
        clock = _Clock(from_first=self._job.from_first)
        with closing(self._frames(order.count)) as frames:
            done = [self._threads.submit(self._work, frames, clock) for _ in range(self._job.threads)]
            finished = sum(each.result() for each in done)
        if finished != order.count:
            raise RuntimeError(f"{self._job.clip} has {finished} frames, not {order.count}")
        return clock.read(finished)

    def close(self) -> None:
        """End the threads, and let go of the model."""
        self._threads.shutdown()
        self._lanes.clear()
        self._chain.compiled.close()

    def _frames(self, count: int) -> Generator[av.VideoFrame, None, None]:
        with av.open(self._job.clip) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield from itertools.islice(container.decode(stream), count)

    def _work(self, frames: Iterator[av.VideoFrame], clock: "_Clock") -> int:
        finished, chain = 0, self._chain
        while True:
            with self._decoding:
                frame = next(frames, None)
            if frame is None:
                return finished
            pixels = self._convert(frame, chain.pool)
            prepared = prepare(pixels, chain.options, None, chain.pool)
            if self._job.predicts:
                chain.predict(self._lane(), prepared)
            clock.tick()
            finished += 1

    def _lane(self) -> Lane:
        thread = threading.get_ident()
        if thread not in self._lanes:
            self._lanes[thread] = self._chain.compiled.open_lane()
        return self._lanes[thread]


class _Clock:
    """Time and CPU of a run, from its begin or from its first frame."""

    def __init__(self, *, from_first: bool) -> None:
        self._waits = from_first
        self._skipped = 0
        self._start()

    def tick(self) -> None:
        """A frame is done."""
        if self._waits:
            self._waits, self._skipped = False, 1
            self._start()

    def read(self, frames: int) -> Measurement:
        return Measurement(
            count=frames - self._skipped,
            seconds=time.perf_counter() - self._began,
            subject_cpu_s=time.process_time() - self._cpu,
            peak_mb=peak_megabytes(os.getpid()),
        )

    def _start(self) -> None:
        self._cpu, self._began = time.process_time(), time.perf_counter()


def _keep_memory() -> None:
    """Have glibc keep what is freed.

    By itself it gives a picture's memory back to the system at every other picture, or does not: by where it
    happens to lie. Then 2,500 page faults a frame cost as much as decoding does.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(M_TRIM_THRESHOLD, _KEPT_BYTES)
    libc.mallopt(M_MMAP_THRESHOLD, _LARGEST_BYTES)


def _runtime_options(job: StreamBareJob) -> RuntimeOptions:
    if job.native_threads is None:
        return RuntimeOptions(lanes=1, intra_threads=available_cores(), spinning=True)
    return RuntimeOptions(lanes=job.threads, intra_threads=job.native_threads)


def _prepare(job: StreamBareJob) -> tuple[StreamBareLoop, Ready]:
    return StreamBareLoop(job), Ready()


if __name__ == "__main__":
    serve(StreamBareJob, _prepare)
