"""Cuts a graph between two runtimes: convex regions, as few as there can be, the small ones given up.

A stage number is given to each node of the main graph: that of the latest node it reads from, or the next one where the runtime changes.
Nodes of one stage are a region, and no path leaves a region and comes back, so regions run one after the other. The number of stages is
the smallest that the labels of nodes allow. Nodes that read from another region what the runtime of the first choice can't be handed go to
the other runtime, and so does a region that does too little to be worth the way there; stages are then numbered anew. An If or Loop is one
node: it is taken if all nodes inside are. Outputs of the graph that no node makes belong to a region of the other runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import networkx as nx

from graphopt.analysis.cost import cost_of_node
from graphopt.ir import Graph, Node, TensorType, Value, symbols_of

__all__ = ["Partition", "Region", "partition"]

#: A region with so few of a model's operations is not worth copying its inputs and outputs, if it has few nodes, or does few operations for
#: each byte that is copied: what crosses a bus at 12 GB/s could have been computed at 100 billion operations a second in the meantime.
LEAST_SHARE: Final = 0.005
LEAST_NODES: Final = 3
LEAST_INTENSITY: Final = 8.0


@dataclass(frozen=True)
class Region:
    """Nodes that run together.

    Attributes:
        taken: whether the runtime of the first choice runs them.
        nodes: in order.
        inputs: values that others give, constants apart.
        outputs: values that others, or the caller, read.
        flops: operations, as far as they are known; sizes that are not fixed count as 1.
    """

    taken: bool
    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    flops: int

    @property
    def copied(self) -> int:
        """Bytes of its inputs and outputs, as far as they are known; sizes that are not fixed count as 1."""
        return sum(_bytes(value) for value in (*self.inputs, *self.outputs))


@dataclass(frozen=True)
class Partition:
    """A graph in regions.

    Attributes:
        regions: in an order in which they can run.
        reasons: why nodes are not taken, by node; those of regions that were given up are among them.
    """

    regions: tuple[Region, ...]
    reasons: Mapping[Node, str]

    @property
    def share(self) -> float:
        """Which part of the operations the runtime of the first choice does, 0 to 1."""
        total = sum(region.flops for region in self.regions)
        mine = sum(region.flops for region in self.regions if region.taken)
        return mine / total if total else float(bool(self.regions) and all(region.taken for region in self.regions))


def partition(
    graph: Graph,
    reason_against: Callable[[Node], str | None],
    *,
    border: Callable[[Value], str | None] = lambda value: None,
    least_share: float = LEAST_SHARE,
    least_nodes: int = LEAST_NODES,
) -> Partition:
    """The regions of a graph.

    Args:
        graph: the main graph; not changed.
        reason_against: why the runtime of the first choice does not take a node, ``None`` when it does.
        border: why that runtime can't be handed a value by the other one or by the caller, ``None`` when it can.
        least_share: of the operations, below which a region of few nodes, or that copies much, is given up.
        least_nodes: how many nodes are few, this number apart.
    """
    nodes = list(graph.nodes)
    reasons = {node: reason for node in nodes if (reason := _reason(node, reason_against)) is not None}
    flops = {node: _flops(node) for node in nodes}
    total = sum(flops.values())
    order = _dependencies(nodes)
    while True:
        regions = _regions(nodes, order, reasons, flops)
        refused = {node: reason for region in regions if region.taken for node, reason in _refused(region, border)}
        if refused:
            reasons |= refused
            continue
        small = [
            region
            for region in regions
            if region.taken
            and region.flops < least_share * max(total, 1)
            and (len(region.nodes) < least_nodes or region.flops < LEAST_INTENSITY * region.copied)
        ]
        if not small or len(regions) == 1:
            return Partition(tuple(_with_loose_outputs(graph, regions)), reasons)
        for region in small:
            reasons |= dict.fromkeys(region.nodes, "too little work between nodes that are not taken")


def _reason(node: Node, reason_against: Callable[[Node], str | None]) -> str | None:
    """Why a node is not taken, or the first one inside of it."""
    for graph in node.subgraphs:
        for inner in graph.walk():
            found = reason_against(inner)
            if found is not None:
                return f"inside of it: {found}"
    return reason_against(node)


def _refused(region: Region, border: Callable[[Value], str | None]) -> list[tuple[Node, str]]:
    """Nodes of a region that would read what it can't be handed; what they give is looked at too, for it would have to be handed next."""
    reasons = {value: reason for value in region.inputs if (reason := border(value)) is not None}
    if not reasons:
        return []
    found = []
    for node in region.nodes:
        reason = next((reasons[value] for value in _read(node) if value in reasons), None)
        if reason is not None:
            found.append((node, reason))
            reasons |= {value: told for value in node.outputs if (told := border(value)) is not None}
    return found


def _with_loose_outputs(graph: Graph, regions: Sequence[Region]) -> list[Region]:
    """Regions that give all outputs, those too that are inputs or constants."""
    loose = [value for value in graph.outputs if value.producer is None]
    if not loose:
        return list(regions)
    found = list(regions)
    place = next((place for place, region in enumerate(found) if not region.taken), len(found))
    if place == len(found):
        found.append(Region(False, (), (), (), 0))
    home = found[place]
    read = dict.fromkeys((*home.inputs, *(value for value in loose if not value.is_constant)))
    found[place] = replace(home, inputs=tuple(read), outputs=(*home.outputs, *loose))
    return found


def _flops(node: Node) -> int:
    """Operations of a node, sizes that are not known being 1."""
    shapes = [
        value.type.shape
        for value in (*node.inputs, *node.outputs)
        if value is not None and isinstance(value.type, TensorType)
    ]
    symbols = {name for shape in shapes if shape is not None for name in symbols_of(shape)}
    found = cost_of_node(node, dict.fromkeys(symbols, 1)).flops
    return found if isinstance(found, int) else 0


def _bytes(value: Value) -> int:
    """Bytes of a value, sizes that are not known being 1."""
    kind = value.type
    if not isinstance(kind, TensorType):
        return 0
    return kind.dtype.storage_bytes(math.prod(size if isinstance(size, int) else 1 for size in kind.shape or ()))


def _dependencies(nodes: Sequence[Node]) -> nx.DiGraph[Node]:
    """Who reads from whom; what a subgraph captures is read by the node that has it."""
    found: nx.DiGraph[Node] = nx.DiGraph()
    found.add_nodes_from(nodes)
    mine = set(nodes)
    for node in nodes:
        for value in _read(node):
            if value.producer in mine:
                found.add_edge(value.producer, node)
    return found


def _read(node: Node) -> list[Value]:
    values = [value for value in node.inputs if value is not None]
    for graph in node.subgraphs:
        values += [value for inner in graph.walk() for value in inner.inputs if value is not None]
        values += graph.outputs
    return values


def _regions(
    nodes: Sequence[Node], order: nx.DiGraph[Node], reasons: Mapping[Node, str], flops: Mapping[Node, int]
) -> list[Region]:
    stages, first = min(
        ((_stages(nodes, order, reasons, first=first), first) for first in (True, False)),
        key=lambda found: max(found[0].values(), default=0),
    )
    by_stage: dict[int, list[Node]] = {}
    for node in nodes:
        by_stage.setdefault(stages[node], []).append(node)
    return [_region(by_stage[stage], taken=(stage % 2 == 0) == first, flops=flops) for stage in sorted(by_stage)]


def _stages(
    nodes: Sequence[Node], order: nx.DiGraph[Node], reasons: Mapping[Node, str], *, first: bool
) -> dict[Node, int]:
    """The stage of each node, even ones being of the runtime that begins.

    Args:
        nodes: in an order in which they run.
        order: who reads from whom.
        reasons: of nodes that are not taken.
        first: whether the runtime of the first choice begins.
    """
    stages: dict[Node, int] = {}
    for node in nodes:
        taken = node not in reasons
        stage = 0
        for before in order.predecessors(node):
            stage = max(stage, stages[before] + ((before not in reasons) != taken))
        stages[node] = stage + (((stage % 2 == 0) == first) != taken)
    return stages


def _region(nodes: list[Node], *, taken: bool, flops: Mapping[Node, int]) -> Region:
    mine = set(nodes)
    inner = {
        value for node in nodes for graph in node.subgraphs for each in graph.walk_graphs() for value in each.values()
    }
    given = {value for node in nodes for value in node.outputs}
    read = dict.fromkeys(
        value
        for node in nodes
        for value in _read(node)
        if value not in given and value not in inner and not value.is_constant
    )
    outputs = [
        value
        for node in nodes
        for value in node.outputs
        if value.is_graph_output or any(_outermost(use.node) not in mine for use in value.uses)
    ]
    return Region(taken, tuple(nodes), tuple(read), tuple(outputs), sum(flops[node] for node in nodes))


def _outermost(node: Node) -> Node:
    """The node of the main graph that a node is inside of."""
    while node.graph is not None and node.graph.parent is not None:
        node = node.graph.parent
    return node
