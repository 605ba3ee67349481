"""Lines over a number as an SVG for pages: a mark at each point that says what it is, names at the right of the lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from graphopt.report.html_page import escaped

__all__ = ["PLOT_STYLE", "Line", "Mark", "line_plot"]

_WIDTH, _HEIGHT = 1080, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 220, 20, 44
_STEPS: Final = 4
_NAMED: Final = 18
_APART: Final = 13
_HUES: Final = ("#2a78c8", "#c8322a", "#2a9d5c", "#c88a2a", "#7d4fc8", "#2aa5b8", "#b8478d", "#6b7a2a")

PLOT_STYLE: Final = """
.plot { width: 100%; height: auto; } .plot .grid { stroke: var(--line); }
.plot polyline { fill: none; stroke-width: 2; } .plot circle.kept { stroke: currentColor; stroke-width: 2; }
.plot g:hover polyline { stroke-width: 4; }
"""


@dataclass(frozen=True)
class Mark:
    """A point.

    Attributes:
        x: its place.
        y: its value.
        title: what it is, shown when somebody points at it.
        kept: whether it stands out.
    """

    x: float
    y: float
    title: str
    kept: bool = False


@dataclass(frozen=True)
class Line:
    """Points that belong together.

    Attributes:
        name: what they belong to.
        marks: in order.
    """

    name: str
    marks: Sequence[Mark]


def line_plot(
    label: str, lines: Sequence[Line], *, x_text: Callable[[float], str], y_text: Callable[[float], str]
) -> str:
    """The plot as HTML, ``""`` if no line has two points that are finite.

    Args:
        label: what is shown.
        lines: to draw; values that are not finite are left out.
        x_text: a place, for people.
        y_text: a value, for people.
    """
    drawn = [Line(line.name, [mark for mark in line.marks if math.isfinite(mark.y)]) for line in lines]
    drawn = [line for line in drawn if len(line.marks) > 1]
    if not drawn:
        return ""
    across, up = (
        _Scale([mark.x for line in drawn for mark in line.marks], _LEFT, _WIDTH - _RIGHT),
        _Scale([mark.y for line in drawn for mark in line.marks], _HEIGHT - _BOTTOM, _TOP),
    )
    parts = [f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escaped(label)}">']
    for step in range(_STEPS + 1):
        x, y = across.tick(step), up.tick(step)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up.place(y):.1f}" y2="{up.place(y):.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{up.place(y) + 4:.1f}" text-anchor="end">{escaped(y_text(y))}</text>'
            f'<text x="{across.place(x):.1f}" y="{_HEIGHT - 24}" text-anchor="middle">{escaped(x_text(x))}</text>'
        )
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{escaped(label)}</text>')
    names = _spread([up.place(line.marks[-1].y) for line in drawn[:_NAMED]])
    for number, line in enumerate(drawn):
        places = [(across.place(mark.x), up.place(mark.y), mark) for mark in line.marks]
        hue = _HUES[number % len(_HUES)]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y, _mark in places)
        parts.append(f'<g><title>{escaped(line.name)}</title><polyline stroke="{hue}" points="{way}"/>')
        parts += [
            f'<circle{" class=kept" if mark.kept else ""} fill="{hue}" cx="{x:.1f}" cy="{y:.1f}" r="{6 if mark.kept else 4}">'
            f"<title>{escaped(mark.title)}</title></circle>"
            for x, y, mark in places
        ]
        if number < len(names):
            text = escaped(line.name if len(line.name) < 34 else f"...{line.name[-31:]}")
            parts.append(
                f'<text x="{_WIDTH - _RIGHT + 10}" y="{names[number] + 4:.1f}" style="fill:{hue}">{text}</text>'
            )
        parts.append("</g>")
    return "\n".join((*parts, "</svg>"))


class _Scale:
    """From numbers to places."""

    def __init__(self, numbers: Sequence[float], start: float, end: float) -> None:
        self._low, self._high = min(numbers), max(numbers)
        if self._low == self._high:
            self._low, self._high = self._low - 0.5, self._high + 0.5
        self._start, self._end = start, end

    def place(self, number: float) -> float:
        """Where a number is."""
        return self._start + (self._end - self._start) * (number - self._low) / (self._high - self._low)

    def tick(self, step: int) -> float:
        """One of the numbers of the grid."""
        return self._low + (self._high - self._low) * step / _STEPS


def _spread(places: Sequence[float]) -> list[float]:
    """The same places, moved so that texts there do not lie on each other; in the order that they came in."""
    order = sorted(range(len(places)), key=lambda item: places[item])
    found = [0.0] * len(places)
    last = -math.inf
    for item in order:
        last = max(places[item], last + _APART)
        found[item] = last
    excess = last - (_HEIGHT - _BOTTOM)
    if excess > 0:
        limit = math.inf
        for item in reversed(order):
            limit = min(found[item], limit - _APART, _HEIGHT - _BOTTOM)
            found[item] = limit
    return found
