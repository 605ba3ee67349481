"""A comparison layer by layer as one HTML page: a plot of the errors and a table to sort. It loads nothing from anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from graphopt.report.html_page import escaped, html_page, sorted_table
from graphopt.report.layers_view import HEADS, layer_rows
from graphopt.report.units import counted
from graphopt.verify.attribution.result import Layer, LayerComparison

__all__ = ["layers_page"]

_WIDTH, _HEIGHT = 1080, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 40
#: Numbers that columns are sorted by, of a value; other columns are sorted as text.
_SORTED: Mapping[str, Callable[[Layer], float]] = {
    "relative": lambda layer: layer.error.relative,
    "growth": lambda layer: layer.growth or 0.0,
    "max abs": lambda layer: layer.error.max_abs,
    "SQNR dB": lambda layer: math.inf if layer.error.sqnr_db is None else layer.error.sqnr_db,
    "cosine": lambda layer: 1.0 if layer.error.cosine is None else layer.error.cosine,
    "ulp": lambda layer: layer.error.ulp or 0,
}

_STYLE = """
:root { --same: #888; --ok: #2a78c8; --wrong: #c8322a; }
svg { width: 100%; height: auto; }
.grid { stroke: var(--line); stroke-width: 1; } .limit { stroke: var(--wrong); stroke-dasharray: 5 4; }
circle.same { fill: var(--same); } circle.ok { fill: var(--ok); } circle.wrong { fill: var(--wrong); }
circle.start { stroke: currentColor; stroke-width: 2; } circle:hover { stroke: currentColor; stroke-width: 2; }
polyline { fill: none; stroke: var(--wrong); stroke-opacity: .5; }
tr.wrong td { color: var(--wrong); } tr.start td { font-weight: bold; } tr:target { outline: 2px solid var(--ok); }
"""


def layers_page(found: LayerComparison, *, before: str, after: str) -> str:
    """The page as text.

    Args:
        found: the comparison.
        before: what the first model is called.
        after: what the other one is called.
    """
    parts = [
        f"<p>{escaped(found.summary)}</p>",
        f"<p>Inputs: {escaped(found.inputs)}. Error: the largest difference, relative to the largest number of the value.</p>",
        *_facts(found),
        _plot(found),
        _table(found),
    ]
    return html_page(f"{before} and {after}, layer by layer", parts, style=_STYLE)


def _facts(found: LayerComparison) -> Iterator[str]:
    lines = [f"not compared: {counted(count, 'value')} ({reason})" for reason, count in found.skipped.items()]
    lines += [f"{start.name}: nodes {', '.join(start.nodes)}" for start in found.starts]
    lines += found.notes
    if lines:
        yield f"<ul>{''.join(f'<li>{escaped(line)}</li>' for line in lines)}</ul>"


# -- plot -------------------------------------------------------------------------------------------------------------------------


class _Scale:
    """From errors to heights: logarithmic; no error at the bottom, an infinite one at the top."""

    def __init__(self, found: LayerComparison) -> None:
        errors = [layer.error.relative for layer in found.layers if 0 < layer.error.relative < math.inf]
        errors += [found.rtol] if found.rtol else []
        self.low = math.floor(math.log10(min(errors, default=1e-8))) - 1
        self.high = max(math.ceil(math.log10(max(errors, default=1.0))), self.low + 2)

    def y(self, error: float) -> float:
        power = self.low if not error else self.high if error == math.inf else math.log10(error)
        part = (min(max(power, self.low), self.high) - self.low) / (self.high - self.low)
        return _TOP + (1 - part) * (_HEIGHT - _TOP - _BOTTOM)


def _plot(found: LayerComparison) -> str:
    if not found.layers:
        return ""
    scale = _Scale(found)
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(found.layers) - 1, 1)
    places = {
        layer.name: (_LEFT + place * step, scale.y(layer.error.relative)) for place, layer in enumerate(found.layers)
    }
    starts = {start.name for start in found.starts}
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="relative error of each value">']
    every = max(1, math.ceil((scale.high - scale.low) / 10))
    for power in range(scale.low, scale.high + 1, every):
        y = scale.y(10.0**power)
        text = "0" if power == scale.low else f"1e{power}"
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    if found.rtol:
        y = scale.y(found.rtol)
        parts.append(f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in (places[step.name] for step in found.path if step.name in places))
    if way:
        parts.append(f'<polyline points="{way}"/>')
    parts += [
        _dot(place, layer, places[layer.name], start=layer.name in starts) for place, layer in enumerate(found.layers)
    ]
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 10}">first value</text>')
    parts.append(
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 10}" text-anchor="end">value {len(found.layers):,}</text></svg>'
    )
    return "\n".join(parts)


def _dot(place: int, layer: Layer, at: tuple[float, float], *, start: bool) -> str:
    name = escaped(f"{layer.name} ({layer.op}): relative error {layer.error.relative:.3g}")
    kind = f"{layer.error.status}{' start' if start else ''}"
    circle = f'<circle class="{kind}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{6 if start else 4}"><title>{name}</title></circle>'
    return f'<a href="#v{place}">{circle}</a>'


# -- table ------------------------------------------------------------------------------------------------------------------------


def _table(found: LayerComparison) -> str:
    starts = {start.name for start in found.starts}
    rows = [_row(place, layer, start=layer.name in starts) for place, layer in enumerate(found.layers)]
    return sorted_table(("layer", *HEADS), rows)


def _class(head: str) -> str:
    return ' class="number"' if head.endswith(">") else ""


def _row(place: int, layer: Layer, *, start: bool) -> str:
    cells = [f"<td>{place + 1}</td>"]
    for head, text in zip(HEADS, layer_rows(layer, start=start), strict=True):
        number = _SORTED.get(head.removesuffix(">"))
        key = "" if number is None else f' data-sort="{_sort_key(number(layer))}"'
        cells.append(f"<td{_class(head)}{key}>{escaped(text)}</td>")
    return f'<tr id="v{place}" class="{layer.error.status}{" start" if start else ""}">{"".join(cells)}</tr>'


def _sort_key(number: float) -> str:
    return "Infinity" if number == math.inf else repr(float(number))
