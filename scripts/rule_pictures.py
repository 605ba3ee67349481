"""Pictures of what a rule makes of a graph: before at the left, after at the right, drawn as SVG that takes the colours of its page.

A graph is what `benchmarks.rules` recorded: inputs with their types, nodes with operands and attributes, outputs. Each node stands a
layer below the deepest one that it reads; within a layer nodes stand below what they read.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["picture"]

Drawn = Mapping[str, Any]

_CHARACTER, _LINE, _PAD, _GAP_X, _GAP_Y, _MARGIN = 6.6, 14, 7, 18, 26, 12


@dataclass(slots=True)
class _Box:
    """What is drawn as one box: an input, a node or an output, as lines of text."""

    kind: str
    lines: list[str]
    reads: list[str] = field(default_factory=list)
    gives: list[str] = field(default_factory=list)
    layer: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        """Width of the box."""
        return max(len(line) for line in self.lines) * _CHARACTER + 2 * _PAD

    @property
    def height(self) -> float:
        """Height of the box."""
        return len(self.lines) * _LINE + 2 * _PAD - 4


def picture(before: Drawn, after: Drawn) -> str:
    """An inline SVG of two graphs with an arrow between them.

    Args:
        before: the graph to which a rule applies.
        after: the graph that it leaves.
    """
    left, right = _boxes(before), _boxes(after)
    width_left, height_left = _place(left, 0.0)
    start = width_left + 56
    width_right, height_right = _place(right, start)
    width, height = start + width_right, max(height_left, height_right)
    middle = (width_left + 28, height / 2)
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    look = 'style="max-width:100%;height:auto" font-family="monospace" font-size="11" fill="none" stroke="currentColor"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {look}>',
        f"<title>{html.escape(_said(before))} becomes {html.escape(_said(after))}</title>",
        *_drawn(left),
        f'<path d="M{middle[0] - 16:.0f} {middle[1]:.0f}h28m-7 -6l7 6l-7 6" stroke-width="2"/>',
        *_drawn(right),
        "</svg>",
    ]
    return "".join(parts)


def _said(graph: Drawn) -> str:
    return ", ".join(str(node["op"]) for node in graph["nodes"]) or "the input"


def _boxes(graph: Drawn) -> list[_Box]:
    found = [
        _Box("input", [name, str(kind)] if kind else [name], gives=[name]) for name, kind in graph["inputs"].items()
    ]
    for node in graph["nodes"]:
        constants = [operand[1:] for operand in node["inputs"] if operand.startswith("=")]
        notes = [f"{name}={value}" for name, value in node["attributes"].items()]
        lines = [str(node["op"]), *_folded(constants), *_folded(notes)]
        reads = [operand for operand in node["inputs"] if operand and not operand.startswith("=")]
        found.append(_Box("node", lines, reads, [name for name in node["outputs"] if name]))
    found += [_Box("output", [name], [name]) for name in graph["outputs"]]
    return found


def _folded(items: Sequence[str]) -> list[str]:
    """Items on lines of about thirty characters."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(item) < 30:
            lines[-1] += f"  {item}"
        else:
            lines.append(item)
    return lines


def _place(boxes: list[_Box], left: float) -> tuple[float, float]:
    """Give each box its place; the width and height of all."""
    makers = {name: box for box in boxes if box.kind != "output" for name in box.gives}
    layers: list[list[_Box]] = []
    for box in boxes:
        above = [makers[name] for name in box.reads if name in makers]
        box.layer = 1 + max((item.layer for item in above), default=-1)
        while len(layers) <= box.layer:
            layers.append([])
        layers[box.layer].append(box)
    widths = [sum(box.width + _GAP_X for box in layer) - _GAP_X for layer in layers]
    total, y = max(widths, default=0.0), float(_MARGIN)
    for layer, width in zip(layers, widths, strict=True):
        layer.sort(key=lambda box: _wanted(box, makers))
        x = left + _MARGIN + (total - width) / 2
        for box in layer:
            box.x, box.y = x, y
            x += box.width + _GAP_X
        y += max((box.height for box in layer), default=0.0) + _GAP_Y
    return total + 2 * _MARGIN, y - _GAP_Y + _MARGIN


def _wanted(box: _Box, makers: Mapping[str, _Box]) -> float:
    """Where a box would like to stand: below what it reads."""
    above = [makers[name] for name in box.reads if name in makers]
    return sum(item.x + item.width / 2 for item in above) / len(above) if above else 0.0


def _drawn(boxes: Sequence[_Box]) -> list[str]:
    makers = {name: box for box in boxes if box.kind != "output" for name in box.gives}
    parts = [_edge(makers[name], box) for box in boxes for name in box.reads if name in makers]
    return parts + [_box(box) for box in boxes]


def _edge(source: _Box, target: _Box) -> str:
    x, y = source.x + source.width / 2, source.y + source.height
    end, below = target.x + target.width / 2, target.y
    half = (below - y) / 2
    return f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + half:.0f} {end:.0f} {below - half:.0f} {end:.0f} {below:.0f}" opacity="0.6"/>'


def _box(box: _Box) -> str:
    radius = 4 if box.kind == "node" else 11
    dash = "" if box.kind == "node" else ' stroke-dasharray="3 3"'
    rows = "".join(
        f'<text x="{box.x + box.width / 2:.0f}" y="{box.y + _PAD + 8 + index * _LINE:.0f}" text-anchor="middle" stroke="none" '
        f'fill="currentColor"{_weight(box, index)}>{html.escape(line)}</text>'
        for index, line in enumerate(box.lines)
    )
    place = f'x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" rx="{radius}"'
    return f'<rect {place}{dash} fill="var(--md-default-bg-color, white)"/>{rows}'


def _weight(box: _Box, index: int) -> str:
    return ' font-weight="bold"' if box.kind == "node" and index == 0 else ' opacity="0.8"'
