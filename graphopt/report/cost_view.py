"""Estimated costs, and how well coefficients fit, as tables for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType

from graphopt.analysis.cost_model import CostModel
from graphopt.analysis.cost_report import NodeEstimate, by_operator
from graphopt.ir import Dim
from graphopt.report.layout import columns, facts
from graphopt.report.units import bytes_text, count_text, counted, seconds_text

__all__ = ["cost_dict", "cost_view", "fit_view"]

_LONGEST = 24
_DIMS = 4


def cost_dict(nodes: Sequence[NodeEstimate], costs: CostModel, origin: str) -> dict[str, object]:
    """Estimates as plain values; times in milliseconds."""
    return {
        "coefficients": {
            "from": origin,
            "backend": costs.backend,
            "threads": costs.threads,
            "machine": costs.machine,
            "median_error": None if costs.quality is None else costs.quality.median_error,
        },
        "ms": _ms(_total(nodes)),
        "unknown": sum(node.seconds is None for node in nodes),
        "ops": [
            {
                "op": item.op,
                "nodes": item.nodes,
                "flops": item.flops,
                "bytes": item.bytes,
                "weight_bytes": item.weight_bytes,
                "ms": _ms(item.seconds),
                "unknown": item.unknown,
            }
            for item in by_operator(nodes)
        ],
        "nodes": [
            {
                "name": node.name,
                "op": node.op,
                "inside": node.inside,
                "flops": _plain(node.flops),
                "bytes": _plain(node.bytes),
                "weight_bytes": node.weight_bytes,
                "ms": None if node.seconds is None else _ms(node.seconds),
            }
            for node in nodes
        ],
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 6)


def _plain(dim: Dim) -> int | str | None:
    return dim if dim is None or isinstance(dim, int) else str(dim)


def _total(nodes: Sequence[NodeEstimate]) -> float:
    return sum(node.seconds for node in nodes if node.seconds is not None and not node.inside)


def cost_view(
    nodes: Sequence[NodeEstimate], costs: CostModel, origin: str, *, top: int, unbound: Sequence[str] = ()
) -> RenderableType:
    """The nodes that take longest, all operators, and what the estimate is worth.

    Args:
        nodes: all nodes.
        costs: coefficients.
        origin: where they are from.
        top: how many nodes are listed.
        unbound: dynamic sizes that have no number.
    """
    total = _total(nodes)
    slowest = sorted(nodes, key=lambda node: -(node.seconds or 0.0))[:top]
    node_table = columns(
        ("node", "operator", "operations>", "bytes>", "weights>", "estimate>", "part>"),
        [_node_cells(node, total) for node in slowest],
    )
    op_rows = [
        (
            item.op,
            f"{item.nodes:,}",
            count_text(item.flops) if item.flops else "",
            "?" if item.unknown == item.nodes and not item.bytes else bytes_text(item.bytes),
            bytes_text(item.weight_bytes) if item.weight_bytes else "",
            "?" if item.unknown == item.nodes else seconds_text(item.seconds),
            _part(item.seconds, total),
        )
        for item in by_operator(nodes)
    ]
    op_table = columns(("operator", "nodes>", "operations>", "bytes>", "weights>", "estimate>", "part>"), op_rows)
    unknown = sum(node.seconds is None for node in nodes)
    whole = {"estimate": f"{seconds_text(total)} a run" + (f", without {counted(unknown, 'node')}" if unknown else "")}
    if unknown and unbound:
        whole["estimate"] += f" (sizes may tell: {' '.join(f'--dim {name}=SIZE' for name in unbound[:_DIMS])})"
    whole["coefficients"] = f"{origin}: {costs.backend}, {counted(costs.threads, 'thread')}, {costs.machine}"
    if costs.quality is not None:
        whole["off by"] = f"{costs.quality.median_error:.0%} at the median node of models that were not fitted to"
    return Group(node_table, "", op_table, "", facts(whole))


def _node_cells(node: NodeEstimate, total: float) -> tuple[str, ...]:
    return (
        node.name + (" (inside)" if node.inside else ""),
        node.op,
        _dim(node.flops, count_text),
        _dim(node.bytes, bytes_text),
        bytes_text(node.weight_bytes) if node.weight_bytes else "",
        "?" if node.seconds is None else seconds_text(node.seconds),
        "" if node.seconds is None else _part(node.seconds, total),
    )


def _dim(dim: Dim, spell: object) -> str:
    if isinstance(dim, int):
        return spell(dim) if callable(spell) and dim else ""
    text = "?" if dim is None else str(dim)
    return text if len(text) <= _LONGEST else "dynamic"


def _part(seconds: float, total: float) -> str:
    return f"{seconds / total:.1%}" if total else ""


def fit_view(costs: CostModel, place: str) -> RenderableType:
    """Coefficients, and how far off they are."""
    rows = [
        (
            name,
            f"{item.nodes:,}",
            seconds_text(item.call),
            _rate(item.flop, "FLOP/s"),
            _rate(item.byte, "B/s"),
            f"{item.error:.0%}",
        )
        for name, item in costs.classes.items()
    ]
    table = columns(("class", "nodes>", "a call>", "operations>", "bytes>", "median error>"), rows)
    whole = {"machine": f"{costs.machine}, {counted(costs.threads, 'thread')}"}
    quality = costs.quality
    if quality is not None:
        whole["held out"] = (
            f"{counted(quality.models, 'model')}, {counted(quality.nodes, 'node')}: median error {quality.median_error:.0%}, "
            f"R2 {quality.r2:.2f} (of logarithms {quality.r2_log:.2f})"
        )
        errors = sorted(quality.model_errors.items(), key=lambda item: -abs(item[1]))
        whole["whole models"] = ", ".join(f"{name} {error:+.0%}" for name, error in errors)
    whole["saved"] = place
    return Group(table, "", facts(whole))


def _rate(seconds: float, unit: str) -> str:
    if not seconds:
        return ""
    text = count_text(1 / seconds)
    return f"{text}{unit}" if text[-1].isalpha() else f"{text} {unit}"
