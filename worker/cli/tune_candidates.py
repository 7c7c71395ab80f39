"""What `tune` searches: pool sizes with native threads first, then spinning and batches on the best of them.

The full product would take an hour on a large machine. So the first stage takes every pool size (1, 2,
4 … cores, at most 8) with every number of native threads that the cores allow (1, 2, 4 …, and what the
runtime chooses), without spinning and without batches. The second takes the few that were best: the
best with several native threads, with spinning; the best with one predict thread and the best of all,
where that has one or two, with batches (2, 4, 8, as the model allows). Spinning is not tried together
with batches, and on other devices than the CPU the native threads are left to the runtime.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_CONCURRENCY = 8
"""What `"concurrency": "auto"` stops at too."""
MOST_ITEMS = 8
"""Of a batch: beyond it latency grows and throughput hardly."""
_FEW_LANES = 2
"""Up to so many predict threads batches are tried: more take each request before others join it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One configuration; without arguments the worker's own defaults."""

    concurrency: int = 1
    intra_threads: int | None = None
    """None leaves it to the runtime: the cores shared among the predict threads."""
    spinning: bool = False
    max_batch_size: int = 1
    """1 is `batch_mode` none, more is adaptive."""

    @property
    def in_flight(self) -> int:
        """How many requests keep every predict thread busy while the next batch is prepared."""
        return 2 * self.concurrency * self.max_batch_size

    def native_threads(self, cores: int) -> int:
        """Return the native threads of one predict call, also where the runtime chooses them."""
        return self.intra_threads or max(1, cores // self.concurrency)

    def complexity(self, cores: int) -> tuple[int, bool, int, int, bool]:
        """Return a key that sorts the simplest first: fewest threads, no spinning, no batches."""
        native = self.native_threads(cores)
        chosen = self.intra_threads is not None
        return self.concurrency * native, self.spinning, self.max_batch_size, self.concurrency, chosen

    def handshake(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Return a whole configuration.

        Args:
            base: the configuration of a worker with the one model.
        """
        (model,) = base["models"]
        native = {} if self.intra_threads is None else {"intraThreads": self.intra_threads}
        return {
            **base,
            "concurrency": self.concurrency,
            "batch_mode": "none" if self.max_batch_size == 1 else "adaptive",
            "max_batch_size": self.max_batch_size,
            "models": [{**model, **native, "spinning": self.spinning}],
        }


@dataclass(frozen=True, slots=True)
class Space:
    """What the machine and the model leave to be searched."""

    cores: int
    on_cpu: bool
    """Whether native threads are what computes; on another device they hardly matter."""
    batch_limit: int
    """The most items of one native call."""
    quick: bool = False
    """Only the ends of each range, and no spinning."""

    def pools(self) -> list[Candidate]:
        """Return the first stage, the default configuration first."""
        found = [Candidate(lanes, native) for lanes in self._lanes() for native in self._native(lanes)]
        return list(dict.fromkeys((Candidate(), *found)))

    def spinning(self, base: Candidate) -> list[Candidate]:
        """Return a variant whose native threads spin, where there are any."""
        if self.quick or not self.on_cpu or base.native_threads(self.cores) == 1:
            return []
        return [dataclasses.replace(base, spinning=True)]

    def batched(self, base: Candidate) -> list[Candidate]:
        """Return variants with batches, up to what the model takes."""
        if base.concurrency > _FEW_LANES:
            return []
        sizes = _steps(min(self.batch_limit, MOST_ITEMS))[1:]
        wanted = sizes[-1:] if self.quick else sizes
        return [dataclasses.replace(base, max_batch_size=size) for size in wanted]

    def _lanes(self) -> list[int]:
        # A predict thread that waits for another device needs no core for itself.
        most = min(MOST_CONCURRENCY, self.cores if self.on_cpu else max(2, self.cores))
        return self._thinned(_steps(most))

    def _native(self, lanes: int) -> list[int | None]:
        """Return the numbers of native threads to try; the runtime's own choice is not named twice."""
        if not self.on_cpu:
            return [None]
        share = self.cores // lanes
        explicit = [count for count in _steps(share) if count != share]
        return [None, *(explicit[:1] if self.quick else explicit)]

    def _thinned(self, steps: list[int]) -> list[int]:
        return sorted({steps[0], steps[-1]}) if self.quick else steps


def _steps(most: int) -> list[int]:
    """Return 1, 2, 4 … and `most` itself."""
    powers = [1 << power for power in range(most.bit_length())]
    return sorted({*powers, most})
