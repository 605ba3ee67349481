"""Random edits of a graph with subgraphs, each checked by the verifier and against a naive model of order and uses."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from graphopt.ir import (
    DType,
    Graph,
    GraphBuilder,
    Node,
    Value,
    clone_model,
    parse_model,
    print_model,
    replace_all_uses,
    structural_equal,
    verify,
)

picks = st.integers(0, 1 << 16)


def pick(items, number):
    return items[number % len(items)]


class GraphEdits(RuleBasedStateMachine):
    """Keeps plain lists of nodes, inputs and outputs beside the graph."""

    @initialize()
    def start(self) -> None:
        b = GraphBuilder()
        b.input("x", DType.FLOAT, [])
        b.input("c", DType.BOOL, [])
        b.output(b.graph.inputs[0])
        self.model = b.build()
        self.order: dict[Graph, list[Node]] = {b.graph: []}
        self.inputs: dict[Node, list[Value | None]] = {}
        self.outputs: dict[Graph, list[Value]] = {b.graph: [b.graph.inputs[0]]}

    # -- the naive model ----------------------------------------------------------------------------------------------------

    def visible(self, graph: Graph, place: int) -> list[Value]:
        found: list[Value] = []
        while True:
            found += [*graph.inputs, *(value for value in graph.initializers() if not value.is_input)]
            found += [value for node in self.order[graph][:place] for value in node.outputs]
            parent = graph.parent
            if parent is None or parent.graph is None:
                return found
            graph, place = parent.graph, self.order[parent.graph].index(parent)

    def everywhere(self) -> list[tuple[Graph, int]]:
        return [(graph, place) for graph, nodes in self.order.items() for place in range(len(nodes) + 1)]

    def nodes(self) -> list[Node]:
        return [node for nodes in self.order.values() for node in nodes]

    def insert(self, graph: Graph, place: int, node: Node) -> None:
        nodes = self.order[graph]
        if place == len(nodes):
            graph.append(node)
        elif place == 0:
            graph.prepend(node)
        elif place % 2:
            graph.insert_before(nodes[place], node)
        else:
            graph.insert_after(nodes[place - 1], node)
        nodes.insert(place, node)
        self.inputs[node] = list(node.inputs)

    def forget(self, graph: Graph) -> None:
        for node in self.order.pop(graph):
            self.inputs.pop(node)
            for inner in node.subgraphs:
                self.forget(inner)
        self.outputs.pop(graph)

    # -- edits --------------------------------------------------------------------------------------------------------------

    @rule(at=picks, reads=st.lists(picks, max_size=3), absent=st.booleans(), outputs=st.integers(0, 2))
    def insert_node(self, at, reads, absent, outputs):
        graph, place = pick(self.everywhere(), at)
        values: list[Value | None] = [pick(self.visible(graph, place), number) for number in reads]
        if absent:
            values.append(None)
        made = [Value(self.model.names.fresh("v")) for _ in range(outputs)]
        self.insert(graph, place, Node("test::Op", values, made))

    @precondition(lambda self: len(self.order) < 8)
    @rule(at=picks, captured=picks)
    def insert_if(self, at, captured):
        graph, place = pick(self.everywhere(), at)
        condition, *values = self.visible(graph, place)
        branches = []
        for number in (captured, captured + 1):
            value = pick([condition, *values], number)
            branch = Graph("branch")
            inner = branch.append(Node("test::Inner", [value], [Value(self.model.names.fresh("v"))]))
            branch.add_output(inner.output)
            branches.append(branch)
            self.order[branch], self.inputs[inner], self.outputs[branch] = [inner], [value], [inner.output]
        node = Node("test::If", [condition], [Value(self.model.names.fresh("v"))])
        for name, branch in zip(("then_branch", "else_branch"), branches, strict=True):
            node.set_attribute(name, branch)
        self.insert(graph, place, node)

    @precondition(lambda self: self.inputs)
    @rule(at=picks, index=picks, value=picks)
    def replace_input(self, at, index, value):
        node = pick(self.nodes(), at)
        if not node.inputs:
            return
        graph = node.graph
        assert graph is not None
        choices = [None, *self.visible(graph, self.order[graph].index(node))]
        index %= len(node.inputs)
        node.replace_input(index, pick(choices, value))
        self.inputs[node][index] = pick(choices, value)

    @precondition(lambda self: self.inputs)
    @rule(at=picks, count=st.integers(0, 4))
    def resize_inputs(self, at, count):
        node = pick(self.nodes(), at)
        node.resize_inputs(count)
        self.inputs[node] = (self.inputs[node] + [None] * count)[:count]

    @precondition(lambda self: self.inputs)
    @rule(at=picks)
    def erase(self, at):
        node = pick(self.nodes(), at)
        used: set[Value | None] = {value for values in self.inputs.values() for value in values}
        used.update(*self.outputs.values())
        graph = node.graph
        assert graph is not None
        if used.intersection(node.outputs):
            return
        graph.erase(node)
        self.order[graph].remove(node)
        self.inputs.pop(node)
        for inner in node.subgraphs:
            self.forget(inner)

    @precondition(lambda self: self.inputs)
    @rule(at=picks, to=picks)
    def move(self, at, to):
        node = pick(self.nodes(), at)
        graph = node.graph
        assert graph is not None
        nodes = self.order[graph]
        anchor = pick(nodes, to)
        moved = [item for item in nodes if item is not node]
        moved.insert(moved.index(anchor) if anchor is not node else nodes.index(node), node)
        if not self.in_order(graph, moved):
            return
        graph.move_before(anchor, node)
        self.order[graph] = moved

    def in_order(self, graph: Graph, nodes: list[Node]) -> bool:
        place = {value: index for index, node in enumerate(nodes) for value in node.outputs}
        for index, node in enumerate(nodes):
            todo = [node]
            while todo:
                item = todo.pop()
                if any(value is not None and place.get(value, -1) >= index for value in self.inputs[item]):
                    return False
                for inner in item.subgraphs:
                    if any(place.get(value, -1) >= index for value in self.outputs[inner]):
                        return False
                    todo.extend(self.order[inner])
        return True

    @rule(at=picks, index=picks, value=picks)
    def set_output(self, at, index, value):
        graph = pick(list(self.order), at)
        chosen = pick(self.visible(graph, len(self.order[graph])), value)
        index %= len(self.outputs[graph])
        graph.set_output(index, chosen)
        self.outputs[graph][index] = chosen

    @rule(at=picks, value=picks, add=st.booleans())
    def add_or_remove_output(self, at, value, add):
        graph = pick(list(self.order), at)
        if add:
            chosen = pick(self.visible(graph, len(self.order[graph])), value)
            graph.add_output(chosen)
            self.outputs[graph].append(chosen)
        elif len(self.outputs[graph]) > 1:
            index = value % len(self.outputs[graph])
            graph.remove_output(index)
            self.outputs[graph].pop(index)

    @rule(at=picks)
    def add_initializer(self, at):
        graph = pick(list(self.order), at)
        graph.add_constant(np.zeros(2, np.float32), "w")

    @rule(at=picks)
    def remove_initializer(self, at):
        values = [value for graph in self.order for value in graph.initializers() if not value.is_used]
        if values:
            value = pick(values, at)
            assert value.graph is not None
            value.graph.remove_initializer(value)

    @rule(at=picks)
    def replace_by_input(self, at):
        values = [value for nodes in self.order.values() for node in nodes for value in node.outputs]
        if values:
            old, new = pick(values, at), self.model.graph.inputs[0]
            replace_all_uses(old, new)
            self.inputs = {node: [new if v is old else v for v in values] for node, values in self.inputs.items()}

    # -- what must hold -----------------------------------------------------------------------------------------------------

    @invariant()
    def verifier_is_content(self):
        verify(self.model)

    @invariant()
    def order_inputs_and_uses_are_those_of_the_naive_model(self):
        uses: dict[Value, set[tuple[Node, int]]] = {}
        assert set(self.model.graph.walk_graphs()) == set(self.order)
        for graph, nodes in self.order.items():
            assert list(graph.nodes) == nodes
            assert list(reversed(graph.nodes)) == nodes[::-1]
            assert list(graph.outputs) == self.outputs[graph]
            for node in nodes:
                assert list(node.inputs) == self.inputs[node]
                for index, value in enumerate(self.inputs[node]):
                    if value is not None:
                        uses.setdefault(value, set()).add((node, index))
        for graph in self.order:
            for value in graph.values():
                assert set(value.uses) == uses.get(value, set())
                assert value.graph_outputs == sum(outputs.count(value) for outputs in self.outputs.values())

    def teardown(self) -> None:
        copy = clone_model(self.model)
        verify(copy)
        assert structural_equal(copy, self.model, names=True)
        again = parse_model(print_model(self.model))
        verify(again)
        assert structural_equal(again, self.model, names=True)


TestGraphEdits = GraphEdits.TestCase
TestGraphEdits.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
