"""Draws speeds as an SVG: a row for each model, a dot for each tool, the line at 1 where the original is."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["plot"]

LEFT, RIGHT, TOP, ROW = 250, 30, 70, 22
WIDTH = 1000
COLOURS = {"graphopt O2": "#2a78c8", "graphopt O3": "#c8322a", "original again": "#bbbbbb"}
OTHERS = ("#2a9d5c", "#c88a2a", "#7d4fc8", "#2aa5b8", "#b8478d", "#6b7a2a")


def plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the plot as text.

    Args:
        rows: of a record of `benchmarks.latency`; speeds of several numbers of threads are averaged.
    """
    speeds: dict[str, dict[str, float]] = {}
    for model, tool, values in _grouped(rows):
        speeds.setdefault(model, {})[tool] = statistics.geometric_mean(values)
    tools = list(dict.fromkeys(str(row["tool"]) for row in rows if row["tool"] != "original"))
    left = iter(OTHERS * 4)
    colours = {tool: COLOURS.get(tool) or next(left) for tool in tools}
    order = sorted(
        speeds,
        key=lambda model: -max(speeds[model].get(tool, 0) for tool in ("graphopt O2", "graphopt O3", *tools[:1])),
    )
    low = math.log2(min([0.8, *(value for found in speeds.values() for value in found.values())]))
    high = math.log2(max([1.25, *(value for found in speeds.values() for value in found.values())]))

    def place(speed: float) -> float:
        return LEFT + (math.log2(speed) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    height = TOP + ROW * len(order) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="20" font-size="15">Speed in ONNX Runtime, all its optimizations on; 1 is the original</text>',
    ]
    for index, tool in enumerate(tools):
        x = 10 + index * (WIDTH - 20) / max(len(tools), 1)
        parts.append(f'<circle cx="{x + 5:.0f}" cy="38" r="5" fill="{colours[tool]}"/>')
        parts.append(f'<text x="{x + 14:.0f}" y="42">{html.escape(tool)}</text>')
    for tick in _ticks(2**low, 2**high):
        x = place(tick)
        wide = 2 if tick == 1 else 0.5
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height - 34}" stroke="#999" stroke-width="{wide}"/>'
        )
        parts.append(f'<text x="{x:.1f}" y="{height - 18}" text-anchor="middle">{tick:g}</text>')
    for index, model in enumerate(order):
        y = TOP + index * ROW + ROW / 2
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{html.escape(model)}</text>')
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        for tool in reversed(tools):
            speed = speeds[model].get(tool)
            if speed is not None:
                title = html.escape(f"{model}, {tool}: {speed:.2f}")
                size = 5 if tool.startswith("graphopt") else 3.5
                parts.append(
                    f'<circle cx="{place(speed):.1f}" cy="{y:.1f}" r="{size}" fill="{colours[tool]}"><title>{title}</title></circle>'
                )
    return "\n".join((*parts, "</svg>")) + "\n"


def _grouped(rows: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str, list[float]]]:
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["speed"] is not None and row["tool"] != "original":
            found.setdefault((row["model"], row["tool"]), []).append(row["speed"])
    return [(model, tool, values) for (model, tool), values in found.items()]


def _ticks(low: float, high: float) -> list[float]:
    return [tick for tick in (0.25, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 2.5, 3, 4, 6, 8) if low <= tick <= high]
