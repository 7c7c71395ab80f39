"""Small charts as inline SVG: colours are classes of the page, so that it is readable in light and dark."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

COLORS = 8
"""Classes `c0` to `c7`."""

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 10, 40

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart."""

    label: str
    points: Sequence[Point]
    color: int
    dashed: bool = False
    marked: bool = False
    """A dot at each point."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values and where they lie."""

    low: float
    high: float
    label: str
    logarithmic: bool = False
    marks: tuple[float, ...] = ()
    """Values that are named; (): round ones."""

    def place(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        low, high, at = (self._scaled(each) for each in (self.low, self.high, value))
        return min(1.0, max(0.0, (at - low) / (high - low))) if high > low else 0.5

    def ticks(self) -> list[float]:
        """Return values worth naming."""
        if self.marks:
            return list(self.marks)
        if self.logarithmic:
            return _log_ticks(self.low, self.high)
        step = _round_step((self.high - self.low) / 5)
        count = math.floor((self.high - self.low) / step + 1e-9)
        return [self.low + step * number for number in range(count + 1)]

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-9)) if self.logarithmic else value


def line_chart(name: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """Return a chart of lines with its legend."""
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def across(value: float) -> float:
        return _LEFT + x.place(value) * (right - _LEFT)

    def up(value: float) -> float:
        return bottom - y.place(value) * (bottom - _TOP)

    parts = [_grid_x(across(tick), _named(tick), bottom) for tick in x.ticks()]
    parts += [_grid_y(up(tick), _named(tick), right) for tick in y.ticks()]
    parts += [_line(each, across, up) for each in series]
    parts.append(_text((_LEFT + right) / 2, HEIGHT - 6, x.label, "middle"))
    parts.append(_text(4, _TOP + 8, y.label, "start"))
    return _svg(name, HEIGHT, parts) + _legend([(each.label, each.color) for each in series])


def stacked_bars(name: str, bars: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """Return one bar a row (row to part to value), all of one length, divided by shares; sums at the ends."""
    parts_seen = list(dict.fromkeys(part for values in bars.values() for part in values))
    left, right, row_height = 230, WIDTH - 70, 22
    drawn = []
    for row, (label, values) in enumerate(bars.items()):
        top, total, at = row * row_height + 4, sum(values.values()) or 1.0, float(left)
        drawn.append(_text(left - 6, top + 12, label, "end"))
        for part, value in values.items():
            width = (right - left) * value / total
            drawn.append(_box(at, top, width, parts_seen.index(part), f"{part}: {value:.3g} {unit}"))
            at += width
        drawn.append(_text(right + 6, top + 12, f"{total:.3g} {unit}", "start"))
    svg = _svg(name, len(bars) * row_height + 8, drawn)
    return svg + _legend([(part, number) for number, part in enumerate(parts_seen)])


def _svg(name: str, height: float, parts: Sequence[str]) -> str:
    box = f'viewBox="0 0 {WIDTH} {height:g}"'
    return f'<svg {box} role="img" aria-label={quoteattr(name)}>{"".join(parts)}</svg>'


def _legend(entries: Sequence[tuple[str, int]]) -> str:
    items = "".join(
        f'<li><span class="c{color % COLORS}"></span>{escape(label)}</li>' for label, color in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _line(series: Series, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    places = [(across(x), up(y)) for x, y in series.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashes = ' stroke-dasharray="6 4"' if series.dashed else ""
    line = f'<polyline class="c{series.color % COLORS}" points="{path}"{dashes}>'
    line += f"<title>{escape(series.label)}</title></polyline>"
    dots = [
        f'<circle class="c{series.color % COLORS}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="3">'
        f"<title>{escape(series.label)}: {_named(point[0])}, {_named(point[1])}</title></circle>"
        for place, point in zip(places, series.points, strict=True)
    ]
    return line + "".join(dots if series.marked else [])


def _grid_x(at: float, label: str, bottom: float) -> str:
    line = f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>'
    return line + _text(at, bottom + 16, label, "middle")


def _grid_y(at: float, label: str, right: float) -> str:
    line = f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
    return line + _text(_LEFT - 6, at + 4, label, "end")


def _box(x: float, y: float, width: float, color: int, tip: str) -> str:
    place = f'x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="16"'
    return f'<rect class="c{color % COLORS}" {place}><title>{escape(tip)}</title></rect>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _named(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _round_step(rough: float) -> float:
    """Return the next of 1, 2, 5, 10 … that is not below."""
    if rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of each decade within the range; of long ranges the decades alone."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
