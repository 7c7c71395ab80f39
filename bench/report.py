"""Tables for a person, JSON for a program; the HTML report is in `html_report`."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import json

from bench.html_report import html
from bench.intervals import Interval
from bench.machine import Machine
from bench.rows import Row, SideFigures
from bench.settings import Settings
from bench.target import Metric

HEADINGS = ("scenario", "worker", "rival", "figure [95 %]", "target", "", "generator", "configured", "note")

_COUNTS = (
    *(Metric.WRONG_ANSWERS, Metric.MISCOUNTED),
    *(Metric.REJECTED_OR_WRONG, Metric.WRONG, Metric.FAILED),
    *(Metric.FRAMES_MISSING, Metric.WRONG_FRAMES, Metric.FILES_LEFT),
)

_DIGITS = {Metric.RATE: 0, Metric.EXTRA_MB: 0, Metric.DISK_MB: 0, **dict.fromkeys(_COUNTS, 0)}
"""After the point; 3 for those that are not here."""


@dataclass(frozen=True, slots=True)
class Report:
    """A run of the bench."""

    date: str
    machine: Machine
    versions: dict[str, str]
    settings: Settings
    seconds: float
    rows: Sequence[Row]
    against: str = ""
    """The other worker command that took the rivals' place."""


def write(report: Report, path: Path) -> list[Path]:
    """Write the JSON, and the Markdown summary and the HTML report next to it; returns all three."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.format(json.encode(report), indent=1) + b"\n")
    summary, page = path.with_suffix(".md"), path.with_suffix(".html")
    summary.write_text(markdown(report), encoding="utf-8")
    lines = [about(report), tally(report.rows)]
    page.write_text(html(title(report), lines, HEADINGS, report.rows, cells), encoding="utf-8")
    return [path, summary, page]


def read(path: Path) -> Report:
    """Read a JSON result."""
    return json.decode(path.read_bytes(), type=Report)


def title(report: Report) -> str:
    """Return the heading."""
    against = f" against {report.against}" if report.against else ""
    return f"Bench of {report.date} on {report.machine.host}{against}"


def about(report: Report) -> str:
    """Return the machine, the versions and how long was measured."""
    machine = report.machine
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb} GB, Linux {machine.kernel}, "
        f"load {machine.load} at the start. "
        + ", ".join(f"{name} {number}" for name, number in report.versions.items())
        + f". {report.settings.rounds} rounds of {report.settings.round_s} s a side, "
        f"{report.seconds / 60:.0f} min in all. Columns: see bench/README.md."
    )


def markdown(report: Report) -> str:
    """Return the summary."""
    lines = [
        f"# {title(report)}",
        "",
        about(report),
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
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if not row.measured:
            reasons[row.note].append(row.scenario)
    unmeasured = [f"{', '.join(names)} ({note})" for note, names in reasons.items()]
    text = f"{len(verdicts) - len(missed)} of {len(verdicts)} targets met."
    text += f" Missed: {'; '.join(missed)}." if missed else ""
    return text + (f" Not measured: {'; '.join(unmeasured)}." if unmeasured else "")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as texts, one a heading."""
    mine, theirs = row.worker_side, row.rival_side
    configured = "; ".join(side.label for side in (mine, theirs) if side)
    return (
        row.scenario,
        _side(mine) if mine else "",
        f"{row.rival}: {_side(theirs)}" if theirs else row.rival,
        ", ".join(_figure(metric, interval) for metric, interval in row.figures.items())
        or ", ".join(f"x{point.in_flight} {point.rate.median:,.0f}/s" for point in row.points),
        ", ".join(verdict.target for verdict in row.verdicts),
        ", ".join("met" if verdict.met else "MISSED" for verdict in row.verdicts),
        f"{mine.generator_cpu:.0%}" if mine and mine.generator_cpu else "",
        configured,
        row.note,
    )


def _side(side: SideFigures) -> str:
    """Return what a side is told by: a start, a peak, or a rate with its latencies."""
    if side.seconds:
        return f"{side.seconds:.3f} s"
    rate = f"{side.rate:,.{1 if side.rate < 100 else 0}f}/s" if side.rate else ""
    latency = side.latency
    quantiles = f"p50 {latency.p50:.3g}, p99 {latency.p99:.3g} ms" if latency and latency.p50 else ""
    if rate and quantiles:
        return f"{rate} ({quantiles})"
    return rate or quantiles or (f"{side.peak_mb:.0f} MB" if side.peak_mb else "")


def _figure(metric: Metric, interval: Interval) -> str:
    digits = _DIGITS.get(metric, 3)
    middle, low, high = (f"{value:,.{digits}f}" for value in (interval.median, interval.low, interval.high))
    return f"{metric} {middle}" if interval.low == interval.high else f"{metric} {middle} [{low}, {high}]"


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
