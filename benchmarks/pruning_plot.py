"""Draws accuracy over the operations that are left as an SVG: a panel for each case, a curve for each pruner of channels."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["plot"]

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 300, 60, 60, 50
COLOURS = {
    "graphopt": "#2a78c8",
    "graphopt, not recovered": "#9cc4ea",
    "graphopt, then int8": "#c8322a",
    "onnxsim": "#c88a2a",
    "onnxsim wanda, finetuned": "#2a9d5c",
}


def plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the plot as text.

    Args:
        rows: of a record of `benchmarks.pruning`.
    """
    cases = list(dict.fromkeys(str(row["case"]) for row in rows))
    width, height = len(cases) * (WIDTH + 30) + 20, TOP + HEIGHT + BOTTOM + 20 * len(COLOURS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, case in enumerate(cases):
        parts += _panel([row for row in rows if row["case"] == case], case, 10 + number * (WIDTH + 30))
    for number, (tool, colour) in enumerate(COLOURS.items()):
        y = TOP + HEIGHT + BOTTOM + 20 * number
        parts.append(
            f'<circle cx="70" cy="{y}" r="5" fill="{colour}"/><text x="82" y="{y + 4}">{html.escape(tool)}</text>'
        )
    return "\n".join((*parts, "</svg>")) + "\n"


def _panel(rows: Sequence[Mapping[str, Any]], case: str, left: float) -> list[str]:
    by_labels = any(row["accuracy"] is not None for row in rows)
    what = "accuracy" if by_labels else "agreement"
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["tool"] in COLOURS and row["flops"] is not None and row[what] is not None:
            points.setdefault(row["tool"], []).append((row["flops"], row[what]))
    least = min((x for found in points.values() for x, _ in found), default=0.5)
    first = max(0.0, least - 0.05)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + LEFT + (x - first) / (1 - first) * (WIDTH - LEFT), TOP + (1 - y) * HEIGHT

    parts = [
        f'<text x="{left + LEFT}" y="{TOP - 30}" font-size="15">{html.escape(case)}: {what} over operations left</text>'
    ]
    for tick in range(0, 11, 2):
        _, y = place(1, tick / 10)
        parts.append(f'<line x1="{left + LEFT}" x2="{left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left + LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick * 10} %</text>')
        if tick / 10 >= first:
            x, bottom = place(tick / 10, 0)
            parts.append(f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{tick * 10} %</text>')
    original = next((row[what] for row in rows if row["tool"] == "original"), None)
    for tool, found in points.items():
        curve = sorted([*found, (1.0, original)] if original is not None and len(found) > 1 else found)
        places = [place(x, y) for x, y in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[tool]}" stroke-width="2"/>')
        for (x, y), (flops, value) in zip(places, curve, strict=True):
            title = html.escape(f"{tool}: {value:.1%} at {flops:.0%}")
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[tool]}"><title>{title}</title></circle>'
            )
    return parts
