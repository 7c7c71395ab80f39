"""What `tune` tells: a table, what the choice gives and costs, the fragment, and all of it as JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.cli.table import table
from worker.cli.terminal import columns
from worker.cli.tune_candidates import Candidate
from worker.cli.tune_choice import Result, as_good
from worker.client import Answer

_HEAD = ("pool", "native", "batch", "req/s", "p50 ms", "p99 ms", "alone ms", "cores", "MB", "best for")
_BEST_FOR = len(_HEAD) - 1
_COLUMNS = {"rate": 1, "p50_ms": 1, "p99_ms": 1, "alone_ms": 1, "cpu": 1, "peak_mb": 0}
"""Fields of `Round`, in the order of their columns, and their decimals."""

_ABSENT = "–"  # noqa: RUF001 - a dash it is

_MEDIANS = {
    "rate": "requestsPerSecond",
    "p50_ms": "p50Ms",
    "p99_ms": "p99Ms",
    "alone_ms": "aloneP50Ms",
    "cpu": "cpuCores",
    "alone_cpu": "aloneCpuCores",
    "peak_mb": "peakMegabytes",
}
"""Field of `Round` → its name in JSON."""

Best = Mapping[str, Result | None]
"""Goal → what was chosen; empty while the search is not finished."""


def results_table(results: Sequence[Result], best: Best) -> str:
    """Return a row for each configuration, in the order in which they were tried."""
    rows = [_row(result, best) for result in results]
    return table(_HEAD, rows, width=columns(), words=(_BEST_FOR,))


def configuration(candidate: Candidate) -> str:
    """Return a configuration in words, by the names of its keys."""
    words = [f"concurrency {candidate.concurrency}"]
    words += [f"intraThreads {candidate.intra_threads}"] if candidate.intra_threads else []
    words += ["spinning"] if candidate.spinning else []
    words += [f"batches of {candidate.max_batch_size}"] if candidate.max_batch_size > 1 else []
    return ", ".join(words)


def verdicts(best: Best, default: Result) -> list[str]:
    """Return a line for each goal: what the choice gives, and what it costs."""
    return [f"{goal}: {_verdict(goal, chosen, default)}" for goal, chosen in best.items() if chosen]


def fragment(candidate: Candidate, base: Mapping[str, Any], slot: Answer) -> dict[str, Any]:
    """Return what a host puts into its handshake.

    Args:
        candidate: what was chosen.
        base: the configuration that was varied.
        slot: the model's slot in the ready answer.
    """
    whole = candidate.handshake(base)
    (model,) = whole["models"]
    # As it was measured: with the same file, whatever folder the host works in, and the same runtime.
    model = {"path": _whole_path(model["path"]), "runtime": slot["runtime"], **_without_path(model)}
    kept = {key: whole[key] for key in ("concurrency", "batch_mode", "max_batch_size")}
    return {**kept, "models": [model]}


def as_fields(result: Result) -> dict[str, Any]:
    """Return a configuration and its figures for JSON."""
    candidate = result.candidate
    settings = {
        "concurrency": candidate.concurrency,
        "intraThreads": candidate.intra_threads,
        "spinning": candidate.spinning,
        "batch_mode": "none" if candidate.max_batch_size == 1 else "adaptive",
        "max_batch_size": candidate.max_batch_size,
    }
    if result.failure:
        return {**settings, "error": result.failure}
    medians = {name: _rounded(result.median(figure)) for figure, name in _MEDIANS.items()}
    rounds = [
        {_MEDIANS[figure]: _rounded(value) for figure, value in dataclasses.asdict(one).items()}
        for one in result.rounds
    ]
    return {**settings, **medians, "rounds": rounds}


def _row(result: Result, best: Best) -> tuple[str, ...]:
    candidate = result.candidate
    native = "auto" if candidate.intra_threads is None else str(candidate.intra_threads)
    settings = (
        str(candidate.concurrency),
        native + " spin" * candidate.spinning,
        "none" if candidate.max_batch_size == 1 else str(candidate.max_batch_size),
    )
    if result.failure:
        return (*settings, *(_ABSENT for _ in _COLUMNS), "✗ failed")
    figures = [_shown(result.median(figure), decimals) for figure, decimals in _COLUMNS.items()]
    goals = [goal for goal, chosen in best.items() if chosen is result]
    return (*settings, *figures, goals[0] if len(goals) == 1 else "both" * bool(goals))


def _shown(value: float | None, decimals: int = 1) -> str:
    if value is None:
        return _ABSENT
    return f"{value:.{0 if value >= 1000 else decimals}f}"


def _verdict(goal: str, chosen: Result, default: Result) -> str:
    verdict = _VERDICTS[goal]
    if chosen is default:
        return "nothing is better than the default"
    if not default.measured:
        return f"{_figure(chosen, verdict.figure)} {verdict.unit}; the default fails"
    cores = f"cores {_against(chosen, default, verdict.cores)}"
    if as_good(chosen, default, goal):
        return f"nothing is better than the default; this is as good, {cores}"
    ratio = (chosen.median(verdict.figure) or 0.0) / (default.median(verdict.figure) or 1.0)
    return f"{ratio:{verdict.digits}} times the {verdict.what} of the default, {cores}"


@dataclass(frozen=True, slots=True)
class _Words:
    """How the choice for a goal is told."""

    figure: str
    """A field of `Round`, as the next one."""
    cores: str
    what: str
    unit: str
    digits: str


_VERDICTS = {
    "latency": _Words("alone_ms", "alone_cpu", "latency", "ms alone", ".2f"),
    "throughput": _Words("rate", "cpu", "requests", "requests a second", ".1f"),
}


def _against(chosen: Result, default: Result, figure: str) -> str:
    """Return a figure, and in brackets what it is with the default."""
    return f"{_figure(chosen, figure)} ({_figure(default, figure)})"


def _figure(result: Result, figure: str) -> str:
    return _shown(result.median(figure))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _whole_path(path: str) -> str:
    return str(Path(path).absolute()) if Path(path).exists() else path


def _without_path(model: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in model.items() if key != "path"}
