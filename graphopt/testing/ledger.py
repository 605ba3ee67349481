"""A naive model of a graph: plain lists of nodes, inputs and outputs, kept beside the real one by whoever edits both."""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.ir import Graph, Model, Node, Value

__all__ = ["Ledger"]


class Ledger:
    """What a graph should be, in plain lists.

    Args:
        model: the model as it is now.

    Attributes:
        order: nodes of each graph, in order.
        inputs: what each node reads.
        outputs: what each graph gives.
    """

    def __init__(self, model: Model) -> None:
        self.order: dict[Graph, list[Node]] = {}
        self.inputs: dict[Node, list[Value | None]] = {}
        self.outputs: dict[Graph, list[Value]] = {}
        for graph in model.graphs():
            self.add_graph(graph)

    # -- what there is ------------------------------------------------------------------------------------------------------

    @property
    def graphs(self) -> list[Graph]:
        """All graphs, the main one first."""
        return list(self.order)

    @property
    def nodes(self) -> list[Node]:
        """All nodes."""
        return [node for nodes in self.order.values() for node in nodes]

    @property
    def places(self) -> list[tuple[Graph, int]]:
        """Where a node can be put: before the node of that number, or at the end."""
        return [(graph, place) for graph, nodes in self.order.items() for place in range(len(nodes) + 1)]

    @property
    def used(self) -> set[Value]:
        """Values that somebody reads or gives out."""
        found = {value for values in self.inputs.values() for value in values if value is not None}
        return found.union(*self.outputs.values())

    def visible(self, graph: Graph, place: int) -> list[Value]:
        """Values that a node at a place may read, those of its own graph first."""
        found: list[Value] = []
        while True:
            found += [*graph.inputs, *(value for value in graph.initializers() if not value.is_input)]
            found += [value for node in self.order[graph][:place] for value in node.outputs]
            parent = graph.parent
            if parent is None or parent.graph is None:
                return found
            graph, place = parent.graph, self.order[parent.graph].index(parent)

    def is_ordered(self, graph: Graph, nodes: list[Node]) -> bool:
        """Whether nodes of a graph could stand in this order: everything is made before it is read, inside of subgraphs too."""
        place = {value: index for index, node in enumerate(nodes) for value in node.outputs}
        return not any(
            place.get(value, -1) >= index for index, node in enumerate(nodes) for value in self._reads(node) if value
        )

    def _reads(self, node: Node) -> Iterator[Value | None]:
        todo = [node]
        while todo:
            item = todo.pop()
            yield from self.inputs[item]
            for inner in item.subgraphs:
                yield from self.outputs[inner]
                todo.extend(self.order[inner])

    # -- keeping up ---------------------------------------------------------------------------------------------------------

    def add_graph(self, graph: Graph) -> None:
        """Take in a graph that is new; those inside it are taken in one by one."""
        self.order[graph] = list(graph.nodes)
        self.outputs[graph] = list(graph.outputs)
        self.inputs.update((node, list(node.inputs)) for node in graph.nodes)

    def add_node(self, graph: Graph, place: int, node: Node) -> None:
        """Take in a node that is new, without what is inside it."""
        self.order[graph].insert(place, node)
        self.inputs[node] = list(node.inputs)

    def remove_node(self, graph: Graph, node: Node) -> None:
        """Forget a node and what is inside it."""
        self.order[graph].remove(node)
        self._forget([node])

    def _forget(self, nodes: list[Node]) -> None:
        todo = list(nodes)
        while todo:
            node = todo.pop()
            self.inputs.pop(node)
            for inner in node.subgraphs:
                todo += self.order.pop(inner)
                self.outputs.pop(inner)

    def replace_uses(self, old: Value, new: Value) -> None:
        """Read ``new`` wherever a node reads ``old``; outputs of graphs stay."""
        self.inputs = {node: [new if v is old else v for v in values] for node, values in self.inputs.items()}

    # -- holding the real one to it -----------------------------------------------------------------------------------------

    def check(self, model: Model) -> None:
        """Order, inputs, outputs and use lists of the real graph are these.

        Raises:
            AssertionError: if one of them is not.
        """
        assert set(self.order) == set(model.graphs()), "graphs of the model"
        uses: dict[Value, set[tuple[Node, int]]] = {}
        for graph, nodes in self.order.items():
            assert list(graph.nodes) == nodes, f"nodes of {graph!r}"
            assert list(reversed(graph.nodes)) == nodes[::-1], f"nodes of {graph!r}, backwards"
            assert len(graph.nodes) == len(nodes), f"number of nodes of {graph!r}"
            assert list(graph.outputs) == self.outputs[graph], f"outputs of {graph!r}"
            for node in nodes:
                assert list(node.inputs) == self.inputs[node], f"inputs of {node!r}"
                for index, value in enumerate(self.inputs[node]):
                    if value is not None:
                        uses.setdefault(value, set()).add((node, index))
        for graph in self.order:
            for value in graph.values():
                assert set(value.uses) == uses.get(value, set()), f"users of {value!r}"
                given = sum(outputs.count(value) for outputs in self.outputs.values())
                assert value.graph_outputs == given, f"how often {value!r} is given out"
