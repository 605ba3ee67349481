"""A quantization as one HTML page: the trade-off as a plot, each layer with its range and its numbers, all that was tried.

It loads nothing from anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from graphopt.report.html_page import escaped, html_page, sorted_table
from graphopt.report.quantize_view import (
    LAYER_HEADS,
    layer_cells,
    metric_text,
    metrics_text,
    quantize_facts,
    speed_text,
)
from graphopt.report.units import bytes_text

if TYPE_CHECKING:
    from graphopt.compiler.quantizing.result import LayerReport, QuantizeReport

__all__ = ["quantize_page"]

_WIDTH, _HEIGHT = 1080, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 24, 20, 44
_BAR, _TALL = 3, 34
#: What a column is sorted by, where the text would not do.
_SORTED: Final[dict[str, Callable[[LayerReport], float]]] = {
    "work": lambda layer: layer.share,
    "scale": lambda layer: 0.0 if layer.parameters is None else layer.parameters.scale,
    "alone": lambda layer: 1e9 if layer.alone_db is None else layer.alone_db,
    "error": lambda layer: 1e9 if layer.error_db is None else layer.error_db,
}

_STYLE = """
svg { max-width: 100%; height: auto; }
.plot { width: 100%; } .grid { stroke: var(--line); } .bar { fill: var(--blue); } .cut { fill: var(--red); }
polyline { fill: none; stroke: var(--blue); stroke-width: 2; } circle { fill: var(--blue); } circle.kept { fill: var(--red); }
"""


def quantize_page(report: QuantizeReport) -> str:
    """The page as text.

    Args:
        report: of the quantization.
    """
    rows = quantize_facts(report) | {"processor": report.prospects.processor.summary}
    told = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>" for name, text in rows.items())
    notes = "".join(f"<li>{escaped(note)}</li>" for note in report.notes)
    parts = [
        f"<dl>{told}</dl>",
        f"<ul>{notes}</ul>" if notes else "",
        *_curve(report),
        "<h2>Layers</h2>",
        _layers(report.layers),
        "<h2>What was tried</h2>",
        _candidates(report),
    ]
    return html_page(f"{report.source}, quantized", parts, style=_STYLE)


# -- the curve --------------------------------------------------------------------------------------------------------------------


def _curve(report: QuantizeReport) -> list[str]:
    """Accuracy by the number of layers in floats, a line for each metric scaled to the height of the plot."""
    points = [point for point in report.curve if point.values]
    if len(points) < 2:
        return []
    most = max(point.floats for point in points) or 1
    parts = ["<h2>Accuracy, latency and size by the layers that stay in floats</h2>"]
    for name in points[0].values:
        values = [(point, point.values[name]) for point in points if math.isfinite(point.values.get(name, math.nan))]
        if len(values) < 2:
            continue
        low, high = min(value for _, value in values), max(value for _, value in values)
        parts.append(f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escaped(name)}">')
        for step in range(5):
            y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * step / 4
            text = escaped(metric_text(name, high - (high - low) * step / 4))
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        places = []
        for point, value in values:
            x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * point.floats / most
            part = (value - low) / (high - low) if high > low else 0.5
            y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - part)
            speed = f", {speed_text(point.speedup)} times as fast" if point.speedup is not None else ""
            title = f"{point.floats} in floats: {metrics_text(point.values)}, {bytes_text(point.size)}{speed}"
            kind = ' class="kept"' if point.kept else ""
            places.append(
                (x, y, f'<circle{kind} cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{escaped(title)}</title></circle>')
            )
        parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)}"/>')
        parts += [circle for _, _, circle in places]
        parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 10}">{escaped(name)}: 0 layers in floats</text>')
        parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 10}" text-anchor="end">{most:,} layers</text></svg>')
    rows = [
        f'<tr><td class="number">{point.floats}</td><td>{escaped(metrics_text(point.values))}</td>'
        f'<td class="number" data-sort="{point.size}">{bytes_text(point.size)}</td>'
        f'<td class="number">{speed_text(point.speedup)}</td><td>{"kept" if point.kept else ""}</td></tr>'
        for point in points
    ]
    parts.append(sorted_table(("layers in floats>", "accuracy", "size>", "speed>", ""), rows))
    return parts


# -- tables -----------------------------------------------------------------------------------------------------------------------


def _layers(layers: Sequence[LayerReport]) -> str:
    rows = []
    for layer in layers:
        cells = []
        for head, text in zip(LAYER_HEADS, layer_cells(layer), strict=True):
            key = _SORTED.get(head.removesuffix(">"))
            sort = "" if key is None else f' data-sort="{key(layer)!r}"'
            cells.append(f"<td{' class=number' if head.endswith('>') else ''}{sort}>{escaped(text)}</td>")
        rows.append(f"<tr>{''.join(cells)}<td>{_histogram(layer)}</td></tr>")
    return sorted_table((*LAYER_HEADS, "numbers it reads"), rows)


def _histogram(layer: LayerReport) -> str:
    """Counts as bars, by their logarithm; what the range cuts off is red."""
    spread, range_ = layer.spread, layer.parameters
    if spread is None or range_ is None or not any(spread.counts):
        return ""
    most = math.log1p(max(spread.counts))
    width = _BAR * len(spread.counts)
    step = (spread.high - spread.low) / len(spread.counts)
    total = sum(spread.counts)
    parts = [f'<svg width="{width}" height="{_TALL}" viewBox="0 0 {width} {_TALL}" role="img">']
    cut = 0
    for place, count in enumerate(spread.counts):
        if not count:
            continue
        middle = spread.low + (place + 0.5) * step
        beyond = middle < range_.low or middle > range_.high
        cut += count if beyond else 0
        tall = _TALL * math.log1p(count) / most
        kind = "cut" if beyond else "bar"
        parts.append(
            f'<rect class="{kind}" x="{place * _BAR}" y="{_TALL - tall:.1f}" width="{_BAR - 0.5}" height="{tall:.1f}"/>'
        )
    title = f"{spread.low:.4g} to {spread.high:.4g}, {cut / total:.2%} beyond the range"
    parts.append(f"<title>{escaped(title)}</title></svg>")
    return "".join(parts)


def _candidates(report: QuantizeReport) -> str:
    rows = []
    for item in report.candidates:
        outcome = item.outcome + (f": {item.reason}" if item.reason else "")
        rows.append(
            f"<tr><td>{escaped(item.name)}</td><td>{escaped(item.forms)}</td>"
            f'<td class="number">{speed_text(item.speedup)}</td><td>{escaped(metrics_text(item.values))}</td>'
            f'<td class="number" data-sort="{item.size}">{bytes_text(item.size)}</td><td>{escaped(outcome)}</td></tr>'
        )
    return sorted_table(("tried", "layers", "speed>", "accuracy", "size>", "outcome"), rows)
