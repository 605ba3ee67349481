"""Constant nodes to initializers and back, and the constant that takes the place of a computed value.

Initializers are what other passes read as constants. A Constant node that gives a graph output stays, because the output needs a
producer in every runtime, and so does one whose value refers to an attribute of the surrounding function. Exact; needs no types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from graphopt.ir import (
    Attribute,
    AttributeKind,
    Constant,
    Graph,
    Node,
    Value,
    constant_of_node,
    find_schema,
    replace_all_uses,
)
from graphopt.passes import Pass, PassContext, PassResult

__all__ = ["ConstantsToInitializers", "InitializersToConstants", "put_constant"]


def put_constant(value: Value, constant: Constant, graph: Graph) -> Value:
    """A new constant of ``graph`` that has the name of ``value`` and is read wherever nodes read ``value``.

    Args:
        value: a computed value that no graph gives out; it loses its name.
        constant: its numbers.
        graph: the graph that the value is defined in.
    """
    new = Value(value.name, constant.type, constant)
    new.lineage = value.lineage
    new.doc, new.metadata = value.doc, value.metadata
    new.annotation, new.quantization = value.annotation, value.quantization
    value.name = ""
    graph.add_initializer(new)
    replace_all_uses(value, new)
    return new


@dataclass(frozen=True)
class ConstantsToInitializers(Pass):
    """Turn Constant nodes into initializers of the graph that they stand in, subgraphs included.

    Sparse values stay nodes. Bodies of functions are written with Constant nodes again, because the file format has no initializers
    there. Exact; idempotent.
    """

    name: ClassVar[str] = "constants-to-initializers"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True
    needs_types: ClassVar[bool] = False

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Replace each Constant node that can be replaced."""
        count = 0
        for node in graph.walk():
            if node.op != "Constant" or node.output.graph_outputs:
                continue
            constant = constant_of_node(node)
            if constant is None:
                continue
            home, site = cast(Graph, node.graph), node.output.name
            if not ctx.applications.admits(self.name, site):
                continue
            put_constant(node.output, constant, home)
            home.erase(node)
            ctx.applications.record(self.name, site)
            count += 1
        return PassResult(changed=count > 0, stats={"constants": count} if count else {})


@dataclass(frozen=True)
class InitializersToConstants(Pass):
    """Turn initializers into Constant nodes at the start of their graph.

    Inputs with a default stay, and so does a constant whose type or form the Constant operator of the model's opset does not have.
    Exact; idempotent.
    """

    name: ClassVar[str] = "initializers-to-constants"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True
    needs_types: ClassVar[bool] = False

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Replace each initializer that can be replaced."""
        count = 0
        for inner in list(graph.walk_graphs()):
            first = next(iter(inner.nodes), None)
            for value in inner.initializers():
                site = value.name
                if value.is_input or not _fits(value, inner) or not ctx.applications.admits(self.name, site):
                    continue
                node = _constant_node(value)
                if first is None:
                    inner.append(node)
                else:
                    inner.insert_before(first, node)
                _hand_over(value, node.output, inner)
                ctx.applications.record(self.name, site)
                count += 1
        return PassResult(changed=count > 0, stats={"constants": count} if count else {})


def _fits(value: Value, graph: Graph) -> bool:
    """Whether the Constant operator at the graph's opset can hold a constant."""
    version = graph.opset()
    schema = None if version is None else find_schema("", "Constant", version)
    if schema is None or value.const is None:
        return False
    if value.const.is_sparse and "sparse_value" not in schema.attributes:
        return False
    return f"tensor({value.const.dtype})" in schema.outputs[0].types


def _constant_node(value: Value) -> Node:
    constant = cast(Constant, value.const)
    if constant.is_sparse:
        attributes = {"sparse_value": Attribute(AttributeKind.SPARSE_TENSOR, constant)}
    else:
        attributes = {"value": Attribute(AttributeKind.TENSOR, constant)}
    return Node("Constant", [], 1, attributes)


def _hand_over(old: Value, new: Value, graph: Graph) -> None:
    """Let the output of a Constant node take the name, the users and the graph outputs of an initializer."""
    new.name, old.name = old.name, ""
    new.type, new.lineage = old.type, old.lineage
    new.doc, new.metadata = old.doc, old.metadata
    new.annotation, new.quantization = old.annotation, old.quantization
    replace_all_uses(old, new)
    for index, value in enumerate(graph.outputs):
        if value is old:
            graph.set_output(index, new)
    graph.remove_initializer(old)
