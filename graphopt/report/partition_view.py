"""Where a model is cut, as tables for the terminal and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType

from graphopt.ir import Node
from graphopt.report.layout import columns, facts
from graphopt.report.units import count_text

if TYPE_CHECKING:
    from graphopt.analysis.partitioning import Region
    from graphopt.compiler.cutting import Cut

__all__ = ["partition_dict", "partition_view"]

_SHOWN: Final = 4


def partition_dict(cut: Cut) -> dict[str, object]:
    """The cut as plain values."""
    return {
        "target": cut.target,
        "share_of_flops": round(cut.partition.share, 6),
        "regions": [
            {
                "runs_in": _where(cut, region),
                "nodes": [_name(node) for node in region.nodes],
                "operators": dict(Counter(node.op for node in region.nodes).most_common()),
                "flops": region.flops,
                "inputs": {value.name: str(value.type) for value in region.inputs},
                "outputs": {value.name: str(value.type) for value in region.outputs},
            }
            for region in cut.partition.regions
        ],
        "not_taken": [
            {"node": _name(node), "op": node.op, "reason": reason} for node, reason in cut.partition.reasons.items()
        ],
    }


def partition_view(cut: Cut) -> RenderableType:
    """The cut, and why nodes are not taken."""
    found = cut.partition
    total = sum(len(region.nodes) for region in found.regions)
    told = {
        "target": cut.target,
        "taken": f"{total - len(found.reasons):,} of {total:,} nodes, {found.share:.1%} of the operations",
        "regions": f"{len(found.regions):,}",
    }
    rows = [
        (
            str(place),
            _where(cut, region),
            f"{len(region.nodes):,}",
            count_text(region.flops),
            f"{len(region.inputs):,}",
            f"{len(region.outputs):,}",
            _operators(region),
        )
        for place, region in enumerate(found.regions)
    ]
    heads = ("region>", "runs in", "nodes>", "FLOPs>", "inputs>", "outputs>", "operators")
    parts: list[RenderableType] = [facts(told), "", columns(heads, rows)]
    if found.reasons:
        reasons = Counter((node.op, reason) for node, reason in found.reasons.items())
        lines = [(op, f"{count:,}", reason) for (op, reason), count in reasons.most_common()]
        parts += ["", columns(("not taken", "nodes>", "why"), lines)]
    return Group(*parts)


def _where(cut: Cut, region: Region) -> str:
    return cut.target if region.taken else "onnxruntime"


def _name(node: Node) -> str:
    return node.name or (node.outputs[0].name if node.outputs else node.op)


def _operators(region: Region) -> str:
    counts = Counter(node.op for node in region.nodes).most_common()
    shown = ", ".join(f"{op} {count}" for op, count in counts[:_SHOWN])
    return shown + (f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")
