"""Takes nodes out of the middle: who read their outputs reads a value of the same type that was there before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Graph, Model, Node, TensorType, Value, replace_all_uses
from graphopt.verify.reduction.case import node_key
from graphopt.verify.reduction.chunks import minimize
from graphopt.verify.reduction.editing import dead_nodes, replace_outputs, sweep
from graphopt.verify.reduction.search import Search

__all__ = ["BypassNodes", "BypassNodesInside"]

_LOOK_BACK: Final = 64
_LARGEST_ZERO: Final = 1 << 16


@dataclass(frozen=True)
class BypassNodes:
    """Bypass nodes of the main graph: an input of the same type stands for an output, or a value computed earlier."""

    name: ClassVar[str] = "bypass nodes"

    def shrink(self, search: Search) -> None:
        """Bypass as many nodes as possible."""
        keys = [node_key(node) for node in search.case.model.graph.nodes]
        spare = set(dead_nodes(search.case.model.graph))

        def holds(kept: list[str]) -> bool:
            candidate = search.case.copy()
            graph = candidate.model.graph
            gone = set(keys) - set(kept)
            if not _bypass_all([node for node in graph.nodes if node_key(node) in gone]):
                return False
            sweep(graph, spare)
            return search.attempt(candidate)

        if len(set(keys)) == len(keys):
            minimize(keys, holds)


@dataclass(frozen=True)
class BypassNodesInside:
    """Bypass nodes in subgraphs and functions; zeros stand for an output where nothing else has its type."""

    name: ClassVar[str] = "bypass nodes inside"

    def shrink(self, search: Search) -> None:
        """Bypass as many nodes as possible."""
        places = _inner_places(search.case.model)
        if not places:
            return
        base = search.case

        def holds(kept: list[tuple[int, int]]) -> bool:
            candidate = base.copy()
            graphs = list(candidate.model.graphs())
            gone = set(places) - set(kept)
            nodes = [
                node
                for number, graph in enumerate(graphs)
                for place, node in enumerate(graph.nodes)
                if (number, place) in gone
            ]
            if not _bypass_all(nodes):
                return False
            for graph in reversed(graphs[1:]):
                sweep(graph)
            return search.attempt(candidate)

        minimize(places, holds)


def _inner_places(model: Model) -> list[tuple[int, int]]:
    """All nodes that are not in the main graph: number of their graph, and their place in it."""
    return [
        (number, place)
        for number, graph in enumerate(model.graphs())
        if graph is not model.graph
        for place in range(len(graph.nodes))
    ]


def _bypass_all(nodes: list[Node]) -> bool:
    """Bypass nodes where that can be done; whether it was done to any."""
    done = 0
    for node in reversed(nodes):
        if node.graph is not None and bypass(node):
            done += 1
    return done > 0


def bypass(node: Node) -> bool:
    """Take a node out and let its users read something else of the same type; ``False`` when there is no such thing."""
    graph = node.graph
    assert graph is not None, f"{node!r} is in no graph"
    found: list[tuple[Value, Value | None]] = []
    for output in node.outputs:
        if not output.is_used:
            continue
        stand_in = _stand_in(node, output, graph)
        if stand_in is None and not _can_be_zero(output, graph):
            return False
        found.append((output, stand_in))
    for output, stand_in in found:
        new = _zeros(output, graph) if stand_in is None else stand_in
        if not replace_outputs(output, new, graph.root):
            return False
        replace_all_uses(output, new)
    graph.erase(node)
    return True


def _stand_in(node: Node, output: Value, graph: Graph) -> Value | None:
    for value in node.inputs:
        if value is not None and _same_type(value, output):
            return value
    if output.type is None:
        return None
    at = node._prev
    for _ in range(_LOOK_BACK):
        if at is None or at.graph is not graph:
            break
        for value in at.outputs:
            if value.name and _same_type(value, output):
                return value
        at = at._prev
    return next((value for value in graph.inputs if _same_type(value, output)), None)


def _same_type(one: Value, other: Value) -> bool:
    """Whether two values have one type, as far as that is known."""
    return one.type == other.type


def _can_be_zero(output: Value, graph: Graph) -> bool:
    """Whether zeros may stand for a result inside a subgraph or function, which no run of the model tells."""
    kind = output.type
    if not isinstance(kind, TensorType) or kind.static_shape is None or kind.dtype in (DType.STRING, DType.UNDEFINED):
        return False
    inside = graph.parent is not None
    return inside and int(np.prod(kind.static_shape)) <= _LARGEST_ZERO


def _zeros(output: Value, graph: Graph) -> Value:
    kind = output.type
    assert isinstance(kind, TensorType), "as was seen"
    return graph.add_constant(np.zeros(kind.static_shape or (), kind.dtype.numpy), f"{output.name}_zeros")
