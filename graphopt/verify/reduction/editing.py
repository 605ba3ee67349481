"""Edits of copies that make a model smaller: values lose the nodes that gave them, what nobody reads goes away.

No rewrite: what a model computes may change. Names of what stays are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import cast

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import Graph, Model, Node, TensorType, Value
from graphopt.verify.reduction.case import node_key

__all__ = ["dead_nodes", "detach", "erase", "infer_types", "replace_outputs", "retype", "sweep"]


def detach(value: Value) -> Value:
    """Take a value from the node that gives it; whoever reads it still does."""
    node = value.producer
    assert node is not None, f"{value!r} is given by no node"
    stand_in = Value("")
    stand_in.producer, stand_in.index = node, value.index
    cast("list[Value]", node.outputs)[value.index] = stand_in
    value.producer, value.index = None, 0
    return value


def erase(graph: Graph, node: Node) -> list[Value]:
    """Take a node out; the values that it gave and that had a name, without a producer now."""
    left = [detach(value) for value in list(node.outputs) if value.name]
    graph.erase(node)
    return left


def dead_nodes(graph: Graph) -> list[str]:
    """Keys of the nodes that no output of a graph needs."""
    needed: set[Node] = set()
    for node in reversed(graph.nodes):
        if not node.outputs or any(
            value.graph_outputs or any(_stands_on(user, graph) in needed for user in value.users)
            for value in node.outputs
        ):
            needed.add(node)
    return [node_key(node) for node in graph.nodes if node not in needed]


def _stands_on(node: Node, graph: Graph) -> Node | None:
    """The node of a graph that a node inside its subgraphs belongs to."""
    at: Node | None = node
    while at is not None and at.graph is not graph:
        at = at.graph.parent if at.graph is not None else None
    return at


def sweep(graph: Graph, spare: Collection[str] = ()) -> None:
    """Erase nodes and constants of a graph that nothing needs any more.

    Args:
        graph: its subgraphs go with the nodes that hold them.
        spare: keys of nodes that stay all the same: a failure may need what no output needs.
    """
    for node in reversed(graph.nodes):
        if node.outputs and not any(value.is_used for value in node.outputs) and node_key(node) not in spare:
            graph.erase(node)
    for value in graph.initializers():
        if not value.is_used and not value.is_input:
            graph.remove_initializer(value)


def replace_outputs(old: Value, new: Value, graph: Graph) -> bool:
    """Let graphs give out another value; the main graph gives out fewer where that one is no result of a node, or given out already.

    Args:
        old: what they give out now.
        new: what they are to give out.
        graph: the outermost graph; subgraphs are searched too.

    Returns:
        Whether that was possible: a main graph must give out something.
    """
    if not old.graph_outputs:
        return True
    for inner in graph.walk_graphs():
        for index in reversed(range(len(inner.outputs))):
            if inner.outputs[index] is not old:
                continue
            if inner.parent is not None or (new.producer is not None and not new.graph_outputs):
                inner.set_output(index, new)
            elif len(inner.outputs) > 1 and isinstance(inner.owner, Model):  # callers of a function count its outputs
                inner.remove_output(index)
            else:
                return False
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Candidates whose types can't be inferred are nothing to warn of: they are refused."""
    logger = logging.getLogger("graphopt.backends.onnx.inference")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def infer_types(model: Model) -> None:
    """Set the types of all values as far as they are known; outputs keep a stated shape, which a file must have, where none is found."""
    stated = {value: value.type for value in model.graph.outputs}
    with _quiet():
        OnnxTypes().infer_model(model)
    for value, before in stated.items():
        if isinstance(value.type, TensorType) and value.type.shape is None and isinstance(before, TensorType):
            value.type = value.type.with_shape(before.shape)


def retype(model: Model) -> None:
    """Infer all types anew, after sizes changed; what can't be inferred keeps its element type, outputs their rank too."""
    for graph in model.graphs():
        results = [value for node in graph.nodes for value in node.outputs]
        for value in (*results, *(graph.inputs if graph is not model.graph else ())):
            value.declared = value.declared and value.is_graph_output
            if isinstance(value.type, TensorType) and not (graph is model.graph and value.is_graph_output):
                value.type = value.type.with_shape(None)
    for value in model.graph.outputs:
        if isinstance(value.type, TensorType) and value.type.shape is not None and value.producer is not None:
            value.type = value.type.with_shape((None,) * len(value.type.shape))
    infer_types(model)
