"""A pruning as one HTML page: sensitivity and trade-off as plots, each layer with what is left of it, what is frozen and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from graphopt.report.html_page import escaped, html_page, sorted_table
from graphopt.report.line_plot import PLOT_STYLE, Line, Mark, line_plot
from graphopt.report.prune_view import (
    ATTEMPT_HEADS,
    LAYER_HEADS,
    attempt_cells,
    curve_table,
    layer_cells,
    prune_facts,
)
from graphopt.report.quantize_view import metric_text, metrics_text

if TYPE_CHECKING:
    from graphopt.compiler.pruning.result import PrunedLayer, PruneReport

__all__ = ["prune_page"]

#: What a column is sorted by, where the text would not do.
_SORTED: Final[dict[str, Callable[[PrunedLayer], float]]] = {
    "work": lambda layer: layer.share,
    "operations": lambda layer: layer.flops,
    "zero": lambda layer: layer.sparsity,
    "pruned": lambda layer: 1e9 if layer.pruned_db is None else layer.pruned_db,
    "recovered": lambda layer: 1e9 if layer.recovered_db is None else layer.recovered_db,
}


def prune_page(report: PruneReport) -> str:
    """The page as text.

    Args:
        report: of the pruning.
    """
    told = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>" for name, text in prune_facts(report).items())
    notes = "".join(f"<li>{escaped(note)}</li>" for note in report.notes)
    parts = [f"<dl>{told}</dl>", f"<ul>{notes}</ul>" if notes else "", *_trade_off(report), *_sensitivity(report)]
    if report.layers:
        parts += ["<h2>Layers</h2>", sorted_table(LAYER_HEADS, map(_layer_row, report.layers))]
    if report.frozen:
        rows = (_row([item.name, f"{item.size:,}", item.reason], (1,)) for item in report.frozen)
        parts += ["<h2>Groups of which nothing may go</h2>", sorted_table(("group", "size>", "reason"), rows)]
    return html_page(f"{report.source}, pruned", parts, style=PLOT_STYLE)


def _trade_off(report: PruneReport) -> list[str]:
    """A line for each way, each metric in a plot of its own."""
    if not report.attempts:
        return []
    parts = ["<h2>Accuracy by what is left</h2>"]
    ways = list(dict.fromkeys(item.way for item in report.attempts))
    for name in _metrics([item.values for item in report.attempts]):
        whole = report.metric_before.get(name, float("nan"))
        lines = []
        for way in ways:
            marks = [
                Mark(
                    item.left, item.values[name], f"{way}: {item.left:.0%} left, {metrics_text(item.values)}", item.kept
                )
                for item in report.attempts
                if item.way == way and name in item.values
            ]
            lines.append(Line(way, [*sorted(marks, key=lambda mark: mark.x), Mark(1.0, whole, "the original")]))
        parts.append(_plot(f"{name} by the part that is left", name, lines))
    rows = (_row(attempt_cells(item), (1,)) for item in report.attempts)
    return [*parts, sorted_table(ATTEMPT_HEADS, rows)]


def _sensitivity(report: PruneReport) -> list[str]:
    """A line for each layer or group, each metric in a plot of its own."""
    if not report.sensitivity:
        return []
    recovered = " and recovered" if report.sweep_recovers else ""
    parts = [f"<h2>Sensitivity: one layer or group pruned{recovered} at a time</h2>"]
    for name in _metrics([point.values for curve in report.sensitivity for point in curve.points]):
        whole = report.metric_before.get(name, float("nan"))
        lines = [
            Line(
                curve.name,
                [
                    Mark(0.0, whole, "the original"),
                    *(
                        Mark(
                            point.part,
                            point.values[name],
                            f"{curve.name} without {point.part:.0%}: {metrics_text(point.values)}, {point.left:.0%} left",
                        )
                        for point in curve.points
                        if name in point.values
                    ),
                ],
            )
            for curve in report.sensitivity
        ]
        parts.append(_plot(f"{name} by the part that goes", name, lines))
    heads, rows = curve_table(report)
    return [*parts, sorted_table(heads, (_row(row, range(1, len(row))) for row in rows))]


def _metrics(values: Sequence[object]) -> list[str]:
    return list(dict.fromkeys(name for item in values if isinstance(item, dict) for name in item))


def _plot(label: str, metric: str, lines: Sequence[Line]) -> str:
    return line_plot(label, lines, x_text=lambda x: f"{x:.0%}", y_text=lambda y: metric_text(metric, y))


def _layer_row(layer: PrunedLayer) -> str:
    cells = []
    for head, text in zip(LAYER_HEADS, layer_cells(layer), strict=True):
        key = _SORTED.get(head.removesuffix(">"))
        sort = "" if key is None else f' data-sort="{key(layer)!r}"'
        cells.append(f"<td{' class=number' if head.endswith('>') else ''}{sort}>{escaped(text)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _row(cells: Sequence[str], numbers: Sequence[int]) -> str:
    return "".join(
        (
            "<tr>",
            *(f"<td{' class=number' if at in numbers else ''}>{escaped(cell)}</td>" for at, cell in enumerate(cells)),
            "</tr>",
        )
    )
