"""The load: plain blocking Python that sends prebuilt packets.

`python -m bench.generator` takes a `GeneratorJob` and orders on stdin; the bench starts it. It imports
no numpy. In a closed loop, which keeps exactly N in flight, it decodes no answer in the measured time:
what it costs counts against the worker. In an open loop it looks for errors, and a thread of its own
reads.
"""

import gc
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.collector import Collector, read_outcome
from bench.link import (
    MAX_PARTS,
    OPTIONS_FLAG,
    Link,
    command_packet,
    options_prefix,
    request_head,
    request_packet,
)
from bench.procfs import cpu_seconds, peak_megabytes
from bench.regions import Region
from bench.schedule import even, pace
from bench.wire import GeneratorJob, Latency, Measurement, Order, Ready, serve

JOIN_BYTES = 4096
"""Packets up to this size are joined with their heads beforehand; larger ones go as [head, payload]."""

PATIENCE_S = 120.0
"""A run that takes longer has hung."""

OUTSIDE = "outside"
"""What of a latency no stage accounts for: the pipe, the worker's loop, and the host."""

Parts = list[bytes]


class AnswerError(Exception):
    """The subject answered with an error."""


class Generator:
    """One subject, and the packets that are sent to it."""

    def __init__(self, job: GeneratorJob) -> None:
        """Start the subject, shake hands, send the setup and check one answer to each picture."""
        self._type = job.type
        self._payloads = [Path(path).read_bytes() for path in job.payloads]
        self._prefixes = [options_prefix(options) for options in job.options]
        self._region = Region(job.region_id, Path(job.region_file)) if job.region_file else None
        self._link = Link(job.command, job.link)
        with alarm(PATIENCE_S):
            answer = _checked(self._link.shake_hands(job.config))
            has = answer.get("features", job.features)  # the reference reader tells none
            lacking = [name for name in job.features if name not in has]
            self.ready = Ready(answer=answer, lacking=lacking)
            if not lacking:
                self._set_up(job)

    def run(self, order: Order) -> Measurement:
        """Send so many requests, and wait for every answer."""
        packets = self._packets(order.count)
        gc.collect()
        gc.disable()
        try:
            with alarm(PATIENCE_S + (order.count / order.rate if order.rate else 0)):
                if order.stages:
                    return self._stages(packets, order)
                return self._open(packets, order) if order.rate else self._closed(packets, order)
        finally:
            gc.enable()

    def close(self) -> None:
        """End the subject."""
        self._link.close()
        if self._region:
            self._region.close()

    def _closed(self, packets: list[Parts], order: Order) -> Measurement:
        latencies = [0.0] * order.count
        meter = _Meter(self._link.process.pid)
        _drive(self._link, packets, order.in_flight, latencies)
        return meter.read(order.count, Latency.of(latencies))

    def _open(self, packets: list[Parts], order: Order) -> Measurement:
        """Requests at their scheduled moments; latencies from there to the answers."""
        schedule = even(order.rate, order.count)
        collector = Collector(self._link, order.count)
        meter = _Meter(self._link.process.pid)
        collector.start()
        began = pace(schedule, partial(_send_more, self._link, packets, sent_at=[0.0] * order.count))
        collector.join()
        if collector.error:
            raise collector.error
        latencies = [
            at - began - scheduled
            for number, (at, scheduled) in enumerate(zip(collector.answered_at, schedule, strict=True))
            if number not in collector.failed
        ]
        return meter.read(len(latencies), Latency.of(latencies), dict(collector.codes))

    def _stages(self, packets: list[Parts], order: Order) -> Measurement:
        """A closed loop that decodes the answers."""
        sent_at, total, sums = [0.0] * order.count, 0.0, dict[str, float]()
        meter = _Meter(self._link.process.pid)
        sent = _send_more(self._link, packets, 0, min(order.in_flight, order.count), sent_at)
        answered = 0
        while answered < order.count:
            answers = self._link.answers()
            now = time.perf_counter()
            for request_id, body in answers:
                total += (now - sent_at[request_id]) * 1000
                for stage, milliseconds in read_outcome(body).timings.items():
                    sums[stage] = sums.get(stage, 0.0) + milliseconds
            answered += len(answers)
            if answers and sent < order.count:
                sent = _send_more(self._link, packets, sent, min(sent + len(answers), order.count), sent_at)
        outside = max(0.0, total - sum(sums.values()))
        means = {stage: value / order.count for stage, value in {**sums, OUTSIDE: outside}.items()}
        return meter.read(order.count, None, stages=means if sums else {})

    def _set_up(self, job: GeneratorJob) -> None:
        if self._region:
            self._exchange([command_packet(0, self._region.attach)])
        for path in job.setup_payloads:
            self._exchange([request_packet(0, job.setup_type, Path(path).read_bytes())])
        for packet in self._packets(len(self._payloads)):
            self._exchange(packet)

    def _exchange(self, parts: Parts) -> None:
        self._link.send(parts)
        _checked(self._link.one_answer())

    def _packets(self, count: int) -> list[Parts]:
        """Return every request of a run as the parts that are written; payloads are shared."""
        payloads, prefixes = self._payloads, self._prefixes or [b""]
        return [
            self._packet(number, prefixes[number % len(prefixes)], payloads[number % len(payloads)])
            for number in range(count)
        ]

    def _packet(self, request_id: int, prefix: bytes, payload: bytes) -> Parts:
        kind = self._type | OPTIONS_FLAG if prefix else self._type
        head = request_head(request_id, kind, len(prefix) + len(payload)) + prefix
        return [head + payload] if len(payload) <= JOIN_BYTES else [head, payload]


class _Meter:
    """Time and CPU from its making on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._subject, self._own = cpu_seconds(pid), time.process_time()
        self._began = time.perf_counter()

    def read(
        self,
        count: int,
        latency: Latency | None,
        errors: dict[str, int] | None = None,
        stages: dict[str, float] | None = None,
    ) -> Measurement:
        return Measurement(
            count=count,
            seconds=time.perf_counter() - self._began,
            subject_cpu_s=cpu_seconds(self._pid) - self._subject,
            generator_cpu_s=time.process_time() - self._own,
            peak_mb=peak_megabytes(self._pid),
            latency=latency,
            stages=stages or {},
            errors=errors or {},
        )


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


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    problems = [answer, *answer.get("results", []), *answer.get("slots", [])]
    for problem in problems:
        if problem.get("error"):
            raise AnswerError(json.dumps(problem))
    return answer


def _prepare(job: GeneratorJob) -> tuple[Generator, Ready]:
    generator = Generator(job)
    return generator, generator.ready


if __name__ == "__main__":
    serve(GeneratorJob, _prepare)
