"""One walk over all graphs of a model, for the checks of the verifier, and the names that its messages give to things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from graphopt.ir.graph import Graph
from graphopt.ir.model import GraphOwner, Model
from graphopt.ir.node import Node
from graphopt.ir.value import Value

__all__ = ["Survey", "name_graph", "name_node", "name_value"]


@dataclass(slots=True)
class Survey:
    """What one walk over the graphs found.

    Attributes:
        model: ``None`` when one graph is verified.
        roots: the outermost graphs, with what they should belong to.
        nodes: the nodes of each graph, outer graphs first.
        position: place of each node in its graph.
        around: graphs around the verified one, whose values may be read.
    """

    model: Model | None
    roots: list[tuple[Graph, GraphOwner | None]]
    nodes: dict[Graph, list[Node]] = field(default_factory=dict)
    position: dict[Node, int] = field(default_factory=dict)
    around: set[Graph] = field(default_factory=set)

    @classmethod
    def of(cls, subject: Model | Graph) -> Survey:
        """Walk over a model or a graph."""
        if isinstance(subject, Model):
            survey = cls(subject, [(owner.graph, owner) for owner in subject.owners()])
        else:
            owner = subject.owner
            survey = cls(owner if isinstance(owner, Model) else None, [(subject, subject._owner)])
            outer = subject.parent.graph if subject.parent is not None else None
            while outer is not None:
                survey.around.add(outer)
                outer = outer.parent.graph if outer.parent is not None else None
        todo = [graph for graph, _ in reversed(survey.roots)]
        while todo:
            graph = todo.pop()
            if graph in survey.nodes:
                continue
            found = survey.nodes[graph] = _linked_nodes(graph)
            survey.position.update(zip(found, range(len(found)), strict=True))
            todo.extend(inner for node in reversed(found) for inner in reversed(node.subgraphs))
        return survey

    def scopes(self) -> Iterator[tuple[Literal["enter", "node", "leave"], Graph, Node | None]]:
        """Graphs and nodes as a reader of the text form meets them: a node's subgraphs come right after the node, each once."""
        entered = {root for root, _ in self.roots}
        for root, _ in self.roots:
            yield "enter", root, None
            stack: list[tuple[Graph, Iterator[Node], list[Graph]]] = [(root, iter(self.nodes[root]), [])]
            while stack:
                graph, nodes, inner = stack[-1]
                if inner:
                    nested = inner.pop()
                    if nested not in entered:
                        entered.add(nested)
                        yield "enter", nested, None
                        stack.append((nested, iter(self.nodes[nested]), []))
                    continue
                node = next(nodes, None)
                if node is None:
                    yield "leave", graph, None
                    stack.pop()
                    continue
                yield "node", graph, node
                inner.extend(reversed(node.subgraphs))


def _linked_nodes(graph: Graph) -> list[Node]:
    """The nodes that the links lead to, one more than counted at most: a list tied into a loop ends."""
    found: list[Node] = []
    node = graph._sentinel._next
    while node is not None and node is not graph._sentinel and len(found) <= len(graph.nodes):
        found.append(node)
        node = node._next
    return found


def name_graph(graph: Graph) -> str:
    """A graph in a message."""
    return f"graph {graph.name!r}"


def name_value(value: Value) -> str:
    """A value in a message, with the node that gives it."""
    where = f" of {name_node(value.producer)}" if value.producer is not None else ""
    return f"value {value.name!r}{where}"


def name_node(node: Node) -> str:
    """A node in a message, by its name or else its first output."""
    name = node.name or (node.outputs[0].name if node.outputs else "")
    return f"node {name!r} ({node.op})"
