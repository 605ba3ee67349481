"""Where the error between two models starts and how it grows, as tables for the terminal and as plain values for machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.layout import columns, printable
from graphopt.report.units import bytes_text, counted
from graphopt.verify.attribution.result import Layer, LayerComparison, Start

__all__ = ["HEADS", "layer_rows", "layers_document", "layers_view"]

_SHOWN = 20
_STEPS = 24
#: Heads of the columns that a value has; those of numbers end with ``>``.
HEADS = ("value", "node", "operator", "type", "relative>", "growth>", "max abs>", "SQNR dB>", "cosine>", "ulp>", "")


def layers_document(found: LayerComparison) -> dict[str, object]:
    """All of a comparison, for JSON."""
    layers = [
        {**{item.name: getattr(layer, item.name) for item in fields(layer)}, "growth": layer.growth}
        for layer in found.layers
    ]
    parts = {item.name: getattr(found, item.name) for item in fields(found)}
    return {"ok": found.ok, "summary": found.summary, **parts, "layers": layers}


def layers_view(found: LayerComparison) -> RenderableType:
    """The conclusion, the values at which the error grows most, and its way to the worst output.

    Args:
        found: the comparison.
    """
    parts: list[RenderableType] = [Text(printable(found.summary), style="green" if found.ok else "red")]
    parts += [Text(printable(_start(start))) for start in found.starts[:_SHOWN]]
    parts.append(Text(printable(_how(found))))
    parts += [Text(f"not compared: {counted(count, 'value')} ({reason})") for reason, count in found.skipped.items()]
    parts += [Text(printable(note)) for note in found.notes]
    if any(layer.error.status != "same" for layer in found.layers):
        parts += ["", _table(found)]
    if found.path:
        parts += ["", Text(printable(_path(found)))]
    return Group(*parts)


def _start(start: Start) -> str:
    made = (
        f"made by {start.counterpart_node!r} in the other model"
        if start.counterpart_node
        else "a constant of the other model"
    )
    return f"starts at {start.name!r}: nodes {', '.join(start.nodes)}; {made}"


def _how(found: LayerComparison) -> str:
    taken = "one run" if found.slices == 1 else f"{found.slices:,} runs"
    return f"{found.inputs}; values taken in {taken} of each model, at most {bytes_text(found.slice_bytes)} at a time"


def _table(found: LayerComparison) -> RenderableType:
    starts = {start.name for start in found.starts}
    different = (layer for layer in found.layers if layer.error.status != "same")
    ranked = sorted(different, key=lambda layer: (layer.name not in starts, -layer.increase))
    shown = ranked[:_SHOWN]
    rows = [layer_rows(layer, start=layer.name in starts) for layer in shown]
    table = columns(_narrow(HEADS), map(_narrow, rows))
    for row, layer in zip(table.rows, shown, strict=True):
        if layer.error.status == "wrong":
            row.style = "bold red" if layer.name in starts else "red"
    left = len(ranked) - len(shown)
    return (
        Group(
            table,
            Text(
                f"and {left:,} more {'value' if left == 1 else 'values'}, at which it grows less; --html and --json show them"
            ),
        )
        if left
        else table
    )


def _narrow(cells: Sequence[str]) -> list[str]:
    """Without the name of the node: a terminal has no room for it, and values are mostly named after their nodes."""
    return [*cells[:1], *cells[2:]]


def layer_rows(layer: Layer, *, start: bool) -> list[str]:
    """The cells of a value, in the order of the heads.

    Args:
        layer: the value.
        start: whether the error starts there.
    """
    error = layer.error
    said = (
        "starts here" if start else "wrong" if error.status == "wrong" else "the same" if error.status == "same" else ""
    )
    counterpart = "" if layer.counterpart == layer.name else f"{layer.counterpart} in the other model"
    return [
        layer.name,
        layer.node,
        layer.op,
        f"{layer.dtype}{list(layer.shape)}",
        _number(error.relative),
        "" if layer.growth is None else f"x {layer.growth:.3g}",
        _number(error.max_abs),
        "" if error.sqnr_db is None else f"{error.sqnr_db:.1f}",
        "" if error.cosine is None else f"{error.cosine:.7f}",
        "" if error.ulp is None else f"{error.ulp:,}",
        "; ".join(filter(None, (said, error.note, counterpart))),
    ]


def _number(number: float) -> str:
    return "0" if not number else "infinite" if number == math.inf else f"{number:.3g}"


def _path(found: LayerComparison) -> str:
    steps = found.path
    texts = [f"{step.name} ({_number(step.relative)})" for step in steps]
    if len(texts) > _STEPS:
        texts = [*texts[: _STEPS // 2], "...", *texts[-_STEPS // 2 :]]
    return f"to the worst output: {' -> '.join(texts)}"
