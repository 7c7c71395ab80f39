"""Which configuration is best: medians over the rounds, and nothing is better that may be noise."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from worker.cli.tune_candidates import Candidate

TIE = 0.03
"""Of the better value: what differs by less is as good."""
_MAD_TO_SIGMA = 1.4826
"""From the median of the deviations to the standard deviation of normal noise."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round gave for one configuration."""

    rate: float
    """Requests a second at load."""
    p50_ms: float
    """At load."""
    p99_ms: float
    """At load."""
    alone_ms: float
    """Median latency with one request in flight."""
    cpu: float | None
    """Cores that the worker kept busy at load."""
    alone_cpu: float | None
    """Cores that it kept busy with one request in flight."""
    peak_mb: float | None


@dataclass(slots=True)
class Result:
    """What is known of one configuration."""

    candidate: Candidate
    rounds: list[Round] = field(default_factory=list)
    failure: str = ""
    """Why it does not work; a configuration that fails once is not chosen."""

    @property
    def measured(self) -> bool:
        return bool(self.rounds) and not self.failure

    def median(self, figure: str) -> float | None:
        """Return the median of a field of `Round`; None where there is none."""
        values = self._values(figure)
        return statistics.median(values) if values else None

    def noise(self, figure: str) -> float:
        """Return how much a field of `Round` strays between rounds; one slow round hardly counts."""
        values = self._values(figure)
        middle = statistics.median(values)
        return _MAD_TO_SIGMA * statistics.median([abs(value - middle) for value in values])

    def _values(self, figure: str) -> list[float]:
        values = [getattr(one, figure) for one in self.rounds]
        return [value for value in values if value is not None]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One figure to compare by."""

    figure: str
    """A field of `Round`."""
    more_is_better: bool
    least: float
    """What differs by less is as good, however small the values are."""

    def leaders(self, results: Sequence[Result]) -> Sequence[Result]:
        """Return the best, and those that are as good as far as can be told."""
        known = [(value, result) for result in results if (value := result.median(self.figure)) is not None]
        if len(known) < len(results):  # not told here: nothing to compare by
            return results
        sign = 1 if self.more_is_better else -1
        top, best = max(known, key=lambda pair: sign * pair[0])
        noise = best.noise(self.figure)
        return [
            result
            for value, result in known
            if abs(top - value) <= max(self.least, TIE * top, math.hypot(noise, result.noise(self.figure)))
        ]


GOALS: dict[str, tuple[Criterion, ...]] = {
    "latency": (Criterion("alone_ms", False, 0.05), Criterion("alone_cpu", False, 0.05)),
    "throughput": (Criterion("rate", True, 0.0), Criterion("p99_ms", False, 0.05)),
}
"""What counts, the first most; what is as good in all is decided by simplicity."""


def best(results: Iterable[Result], goal: str, cores: int) -> Result | None:
    """Return the best of what was measured, the simplest of equals; None where nothing works.

    Args:
        results: of all configurations.
        goal: a key of `GOALS`.
        cores: of the machine, by which native threads are counted.
    """
    left: Sequence[Result] = [result for result in results if result.measured]
    for criterion in GOALS[goal] if left else ():
        left = criterion.leaders(left)
    return min(left, key=lambda result: result.candidate.complexity(cores), default=None)


def as_good(one: Result, other: Result, goal: str) -> bool:
    """Return whether two configurations cannot be told apart in what counts most for a goal."""
    return len(GOALS[goal][0].leaders([one, other])) == 2
