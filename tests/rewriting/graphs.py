"""Hand-made graphs for tests of the rewriting engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphopt.ir import DType, Graph, GraphBuilder, Model, Node, Value
from graphopt.rewriting import DriverResult, NoMatch, Rule, RuleIndex, rewrite_graph


def model(build: Callable[[GraphBuilder, Value], Value], opset: int = 17) -> Model:
    """A model of one float input [2, 3] and one output."""
    b = GraphBuilder(opset=opset)
    b.output(build(b, b.input("x", DType.FLOAT, [2, 3])), "y")
    return b.build()


def ops(graph: Graph | Model) -> list[str]:
    """Operators in order."""
    return [node.op for node in (graph.graph if isinstance(graph, Model) else graph).nodes]


def apply(subject: Model, *rules: Rule) -> DriverResult:
    """Rewrite the main graph of a model."""
    return rewrite_graph(subject.graph, RuleIndex(rules))


def reasons(subject: Model, *rules: Rule) -> list[str]:
    """Why rules do not apply, one for each candidate."""
    found: list[str] = []

    def explain(rule: Rule, node: Node, reason: NoMatch) -> None:
        found.append(str(reason))

    rewrite_graph(subject.graph, RuleIndex(rules), explain=explain)
    return found


def ones(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Float ones."""
    return np.ones(shape, np.float32)
