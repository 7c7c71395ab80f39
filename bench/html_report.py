"""The report for a browser: one file that needs no other, readable in light and dark."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import count
from xml.sax.saxutils import escape

from bench.rows import Point, Row
from bench.svg import COLORS, Axis, Series, line_chart, stacked_bars
from bench.wire import CURVE

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --fore: #1b1f24; --soft: #6a737d; --grid: #d8dee4;
  --good: #1a7f37; --bad: #cf222e;
  --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df; --c4: #bf3989; --c5: #7d6600; --c6: #0e7c86;
  --c7: #57606a; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --fore: #e6edf3; --soft: #8b949e;
  --grid: #30363d; --good: #3fb950; --bad: #f85149;
  --c0: #58a6ff; --c1: #f0883e; --c2: #3fb950; --c3: #bc8cff; --c4: #f778ba; --c5: #d8b72b; --c6: #39c5cf;
  --c7: #9da7b1; } }
body { background: var(--back); color: var(--fore); font: 15px/1.5 system-ui, sans-serif; margin: 2em auto;
  max-width: 1200px; padding: 0 1em; }
h1, h2, h3 { line-height: 1.2; } h3 { font-size: 1em; margin: 0 0 .4em; }
p { max-width: 75em; } .soft { color: var(--soft); }
.charts { display: grid; gap: 2em; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
svg { display: block; height: auto; width: 100%; } svg text { fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--grid); } svg polyline { fill: none; stroke-width: 2; }
.legend { color: var(--soft); display: flex; flex-wrap: wrap; font-size: 13px; gap: .2em 1.2em;
  list-style: none; margin: .3em 0 0; padding: 0; }
.legend span { display: inline-block; height: .8em; margin-right: .4em; width: .8em; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { border-bottom: 1px solid var(--grid); padding: .3em .6em; text-align: left; vertical-align: top; }
td:nth-child(-n+4) { font-variant-numeric: tabular-nums; }
.met { color: var(--good); } .missed { color: var(--bad); font-weight: 600; }
"""

Cells = Callable[[Row], Sequence[str]]

LINES_A_CHART = COLORS

_QUANTILES = ("scenario", "side", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms")


def html(title: str, lines: Sequence[str], headings: Sequence[str], rows: Sequence[Row], cells: Cells) -> str:
    """Return the page.

    Args:
        title: its heading.
        lines: what stands below it, a paragraph each.
        headings: of the table.
        rows: what was measured.
        cells: a row's texts, one a heading.
    """
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(line)}</p>" for line in lines),
        "<h2>Figures and targets</h2>",
        _table(headings, rows, cells),
        *_section("Throughput against requests in flight", _SWEEP_TEXT, _sweeps(rows)),
        *_section("Latency", _LATENCY_TEXT, _latencies(rows)),
        _quantiles(rows),
        *_section("Where the time of a request goes", _STAGES_TEXT, _stages(rows)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{_STYLE}{_colors()}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


_SWEEP_TEXT = (
    "Pictures a second, median of the rounds. A dashed line is the rival; a bare loop has nothing in flight, "
    "so its line is level."
)
_LATENCY_TEXT = (
    "The share of answers that came within a time: from the request's write, in open loops from its "
    "scheduled arrival. Medians over the rounds; dashed is the rival."
)
_STAGES_TEXT = (
    "Mean milliseconds of each stage as the answers tell them, in a pass that was not measured; “outside” is "
    "what is left of the latency: the pipe, the worker's loop, the host. All bars are of one length, the "
    "sums stand at their ends."
)


def _section(heading: str, text: str, charts: Sequence[str]) -> list[str]:
    if not charts:
        return []
    figures = "".join(f"<div>{chart}</div>" for chart in charts)
    return [
        f'<h2>{escape(heading)}</h2><p class="soft">{escape(text)}</p><div class="charts">{figures}</div>'
    ]


def _table(headings: Sequence[str], rows: Sequence[Row], cells: Cells) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(map(_cell, cells(row)))}</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _quantiles(rows: Sequence[Row]) -> str:
    """Return a table of both sides' latencies; nothing where there are none."""
    sides = [
        (row.scenario, name, side.latency)
        for row in rows
        for name, side in (("worker", row.worker_side), (row.rival, row.rival_side))
        if side and side.latency and side.latency.p50
    ]
    head = "".join(f"<th>{escape(heading)}</th>" for heading in _QUANTILES)
    lines = [
        (scenario, name, *(f"{value:,.3g}" if value else "" for value in (it.p50, it.p90, it.p99, it.p999)))
        for scenario, name, it in sides
    ]
    body = "".join(f"<tr>{''.join(map(_cell, line))}</tr>" for line in lines)
    return f'<div class="table"><table><tr>{head}</tr>{body}</table></div>' if lines else ""


def _cell(text: str) -> str:
    verdicts = set(text.split(", "))
    if text and verdicts <= {"met", "MISSED"}:
        return f'<td class="{"missed" if "MISSED" in verdicts else "met"}">{text}</td>'
    return f"<td>{escape(text)}</td>"


def _sweeps(rows: Sequence[Row]) -> list[str]:
    return [f"<h3>{escape(row.scenario)}</h3>{_sweep(row)}" for row in rows if row.points]


def _sweep(row: Row) -> str:
    first, last = row.points[0].in_flight, row.points[-1].in_flight
    series = [Series("worker", _places(row.points), 0, marked=True)]
    if row.rival_points:
        theirs = _places(row.rival_points)
        level = [(first, theirs[0][1]), (last, theirs[0][1])]
        series.append(Series(row.rival, theirs if len(theirs) > 1 else level, 1, dashed=True))
    top = max(rate for line in series for _, rate in line.points) * 1.05
    marks = tuple(point.in_flight for point in row.points)
    x = Axis(first, max(last, first * 2), "requests in flight", logarithmic=True, marks=marks)
    return line_chart(row.scenario, x, Axis(0, top, "a second"), series)


def _places(points: Sequence[Point]) -> list[tuple[float, float]]:
    return [(point.in_flight, point.rate.median) for point in points]


def _latencies(rows: Sequence[Row]) -> list[str]:
    """Return a chart a model; of many rows several."""
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.worker_side and row.worker_side.latency and row.worker_side.latency.curve:
            by_model[row.model].append(row)
    charts = []
    for model, found in by_model.items():
        for number, begin in enumerate(range(0, len(found), LINES_A_CHART)):
            name = f"{model} ({number + 1})" if len(found) > LINES_A_CHART else model
            some = found[begin : begin + LINES_A_CHART]
            charts.append(f"<h3>{escape(name)}</h3>{_latency_chart(name, some)}")
    return charts


def _latency_chart(name: str, rows: Sequence[Row]) -> str:
    series = []
    for row, color in zip(rows, count()):
        for side, label, dashed in ((row.worker_side, "", False), (row.rival_side, f", {row.rival}", True)):
            if side and side.latency and side.latency.p50 and side.latency.curve:
                points = [(max(at, 1e-3), share) for at, share in zip(side.latency.curve, CURVE, strict=True)]
                series.append(Series(row.scenario + label, points, color, dashed=dashed))
    values = [at for line in series for at, _ in line.points] or [1.0]
    low, high = min(values), max(values)
    x = Axis(low, high if high > low else low * 2, "milliseconds", logarithmic=True)
    return line_chart(name, x, Axis(0, 1, "share"), series)


def _stages(rows: Sequence[Row]) -> list[str]:
    bars = {row.scenario: row.stages for row in rows if row.stages}
    return [stacked_bars("stages", bars, "ms")] if bars else []


def _colors() -> str:
    rules = [
        f"svg polyline.c{n} {{ stroke: var(--c{n}); }} "
        f"svg rect.c{n}, svg circle.c{n} {{ fill: var(--c{n}); }} "
        f".legend .c{n} {{ background: var(--c{n}); }}"
        for n in range(COLORS)
    ]
    return "\n".join(rules)
