"""A host that opens a stream of a file and takes its events: plain blocking Python, as the generator.

`python -m bench.streams.reader` takes a `StreamJob` and orders on stdin; the bench starts it. An order's
count is the frames of a run, from the command to the last event. A short stream is looked into before
anything is measured.
"""

import itertools
import time

import msgspec

from bench.generator import alarm
from bench.link import Link, command_packet
from bench.procfs import cpu_seconds, peak_megabytes
from bench.streams.events import Event, check_started
from bench.streams.jobs import StreamJob
from bench.wire import Measurement, Order, Ready, serve

PATIENCE_S = 120.0
"""A run that takes longer has hung."""

LOOKED_INTO = 8
"""Frames of the run that is not measured."""

_FRAME = b'{"event":"frame"'
_FINAL = b'"final":true'


class StreamReader:
    """One worker, and a stream after another."""

    def __init__(self, job: StreamJob) -> None:
        """Start the worker, shake hands, and check what a short stream gives."""
        self._clip = job.clip
        self._link = Link(job.command)
        self._ids = itertools.count(1)
        self.ready = Ready(lacking=check_started(self._link.shake_hands(job.config)))
        if not self.ready.lacking:
            self._look_into()

    def run(self, order: Order) -> Measurement:
        """Read so many frames of the file."""
        pid = self._link.process.pid
        cpu, own, began = cpu_seconds(pid), time.process_time(), time.perf_counter()
        frames, last = 0, b""
        with alarm(PATIENCE_S):
            self._open(order.count)
            while not last:
                for _, body in self._link.answers():
                    if body.startswith(_FRAME):
                        frames += 1
                    elif _FINAL in body:
                        last = body
        seconds = time.perf_counter() - began
        if frames != order.count:
            raise RuntimeError(f"{frames} frames of {order.count}: {last.decode()}")
        return Measurement(
            count=frames,
            seconds=seconds,
            subject_cpu_s=cpu_seconds(pid) - cpu,
            generator_cpu_s=time.process_time() - own,
            peak_mb=peak_megabytes(pid),
        )

    def close(self) -> None:
        """End the worker."""
        self._link.close()

    def _open(self, frames: int) -> None:
        number = next(self._ids)
        source = {"type": "file", "path": self._clip, "endFrame": frames}
        self._link.send(
            [command_packet(number, {"cmd": "stream_open", "streamId": number, "source": source})]
        )

    def _look_into(self) -> None:
        with alarm(PATIENCE_S):
            self._open(LOOKED_INTO)
            numbers, ended = list[int](), False
            while not ended:
                for _, body in self._link.answers():
                    event = msgspec.json.decode(body, type=Event)
                    event.check()
                    numbers += [event.frame_number] * (event.event == "frame")
                    ended = event.final
        if numbers != list(range(LOOKED_INTO)):
            raise RuntimeError(f"the frames have the numbers {numbers}")


def _prepare(job: StreamJob) -> tuple[StreamReader, Ready]:
    reader = StreamReader(job)
    return reader, reader.ready


if __name__ == "__main__":
    serve(StreamJob, _prepare)
