"""Draw bars and lines as SVG: few enough shapes that no plotting library is worth its weight."""

import math
from collections.abc import Callable, Iterable, Sequence
from xml.sax.saxutils import escape

from bench.table import Chart, number

COLOURS = ("#1f6feb", "#8c959f", "#2da44e", "#bf8700", "#cf222e", "#8250df", "#57606a")
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 860, 76, 24, 64, 52, 420
_BAR, _NAMES = 20, 370

# Light and dark, as the page is that shows the chart.
_STYLE = """<style>
text { fill: #1f2328; } .grid { stroke: #d0d7de; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6eaf0; } .grid { stroke: #333d4b; }
}
</style>"""

Group = tuple[str, Sequence[tuple[str, float]]]
"""What was measured, and the bars: whose, and how long."""


def bars(title: str, unit: str, groups: Sequence[Group]) -> str:
    """Draw groups of horizontal bars, each with its number; the first of a group is ours."""
    longest = max((value for _, named in groups for _, value in named), default=1.0)
    parts, y = [_text(16, 28, title, size=17, weight="bold")], 52
    for what, named in groups:
        y += 10
        parts.append(_text(16, y + 12, what, weight="bold"))
        y += 22
        for place, (name, value) in enumerate(named):
            length = (_WIDTH - _NAMES - 130) * value / longest
            parts += [
                _text(_NAMES - 8, y + 14, name, anchor="end"),
                f'<rect x="{_NAMES}" y="{y}" width="{length:.1f}" height="{_BAR - 4}" fill="{COLOURS[bool(place)]}"/>',
                _text(_NAMES + length + 6, y + 13, f"{number(value)} {unit}"),
            ]
            y += _BAR
    return _page(parts, y + 20)


def lines(chart: Chart) -> str:
    """Draw lines with their axes, from zero unless an axis is logarithmic."""
    points = [point for line in chart.lines.values() for point in line]
    x_of, x_marks = _axis([x for x, _ in points], _LEFT, _WIDTH - _RIGHT, logarithmic=chart.log_x)
    y_of, y_marks = _axis([y for _, y in points], _HEIGHT - _BOTTOM, _TOP, logarithmic=chart.log_y)
    parts = [_text(16, 28, chart.title, size=17, weight="bold")]
    for mark in y_marks:
        parts.append(_line(_LEFT, y_of(mark), _WIDTH - _RIGHT, y_of(mark)))
        parts.append(_text(_LEFT - 8, y_of(mark) + 4, number(mark), anchor="end"))
    for mark in x_marks:
        parts.append(_line(x_of(mark), _HEIGHT - _BOTTOM, x_of(mark), _HEIGHT - _BOTTOM + 5))
        parts.append(_text(x_of(mark), _HEIGHT - _BOTTOM + 20, number(mark), anchor="middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12, chart.x, anchor="middle"))
    parts.append(_text(16, _TOP - 12, chart.y))
    for place, (name, line) in enumerate(chart.lines.items()):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        below = _HEIGHT + 18 * place
        parts.append(f'<rect x="{_LEFT}" y="{below}" width="14" height="10" fill="{colour}"/>')
        parts.append(_text(_LEFT + 20, below + 10, name))
    return _page(parts, _HEIGHT + 18 * len(chart.lines) + 12)


def _axis(
    values: Sequence[float], start: float, end: float, *, logarithmic: bool
) -> tuple[Callable[[float], float], list[float]]:
    """Where a value lies between start and end, and the values to mark; logarithms need values above zero."""
    if logarithmic:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        high = max(high, low + 1)
        marks = [10.0**exponent for exponent in range(low, high + 1)]
        return lambda value: start + (end - start) * (math.log10(value) - low) / (high - low), marks
    most = max(*values, 1e-9)
    step = 10 ** math.floor(math.log10(most / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if most / (step * factor) <= 6)
    count = math.ceil(most / step)
    return lambda value: start + (end - start) * value / (count * step), [step * place for place in range(count + 1)]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _page(parts: Iterable[str], height: float) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}"'
    return "\n".join([f'{head} font-family="sans-serif">', _STYLE, *parts, "</svg>", ""])
