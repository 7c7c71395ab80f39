"""When requests arrive in an open loop: decided beforehand, whatever the subject does."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LEAD_S = 0.002
"""From the beginning of an open loop to its first arrival."""

_SPIN_S = 0.0001
"""Sleeping takes about this much longer than asked for."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a schedule."""

    at: float
    """Seconds after its begin."""
    source: int


def even(rate: float, count: int) -> list[float]:
    """Return arrivals at equal distances, as of one camera."""
    return [LEAD_S + number / rate for number in range(count)]


def random_sources(rate: float, sources: int, seconds: float, seed: int) -> list[Arrival]:
    """Return the arrivals of several sources with random gaps, `rate` a second together, in order.

    A source's gaps are exponential, so that now and then several come at once.
    """
    chance = random.Random(seed)  # noqa: S311 - a schedule, no secret
    arrivals = []
    for source in range(sources):
        at = chance.expovariate(rate / sources)
        while at < seconds:
            arrivals.append(Arrival(at, source))
            at += chance.expovariate(rate / sources)
    return sorted(arrivals, key=lambda arrival: arrival.at)


def pace(
    schedule: Sequence[float],
    send: Callable[[int, int], object],
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Send each request at its moment, and what is overdue at once; returns when the schedule began.

    Args:
        schedule: seconds after the begin, in order.
        send: sends the requests from one number to before another. It may block: what comes later
            is then late, and its latency counts from its scheduled moment all the same.
        clock: seconds.
        sleep: waits so many.
    """
    began, sent = clock(), 0
    while sent < len(schedule):
        now = clock() - began
        due = sent
        while due < len(schedule) and schedule[due] <= now:
            due += 1
        if due > sent:
            send(sent, due)
            sent = due
        else:
            sleep(max(0.0, schedule[sent] - now - _SPIN_S))
    return began
