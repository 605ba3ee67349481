"""Nodes that a file lists out of order, put in order.

Stable: of the nodes that could stand next, the one that the file lists first does. Source: Kahn, "Topological sorting of large networks"
(Communications of the ACM 5, 1962).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto

from graphopt.errors import ModelError

__all__ = ["sort_model"]


def sort_model(proto: ModelProto) -> ModelProto:
    """A copy of the model in which each node stands after the nodes that it reads from, in all graphs and functions.

    Raises:
        ModelError: if nodes form a cycle; the error names some of them.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    _sort_graph(copy.graph)
    for function in copy.functions:
        _sort_graph(function)
    return copy


def _sort_graph(graph: GraphProto | FunctionProto) -> None:
    nodes = list(graph.node)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _sort_graph(attribute.g)
            for inner in attribute.graphs:
                _sort_graph(inner)
    order = _order([_reads(node) for node in nodes], [list(node.output) for node in nodes], nodes)
    if order != list(range(len(nodes))):
        # Copies first: the messages of a repeated field die with it.
        placed = [NodeProto.FromString(nodes[index].SerializeToString()) for index in order]
        del graph.node[:]
        graph.node.extend(placed)


def _reads(node: NodeProto) -> set[str]:
    """Names that a node reads, and those that its subgraphs capture."""
    found = set(node.input)
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            found |= _captured(graph)
    return found


def _captured(graph: GraphProto) -> set[str]:
    inside = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    inside |= {tensor.values.name for tensor in graph.sparse_initializer}
    found = {info.name for info in graph.output}
    for node in graph.node:
        found |= _reads(node)
        inside.update(node.output)
    return found - inside


def _order(reads: Sequence[set[str]], gives: Sequence[list[str]], nodes: Sequence[NodeProto]) -> list[int]:
    producer = {name: index for index, names in enumerate(gives) for name in names if name}
    needs = [{producer[name] for name in names if name in producer} for names in reads]
    waiting = [len(found) for found in needs]
    users: list[list[int]] = [[] for _ in nodes]
    for index, found in enumerate(needs):
        for needed in found:
            users[needed].append(index)
    ready = [index for index, count in enumerate(waiting) if not count]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, user)
    if len(order) < len(nodes):
        raise ModelError(
            f"nodes form a cycle: {_cycle(needs, waiting, nodes)}; ONNX graphs must have none, fix the model"
        )
    return order


def _cycle(needs: Sequence[set[int]], waiting: Sequence[int], nodes: Sequence[NodeProto]) -> str:
    index = next(index for index, count in enumerate(waiting) if count)
    path: dict[int, None] = {}
    while index not in path:
        path[index] = None
        index = next(needed for needed in sorted(needs[index]) if waiting[needed])
    steps = list(path)
    steps = steps[steps.index(index) :][::-1]
    names = [repr(nodes[step].name or next(iter(nodes[step].output), "")) for step in steps[:6]]
    more = f" and {len(steps) - 6} more" if len(steps) > 6 else ""
    return " -> ".join([*names, names[0]] if not more else names) + more
