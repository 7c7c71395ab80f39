"""Keeps so many requests in flight: to learn what is sustained, or as a flood beside others."""

import itertools
import time
from collections.abc import Sequence
from statistics import median

from bench.policies.host import Host, Request
from bench.sides import SideFailedError


class Flood:
    """Answers every answer with the next request, until it is told to stop."""

    def __init__(self, host: Host, requests: Sequence[Request], in_flight: int) -> None:
        """Begin."""
        self._host = host
        self._requests = itertools.cycle(requests)
        self._stopped = False
        self.ids: list[int] = []
        """Of all that it sent."""
        for _ in range(in_flight):
            self._again(0)

    def stop(self) -> None:
        """Send no more; what is in flight is answered yet."""
        self._stopped = True

    def _again(self, _answered: int) -> None:
        if not self._stopped:
            self.ids += self._host.post([next(self._requests)], self._again)


def sustained(host: Host, requests: Sequence[Request], in_flight: int, seconds: float) -> tuple[float, float]:
    """Return the requests a second that a closed loop gets, and the median predict time in milliseconds."""
    _loop(host, requests, in_flight, seconds / 4)  # to warm up
    ids, took = _loop(host, requests, in_flight, seconds)
    predicts = [host.answers[number].outcome.timings.get("predict", 0.0) for number in ids]
    return len(ids) / took, median(predicts)


def _loop(host: Host, requests: Sequence[Request], in_flight: int, seconds: float) -> tuple[list[int], float]:
    began = time.perf_counter()
    flood = Flood(host, requests, in_flight)
    time.sleep(seconds)
    flood.stop()
    if not host.wait():
        raise SideFailedError("the worker does not answer")
    return flood.ids, time.perf_counter() - began
