"""What each node of a model costs and is estimated to take, and the same by operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graphopt.analysis.cost import cost_of_node
from graphopt.analysis.cost_classes import cost_class
from graphopt.analysis.cost_model import CostModel
from graphopt.analysis.model_survey import label_of
from graphopt.ir import Dim, Model, Node

__all__ = ["NodeEstimate", "OpEstimate", "by_operator", "estimate_model"]


@dataclass(frozen=True, slots=True)
class NodeEstimate:
    """A node.

    Attributes:
        name: of the node, or of its first output.
        op: its operator.
        inside: whether it stands in a subgraph, and may run often or never.
        flops: operations; a number, an expression over symbolic sizes, or ``None``.
        bytes: bytes that it reads and gives, the same way.
        weight_bytes: bytes of its constants.
        seconds: what it is estimated to take, ``None`` when that is not known.
    """

    name: str
    op: str
    inside: bool
    flops: Dim
    bytes: Dim
    weight_bytes: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class OpEstimate:
    """All nodes of an operator.

    Attributes:
        op: it.
        nodes: how many there are.
        flops: operations of those for which they are numbers.
        bytes: bytes, the same way.
        weight_bytes: bytes of their constants.
        seconds: what those take together that can be estimated.
        unknown: for how many nothing can be estimated.
    """

    op: str
    nodes: int
    flops: int
    bytes: int
    weight_bytes: int
    seconds: float
    unknown: int


def estimate_model(model: Model, costs: CostModel, sizes: Mapping[str, int] | None = None) -> list[NodeEstimate]:
    """All nodes of the main graph, each before those inside it; bodies of functions are left to their calls, whose cost is not known.

    Args:
        model: its values should have types.
        costs: coefficients.
        sizes: numbers for symbolic dimensions, by name.
    """
    return [_estimate(node, costs, sizes) for node in model.graph.walk()]


def _estimate(node: Node, costs: CostModel, sizes: Mapping[str, int] | None) -> NodeEstimate:
    cost = cost_of_node(node, sizes)
    weights = {value.const for value in node.inputs if value is not None and value.const is not None}
    return NodeEstimate(
        name=label_of(node),
        op=node.op,
        inside=node.graph is not None and node.graph.depth > 0,
        flops=cost.flops,
        bytes=cost.bytes,
        weight_bytes=sum(constant.nbytes for constant in weights),
        seconds=costs.seconds(cost_class(node), cost),
    )


def by_operator(nodes: Iterable[NodeEstimate]) -> list[OpEstimate]:
    """Nodes by operator, what takes longest first."""
    groups: dict[str, list[NodeEstimate]] = {}
    for node in nodes:
        groups.setdefault(node.op, []).append(node)
    found = [
        OpEstimate(
            op=op,
            nodes=len(group),
            flops=sum(node.flops for node in group if isinstance(node.flops, int)),
            bytes=sum(node.bytes for node in group if isinstance(node.bytes, int)),
            weight_bytes=sum(node.weight_bytes for node in group),
            seconds=sum(node.seconds for node in group if node.seconds is not None),
            unknown=sum(node.seconds is None for node in group),
        )
        for op, group in groups.items()
    ]
    return sorted(found, key=lambda item: (-item.seconds, -item.nodes, item.op))
