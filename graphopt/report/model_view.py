"""A model summary as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from graphopt.report.layout import columns, facts
from graphopt.report.model_summary import ModelSummary, ValueSummary
from graphopt.report.units import bytes_text, count_text

__all__ = ["summary_view"]

_OPS_SHOWN = 20
_UNKNOWN_SHOWN = 4
_LONGEST = 100


def summary_view(summary: ModelSummary, *, all_ops: bool = False) -> RenderableType:
    """What a model is, as tables.

    Args:
        summary: the model.
        all_ops: whether to list all operators instead of the most frequent ones.
    """
    parts: list[RenderableType] = [_facts(summary), "", _interface(summary), "", _ops(summary, all_ops=all_ops)]
    if summary.functions:
        rows = [(function.op, f"{function.nodes:,}", f"{function.calls:,}") for function in summary.functions]
        parts += ["", columns(("function", "nodes>", "calls>"), rows)]
    return Group(*parts)


def _facts(summary: ModelSummary) -> Table:
    size = "" if summary.file_bytes is None else f" ({bytes_text(summary.file_bytes)})"
    inside = f" in the main graph and {summary.subgraphs} subgraphs, {summary.depth} deep" if summary.subgraphs else ""
    rows = {
        "model": f"{summary.source or 'in memory'}{size}",
        "producer": summary.producer or "not stated",
        "format": f"IR version {summary.ir_version}, " + ", ".join(_opsets(summary.opsets)),
        "nodes": f"{summary.nodes:,}{inside}",
        "parameters": f"{count_text(summary.parameters)} in {summary.weights:,} initializers",
        "weights": f"{bytes_text(summary.weight_bytes)}{_by_type(summary.weight_bytes_by_type)}",
    }
    if summary.external_files:
        files = (f"{name} ({bytes_text(size)})" for name, size in summary.external_files.items())
        rows["external data"] = ", ".join(files)
    rows["dynamic sizes"] = ", ".join(_dims(summary)) or "none"
    rows["operations"] = _cost(summary.flops, count_text) + " a run" + _unknown(summary)
    rows["memory moved"] = _cost(summary.moved_bytes, lambda size: bytes_text(int(size))) + " a run" + _unsized(summary)
    if summary.unknown_ops:
        rows["without a schema"] = ", ".join(summary.unknown_ops) + " (kept as they are, never folded)"
    for key, text in summary.metadata.items():
        line = " ".join(text.split())
        rows[f"metadata {key}"] = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
    return facts(rows)


def _opsets(opsets: Mapping[str, int]) -> list[str]:
    return [f"{domain or 'ai.onnx'} {version}" for domain, version in opsets.items()]


def _by_type(sizes: Mapping[str, int]) -> str:
    shown = [f"{name} {bytes_text(size)}" for name, size in sizes.items() if size]
    return f" ({', '.join(shown)})" if len(shown) > 1 else f" ({next(iter(sizes))})" if shown else ""


def _dims(summary: ModelSummary) -> list[str]:
    return [f"{name}={summary.sizes[name]}" if name in summary.sizes else name for name in summary.dynamic_dims]


def _cost(cost: object, number: object) -> str:
    if isinstance(cost, int) and callable(number):
        return str(number(cost))
    text = str(cost)
    return text if len(text) <= _LONGEST else "an expression over many dynamic sizes (bind them with --dim NAME=SIZE)"


def _unknown(summary: ModelSummary) -> str:
    if not summary.unknown_cost:
        return ""
    unbound = [name for name in summary.dynamic_dims if name not in summary.sizes]
    hint = f" (sizes may tell: --dim {unbound[0]}=SIZE)" if unbound else ""
    shown = [f"{count} {op}" for op, count in list(summary.unknown_cost.items())[:_UNKNOWN_SHOWN]]
    more = len(summary.unknown_cost) - len(shown)
    return f", without {', '.join(shown)}{f' and {more} more kinds' if more else ''}{hint}"


def _unsized(summary: ModelSummary) -> str:
    return f", without {summary.unsized_nodes:,} nodes of unknown size" if summary.unsized_nodes else ""


def _interface(summary: ModelSummary) -> Table:
    def rows(kind: str, values: list[ValueSummary]) -> list[tuple[str, str, str]]:
        return [(kind, value.name, value.type + (", has a default" if value.has_default else "")) for value in values]

    return columns(("", "name", "type"), rows("input", summary.inputs) + rows("output", summary.outputs))


def _ops(summary: ModelSummary, *, all_ops: bool) -> RenderableType:
    shown = list(summary.ops.items()) if all_ops else list(summary.ops.items())[:_OPS_SHOWN]
    rows = [(op, f"{count:,}", _flops_of(summary, op)) for op, count in shown]
    table = columns(("operator", "nodes>", "operations>"), rows)
    left = len(summary.ops) - len(shown)
    return Group(table, Text(f"and {left} more operators; --all-ops shows them")) if left else table


def _flops_of(summary: ModelSummary, op: str) -> str:
    if op not in summary.flops_by_op:
        return "?" if op in summary.unknown_cost else ""
    cost = summary.flops_by_op[op]
    return count_text(cost) if isinstance(cost, int) else str(cost) if len(str(cost)) <= 40 else "dynamic"
