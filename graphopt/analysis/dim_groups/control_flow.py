"""Graphs inside nodes: branches of an If give the same axes; what Loop and Scan carry is frozen, what they read from around is not."""

from __future__ import annotations

from graphopt.analysis.dim_groups.following import Axes, Following, RoleFunction
from graphopt.ir import Node

__all__ = ["FUNCTIONS", "close"]


def _nothing(node: Node, follow: Following) -> None:
    """What is given is said after the graphs inside were looked at: see :func:`close`."""


def close(node: Node, follow: Following) -> None:
    """Say what a node with graphs inside gives, once these were followed."""
    if node.op == "If":
        for index, output in enumerate(node.outputs):
            given = [graph.outputs[index] for graph in node.subgraphs]
            axes = [follow.axes(value) for value in given]
            first = axes[0]
            if first is None or any(other is None or not _alike(first, other) for other in axes[1:]):
                for value in given:
                    follow.freeze_value(value, "branches give different shapes", node)
                continue
            for other in axes[1:]:
                follow.unify_axes(first, other or [], node)
            follow.give(output, first)
        return
    why = f"{node.op_type} carries it from step to step"
    follow.freeze_node(node, why)
    for graph in node.subgraphs:
        for value in (*graph.inputs, *graph.outputs):
            follow.freeze_value(value, why, node)


def _alike(one: Axes, other: Axes) -> bool:
    return [extent.size for extent in one] == [extent.size for extent in other]


FUNCTIONS: dict[str, RoleFunction] = {"If": _nothing, "Loop": _nothing, "Scan": _nothing, "SequenceMap": _nothing}
