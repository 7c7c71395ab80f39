"""Tables for a person, JSON for a program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import json

from bench.intervals import Interval
from bench.machine import Machine
from bench.measure import Row, Settings, SideFigures
from bench.scenarios import Kind, Metric

HEADINGS = ("scenario", "worker", "rival", "figure [95 %]", "target", "", "generator", "configured")


@dataclass(frozen=True, slots=True)
class Report:
    """A run of the bench."""

    date: str
    machine: Machine
    versions: dict[str, str]
    settings: Settings
    seconds: float
    rows: Sequence[Row]


def write(report: Report, path: Path) -> Path:
    """Write the JSON, and the Markdown summary next to it; returns the summary's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.format(json.encode(report), indent=1) + b"\n")
    summary = path.with_suffix(".md")
    summary.write_text(markdown(report), encoding="utf-8")
    return summary


def markdown(report: Report) -> str:
    """Return the summary."""
    machine = report.machine
    lines = [
        f"# Bench of {report.date} on {machine.host}",
        "",
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb} GB, Linux {machine.kernel}, "
        f"load {machine.load} at the start. "
        + ", ".join(f"{name} {number}" for name, number in report.versions.items())
        + f". {report.settings.rounds} rounds of {report.settings.round_s} s a side, "
        f"{report.seconds / 60:.0f} min in all. Columns: see bench/README.md.",
        "",
        _line(HEADINGS),
        "|" + "---|" * len(HEADINGS),
        *(_line(cells(row)) for row in report.rows),
        "",
        tally(report.rows),
        "",
    ]
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """Return the rows in columns, for a terminal."""
    lines = [HEADINGS, *(cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def tally(rows: Sequence[Row]) -> str:
    """Return how many targets are met, and which are not."""
    verdicts = [(row.scenario, verdict) for row in rows for verdict in row.verdicts]
    missed = [f"{name} ({verdict.target})" for name, verdict in verdicts if not verdict.met]
    unmeasured = [f"{row.scenario} ({row.note})" for row in rows if row.note]
    text = f"{len(verdicts) - len(missed)} of {len(verdicts)} targets met."
    text += f" Missed: {'; '.join(missed)}." if missed else ""
    return text + (f" Not measured: {'; '.join(unmeasured)}." if unmeasured else "")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as texts, one a heading."""
    if row.worker_side is None:
        return (row.scenario, "", row.rival, row.note, "", "", "", "")
    show = _SHOWN[row.kind]
    rival = f"{row.rival}: {show(row.rival_side)}" if row.rival_side else ""
    configured = row.worker_side.label + (f"; {row.rival_side.label}" if row.rival_side else "")
    return (
        row.scenario,
        show(row.worker_side),
        rival,
        ", ".join(_figure(metric, interval) for metric, interval in row.figures.items()),
        ", ".join(verdict.target for verdict in row.verdicts),
        ", ".join("met" if verdict.met else "MISSED" for verdict in row.verdicts),
        f"{row.worker_side.generator_cpu:.0%}" if row.worker_side.generator_cpu else "",
        configured,
    )


def _throughput(side: SideFigures) -> str:
    latency = f" (p50 {side.p50_ms:.3g}, p95 {side.p95_ms:.3g} ms)" if side.p50_ms else ""
    return f"{side.rate:,.{1 if side.rate < 100 else 0}f}/s{latency}"


_SHOWN: dict[Kind, Callable[[SideFigures], str]] = {
    Kind.RATIO: _throughput,
    Kind.ABSOLUTE: _throughput,
    Kind.START_UP: lambda side: f"{side.seconds:.3f} s",
    Kind.MEMORY: lambda side: f"{side.peak_mb:.0f} MB",
}

_DIGITS = {Metric.RATIO: 3, Metric.P50_MS: 3, Metric.RATE: 0, Metric.EXTRA_S: 3, Metric.EXTRA_MB: 0}


def _figure(metric: Metric, interval: Interval) -> str:
    digits = _DIGITS[metric]
    middle, low, high = (f"{value:,.{digits}f}" for value in (interval.median, interval.low, interval.high))
    return f"{metric} {middle} [{low}, {high}]"


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"
