"""What quantizing and evaluating gave, as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.layout import columns, facts, printable
from graphopt.report.units import bytes_text, count_text, counted, seconds_text

if TYPE_CHECKING:
    from graphopt.compiler.quantizing.evaluating import Evaluation
    from graphopt.compiler.quantizing.layers import Prospects
    from graphopt.compiler.quantizing.result import LayerReport, QuantizeReport

__all__ = [
    "LAYER_HEADS",
    "db_text",
    "evaluation_view",
    "layer_cells",
    "metric_text",
    "metrics_text",
    "prospects_view",
    "quantize_facts",
    "quantize_view",
    "speed_text",
]

#: Heads of the table of layers, and of the curve.
LAYER_HEADS = ("layer", "op", "work>", "form", "range", "scale>", "alone>", "error>", "why")
_CURVE_HEADS = ("layers in floats>", "accuracy", "size>", "speed>", "")


def evaluation_view(found: Evaluation) -> RenderableType:
    """Each metric in a line."""
    rows = {"model": found.source, "backend": found.backend}
    if found.reference:
        rows["compared with"] = found.reference
    rows |= {name: found.kinds[name].text(value) for name, value in found.values.items()}
    each = seconds_text(found.seconds / max(found.examples, 1))
    rows["data"] = (
        f"{counted(found.examples, 'example')} in {counted(found.batches, 'batch', 'batches')}, {each} for each"
    )
    return facts(rows)


def prospects_view(found: Prospects) -> RenderableType:
    """Whether quantizing will help here, before it begins."""
    return facts(
        {
            "processor": found.processor.summary,
            "model": f"{count_text(found.flops)} operations, {found.share:.0%} of them can become int8, "
            f"{found.weight_share:.0%} of the weights",
            "prospects": found.summary,
        }
    )


def quantize_view(report: QuantizeReport, files: Sequence[Path] = ()) -> RenderableType:
    """Layers, what was tried, the curve, then what is kept and why."""
    parts: list[RenderableType] = []
    if report.layers:
        parts += [columns(LAYER_HEADS, [layer_cells(layer) for layer in report.layers]), ""]
    if len(report.candidates) > 1 or not report.is_quantized:
        parts += [_candidates(report), ""]
    if len(report.curve) > 1:
        rows = [
            [
                str(point.floats),
                metrics_text(point.values),
                bytes_text(point.size),
                speed_text(point.speedup),
                "kept" if point.kept else "",
            ]
            for point in report.curve
        ]
        parts += [columns(_CURVE_HEADS, rows), ""]
    told = facts(quantize_facts(report) | ({"files": ", ".join(map(str, files))} if files else {}))
    notes = [Text(f"note: {printable(note)}") for note in report.notes]
    return Group(*parts, told, *notes)


def _candidates(report: QuantizeReport) -> RenderableType:
    rows = [
        [
            item.name,
            item.forms,
            speed_text(item.speedup),
            metrics_text(item.values),
            bytes_text(item.size) if item.size else "",
            item.outcome + (f": {item.reason}" if item.reason else ""),
        ]
        for item in report.candidates
    ]
    return columns(("tried", "layers", "speed>", "accuracy", "size>", ""), rows)


def quantize_facts(report: QuantizeReport) -> dict[str, str]:
    """What became of the model, by topic."""
    rows = {"model": report.source, "target": f"{report.target} ({report.prospects.scheme})", "kept": report.kept}
    if report.calibrator:
        rows["ranges by"] = report.calibrator
    for effect in report.effects:
        kept = "kept" if effect.kept else "left out"
        why = f" ({effect.reason})" if effect.reason else ""
        rows[effect.name] = f"SQNR {db_text(effect.before)} -> {db_text(effect.after)}, {kept}{why}"
    for name, value in report.metric_after.items():
        before = report.metric_before.get(name)
        known = before is not None and math.isfinite(before) and name != "sqnr"
        rows[name] = f"{metric_text(name, before)} -> {metric_text(name, value)}" if known else metric_text(name, value)
    rows["judged on"] = counted(report.examples, "held-out example")
    if report.budget:
        rows["budget"] = report.budget
    if report.latency_after:
        pairs = zip(report.latency_before, report.latency_after, strict=True)
        times = ", ".join(f"{seconds_text(a)} -> {seconds_text(b)}" for a, b in pairs)
        rows["latency"] = f"{times}; {speed_text(report.speedup)} times as fast as floats"
    rows["size"] = f"{bytes_text(report.size_before)} -> {bytes_text(report.size_after)}"
    if report.verdict is not None:
        rows["check"] = report.verdict.summary
    rows["time"] = ", ".join(f"{name} {seconds_text(spent)}" for name, spent in report.seconds.items() if spent >= 0.01)
    return rows


def layer_cells(layer: LayerReport) -> list[str]:
    """A row of the table of layers."""
    found = layer.parameters
    return [
        layer.name,
        layer.op,
        f"{layer.share:.1%}",
        layer.form,
        "" if found is None else f"{found.low:.4g} to {found.high:.4g} {found.dtype}",
        "" if found is None else f"{found.scale:.3g}",
        db_text(layer.alone_db),
        db_text(layer.error_db),
        layer.why,
    ]


def metric_text(name: str, value: float | None) -> str:
    """A metric with its unit.

    Example:
        >>> metric_text("top1", 98.65), metric_text("sqnr", float("inf"))
        ('98.65 %', 'exact')
    """
    if value is None:
        return ""
    if name == "sqnr":
        return db_text(value)
    if name in ("top1", "top5"):
        return f"{value:.2f} %"
    return f"{value:.5g}"


def metrics_text(values: object) -> str:
    """Several metrics in a line."""
    if not isinstance(values, dict):
        return ""
    return ", ".join(f"{name} {metric_text(name, value)}" for name, value in values.items())


def db_text(value: float | None) -> str:
    """A ratio in dB.

    Example:
        >>> db_text(31.26), db_text(None), db_text(float("inf"))
        ('31.3 dB', '', 'exact')
    """
    if value is None:
        return ""
    return "exact" if value == math.inf else "none" if not math.isfinite(value) else f"{value:.1f} dB"


def speed_text(value: float | None) -> str:
    """How many times as fast something is; ``""`` when not measured."""
    return "" if value is None else f"{value:.2f}"
