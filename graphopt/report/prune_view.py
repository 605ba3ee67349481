"""What pruning gave, as tables for the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.layout import columns, facts, printable
from graphopt.report.quantize_view import db_text, metric_text, metrics_text
from graphopt.report.units import bytes_text, count_text, counted, seconds_text

if TYPE_CHECKING:
    from graphopt.compiler.pruning.result import PrunedLayer, PruneReport
    from graphopt.compiler.pruning.trade import Attempt

__all__ = ["ATTEMPT_HEADS", "LAYER_HEADS", "attempt_cells", "curve_table", "layer_cells", "prune_facts", "prune_view"]

#: Heads of the tables of layers, and of what was tried within a budget.
LAYER_HEADS = ("layer", "op", "work>", "weights", "left", "operations>", "zero>", "pruned>", "recovered>")
ATTEMPT_HEADS = ("tried", "left>", "accuracy", "")
#: Part of zeros below which nobody wanted them.
_FEW = 0.005


def prune_view(report: PruneReport, files: Sequence[Path] = ()) -> RenderableType:
    """Layers, sensitivity, what was tried, then what went and what it buys."""
    parts: list[RenderableType] = []
    if report.layers:
        parts += [columns(LAYER_HEADS, [layer_cells(layer) for layer in report.layers]), ""]
    if report.sensitivity:
        heads, rows = curve_table(report)
        parts += [columns(heads, rows), ""]
    if report.attempts:
        parts += [columns(ATTEMPT_HEADS, [attempt_cells(item) for item in report.attempts]), ""]
    told = facts(prune_facts(report) | ({"files": ", ".join(map(str, files))} if files else {}))
    notes = [Text(f"note: {printable(note)}") for note in report.notes]
    return Group(*parts, told, *notes)


def layer_cells(layer: PrunedLayer) -> list[str]:
    """A row of the table of layers."""
    return [
        layer.name,
        layer.op,
        f"{layer.share:.1%}",
        _shape(layer.before),
        _shape(layer.after) if layer.after != layer.before else "",
        f"{layer.flops:.0%}" if layer.flops < 1 else "",
        f"{layer.sparsity:.0%}" if layer.sparsity >= _FEW else "",
        db_text(layer.pruned_db),
        db_text(layer.recovered_db),
    ]


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def curve_table(report: PruneReport) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a row for each layer or group, a column for each part of it that went, with the first metric."""
    curves = report.sensitivity
    parts = sorted({point.part for curve in curves for point in curve.points})
    names = [name for curve in curves for point in curve.points for name in point.values]
    metric = names[0] if names else ""
    rows = []
    for curve in curves:
        known = {point.part: point for point in curve.points}
        row = [curve.name]
        for part in parts:
            point = known.get(part)
            if point is None:
                row.append("")
            elif not point.values:
                row.append("failed")
            else:
                row.append(f"{metric_text(metric, point.values[metric])} ({point.left:.0%} left)")
        rows.append(row)
    recovered = ", recovered" if report.sweep_recovers else ""
    return [f"{metric} of a model{recovered}, without", *(f"{part:.0%} of it>" for part in parts)], rows


def attempt_cells(item: Attempt) -> list[str]:
    """A row of the table of what was tried within a budget."""
    outcome = "kept" if item.kept else "holds" if item.holds else item.reason or "beyond the budget"
    return [item.way, f"{item.left:.0%}", metrics_text(item.values), outcome]


def prune_facts(report: PruneReport) -> dict[str, str]:
    """What became of the model, by topic."""
    rows = {"model": report.source, "target": report.target, "asked": report.asked, "gone": report.kept}
    if report.importance:
        rows["importance"] = report.importance
    rows |= _metrics(report)
    rows["judged on"] = counted(report.examples, "held-out example")
    if report.budget:
        rows["budget"] = report.budget
    before, after = report.size_before, report.size_after
    if before is not None and after is not None:
        if before.flops:
            rows["operations"] = f"{count_text(before.flops)} -> {count_text(after.flops)} ({report.flops_left:.0%})"
        zeros = f", {after.sparsity:.0%} of them zero" if after.zeros > before.zeros else ""
        rows["weights"] = f"{count_text(before.weights)} -> {count_text(after.weights)}{zeros}"
    if report.speedup is not None:
        pairs = zip(report.latency_before, report.latency_after, strict=True)
        times = ", ".join(f"{seconds_text(a)} -> {seconds_text(b)}" for a, b in pairs)
        rows["latency"] = f"{times}; {report.speedup:.2f} times as fast"
    rows["size"] = (
        f"{bytes_text(report.file_before)} -> {bytes_text(report.file_after)}; "
        f"gzip {bytes_text(report.packed_before)} -> {bytes_text(report.packed_after)}"
    )
    if report.gains:
        rows["buys"] = "; ".join(report.gains)
    if report.frozen:
        counts = Counter(item.reason for item in report.frozen)
        rows["frozen"] = "; ".join(f"{count:,} because {why}" for why, count in counts.most_common())
    if report.pipeline:
        rows["pipeline"] = report.pipeline
    if report.verdict is not None:
        rows["check"] = report.verdict.summary
    rows["time"] = ", ".join(f"{name} {seconds_text(spent)}" for name, spent in report.seconds.items() if spent >= 0.01)
    return rows


def _metrics(report: PruneReport) -> dict[str, str]:
    """Each metric before, once it was pruned, and after it was recovered."""
    rows = {}
    for name, value in report.metric_after.items():
        before, pruned = report.metric_before.get(name), report.metric_pruned.get(name)
        known = before is not None and math.isfinite(before) and name != "sqnr"
        steps = [metric_text(name, before)] if known else []
        if pruned is not None and pruned != value:
            steps.append(f"{metric_text(name, pruned)} pruned")
            steps.append(f"{metric_text(name, value)} recovered")
        else:
            steps.append(metric_text(name, value))
        rows[name] = " -> ".join(steps)
    return rows
