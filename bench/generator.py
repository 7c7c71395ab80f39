"""The load: plain blocking Python that sends prebuilt packets, and keeps exactly N in flight.

`python -m bench.generator` takes a `GeneratorJob` and orders on stdin; the bench starts it. It imports
no numpy and decodes no answer in the measured time: what it costs counts against the worker.
"""

import gc
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.intervals import percentile
from bench.link import Link, request_head, request_packet
from bench.procfs import cpu_seconds, peak_megabytes
from bench.wire import GeneratorJob, Measurement, Order, Ready, serve

JOIN_BYTES = 4096
"""Packets up to this size are joined with their heads beforehand; larger ones go as [head, payload]."""

PATIENCE_S = 120.0
"""A run that takes longer has hung."""

MAX_PARTS = 512
"""Parts of one `writev`; the system takes 1024."""

Parts = list[bytes]


class AnswerError(Exception):
    """The subject answered with an error."""


class Generator:
    """One subject, and the packets that are sent to it."""

    def __init__(self, job: GeneratorJob) -> None:
        """Start the subject, shake hands, send the setup and check one answer."""
        self._type = job.type
        self._payloads = [Path(path).read_bytes() for path in job.payloads]
        self._link = Link(job.command, job.link)
        with alarm(PATIENCE_S):
            self.ready = _checked(self._link.shake_hands(job.config))
            for path in job.setup_payloads:
                self._exchange(job.setup_type, Path(path).read_bytes())
            for payload in self._payloads:
                self._exchange(job.type, payload)

    def run(self, order: Order) -> Measurement:
        """Send so many requests, `in_flight` at a time, and wait for every answer."""
        packets = self._packets(order.count)
        pid = self._link.process.pid
        latencies = [0.0] * order.count
        gc.collect()
        gc.disable()
        with alarm(PATIENCE_S):
            subject_began, own_began = cpu_seconds(pid), time.process_time()
            began = time.perf_counter()
            _drive(self._link, packets, order.in_flight, latencies)
            seconds = time.perf_counter() - began
            own_cpu, subject_cpu = time.process_time() - own_began, cpu_seconds(pid) - subject_began
        gc.enable()
        latencies.sort()
        return Measurement(
            count=order.count,
            seconds=seconds,
            subject_cpu_s=subject_cpu,
            generator_cpu_s=own_cpu,
            peak_mb=peak_megabytes(pid),
            p50_ms=percentile(latencies, 0.5) * 1000,
            p95_ms=percentile(latencies, 0.95) * 1000,
        )

    def close(self) -> None:
        """End the subject."""
        self._link.close()

    def _exchange(self, type_byte: int, payload: bytes) -> None:
        self._link.send([request_packet(0, type_byte, payload)])
        _checked(self._link.one_answer())

    def _packets(self, count: int) -> list[Parts]:
        """Return every request of a run as the parts that are written; payloads are shared."""
        payloads = self._payloads
        return [self._packet(number, payloads[number % len(payloads)]) for number in range(count)]

    def _packet(self, request_id: int, payload: bytes) -> Parts:
        head = request_head(request_id, self._type, len(payload))
        return [head + payload] if len(payload) <= JOIN_BYTES else [head, payload]


def _drive(link: Link, packets: list[Parts], in_flight: int, latencies: list[float]) -> None:
    """The measured loop: a new request for each answer, until all are answered."""
    clock, receive = time.perf_counter, link.receive
    count = len(packets)
    sent_at = latencies  # holds the moment of sending until the answer comes
    sent = _send_more(link, packets, 0, min(in_flight, count), sent_at)
    answered = 0
    while answered < count:
        ids = receive()
        now = clock()
        for request_id in ids:
            latencies[request_id] = now - sent_at[request_id]
        answered += len(ids)
        if sent < count and ids:
            sent = _send_more(link, packets, sent, min(sent + len(ids), count), sent_at)


def _send_more(link: Link, packets: list[Parts], begin: int, end: int, sent_at: list[float]) -> int:
    """Send `packets[begin:end]`: small ones in one system call, large ones each by itself."""
    clock = time.perf_counter
    if len(packets[begin]) == 1:
        for first in range(begin, end, MAX_PARTS):
            chunk = packets[first : min(first + MAX_PARTS, end)]
            sent_at[first : first + len(chunk)] = [clock()] * len(chunk)
            link.send([part for parts in chunk for part in parts])
        return end
    for number in range(begin, end):
        sent_at[number] = clock()
        link.send(packets[number])
    return end


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what blocks for longer."""
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _on_alarm(*_: object) -> None:
    raise TimeoutError("the subject does not answer")


def _checked(answer: dict[str, object]) -> dict[str, object]:
    problems = [answer, *answer.get("results", []), *answer.get("slots", [])]  # type: ignore[misc]
    for problem in problems:
        if problem.get("error"):
            raise AnswerError(json.dumps(problem))
    return answer


def _prepare(job: GeneratorJob) -> tuple[Generator, Ready]:
    generator = Generator(job)
    return generator, Ready(answer=generator.ready)


if __name__ == "__main__":
    serve(GeneratorJob, _prepare)
