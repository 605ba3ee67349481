"""Graphs and nodes: order under edits, uses, subgraphs, constants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.ir import Constant, DType, Graph, GraphBuilder, Listener, Model, Node, Value, replace_all_uses, verify
from tests.ir.sample_models import chain, f32, nested_ifs


def nodes_of(count: int) -> tuple[Graph, list[Node]]:
    graph = Graph()
    return graph, [graph.append(Node("Op", name=str(index))) for index in range(count)]


def names(nodes) -> list[str]:
    return [node.name for node in nodes]


def test_order_after_inserts_and_moves():
    graph, (a, b, c) = nodes_of(3)
    graph.insert_before(b, Node("Op", name="before"))
    graph.insert_after(b, Node("Op", name="after"))
    graph.prepend(Node("Op", name="first"))
    graph.move_before(a, c)
    assert names(graph.nodes) == ["first", "2", "0", "before", "1", "after"]
    assert names(reversed(graph.nodes)) == names(graph.nodes)[::-1]
    assert len(graph.nodes) == 6
    assert a in graph.nodes
    assert Node("Op") not in graph.nodes


def test_node_may_move_before_itself():
    graph, (_, b, _) = nodes_of(3)
    graph.move_before(b, b)
    assert names(graph.nodes) == ["0", "1", "2"]
    verify(graph)


def test_iteration_meets_what_is_inserted_beyond_and_not_what_is_erased():
    graph, nodes = nodes_of(5)
    met = []
    for node in graph.nodes:
        met.append(node.name)
        if node.name == "1":
            graph.erase(node)
            graph.insert_before(nodes[2], Node("Op", name="new"))
            graph.erase(nodes[3])
        elif node.name == "new":
            graph.erase(nodes[0])
            graph.erase(node)
    assert met == ["0", "1", "new", "2", "4"]


def test_iteration_survives_erasing_the_current_node_and_those_before_it():
    graph, nodes = nodes_of(4)
    met = []
    for node in graph.nodes:
        met.append(node.name)
        if node.name == "2":
            for gone in nodes[:3]:
                graph.erase(gone)
    assert met == ["0", "1", "2", "3"]


def test_backward_iteration_does_not_meet_erased_nodes():
    graph, nodes = nodes_of(4)
    met = []
    for node in reversed(graph.nodes):
        met.append(node.name)
        if node.name == "3":
            graph.erase(node)
            graph.erase(nodes[2])
    assert met == ["3", "1", "0"]


def test_nodes_can_be_moved_away_while_iterating():
    graph, _ = nodes_of(4)
    other = Graph()
    anchor = other.append(Node("Op", name="end"))
    for node in graph.nodes:
        if node.name != "1":
            other.move_before(anchor, node)
    assert names(graph.nodes) == ["1"]
    assert names(other.nodes) == ["0", "2", "3", "end"]
    for node in reversed(other.nodes):
        graph.move_before(next(iter(graph.nodes)), node)
    assert names(other.nodes) == []
    verify(graph)


def test_moving_the_neighbours_away_while_iterating_is_refused():
    graph, nodes = nodes_of(3)
    other = Graph()
    anchor = other.append(Node("Op"))
    iteration = iter(graph.nodes)
    assert [next(iteration), next(iteration)] == nodes[:2]
    other.move_before(anchor, nodes[0])
    other.move_before(anchor, nodes[1])
    with pytest.raises(RuntimeError, match="iterate a list of them"):
        next(iteration)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["erase", "before", "after"]), st.integers(0, 11)), max_size=3), max_size=12
    )
)
def test_iteration_under_random_edits_follows_the_order(script):
    graph, nodes = nodes_of(6)
    alive, met = list(nodes), []
    for node in graph.nodes:
        assert node in alive
        met.append(node)
        assert len(met) <= 60
        for action, at in script[len(met) - 1] if len(met) <= len(script) else ():
            if not alive:
                break
            anchor = alive[at % len(alive)]
            if action == "erase":
                graph.erase(anchor)
                alive.remove(anchor)
            else:
                new = Node("Op", name="new")
                place = alive.index(anchor) + (action == "after")
                (graph.insert_after if action == "after" else graph.insert_before)(anchor, new)
                alive.insert(place, new)
    assert list(graph.nodes) == alive
    assert list(reversed(graph.nodes)) == alive[::-1]
    assert len(met) == len(set(met))
    assert [node for node in nodes if node in met and node in alive] == [node for node in nodes if node in alive]


def test_uses_follow_inputs():
    x, y = Value("x"), Value("y")
    node = Node("Add", [x, x])
    assert [(use.node, use.position) for use in x.uses] == [(node, 0), (node, 1)]
    assert x.users == [node]
    node.replace_input(0, y)
    assert x.has_single_use
    assert y.use_count == 1
    node.replace_input(1, None)
    assert not x.is_used
    node.resize_inputs(1)
    assert list(node.inputs) == [y]
    node.resize_inputs(3)
    assert list(node.inputs) == [y, None, None]


def test_value_that_a_graph_gives_out_has_no_single_use():
    model = chain(2)
    relu, last = model.graph.nodes
    found = [relu.output.has_single_use, last.output.has_single_use]
    model.graph.add_output(relu.output)
    found.append(relu.output.has_single_use)
    model.graph.remove_output(1)
    found.append(relu.output.has_single_use)
    assert found == [True, False, False, True]


def test_replacing_all_uses_reaches_subgraphs_and_spares_outputs():
    model = nested_ifs(3)
    x = model.graph.inputs[1]
    new = model.graph.add_input(Value("new"))
    model.graph.add_output(x)
    replace_all_uses(x, new)
    assert x.use_count == 0
    assert x.graph_outputs == 1
    assert new.use_count == 7
    verify(model)


def test_used_node_cannot_be_erased():
    model = chain(2)
    first = next(iter(model.graph.nodes))
    with pytest.raises(ValueError, match="is still used"):
        model.graph.erase(first)
    assert first in model.graph.nodes


def test_erasing_a_node_drops_what_its_subgraphs_read_and_give_out():
    b = GraphBuilder()
    x = b.input("x", DType.FLOAT, [])
    then, other = b.subgraph(), b.subgraph()
    then.output(then.Relu(x))
    other.output(x)
    y = b.If(b.input("c", DType.BOOL, []), then_branch=then, else_branch=other)
    b.output(b.Neg(x))
    assert (x.use_count, x.graph_outputs) == (2, 1)
    assert y.producer is not None
    b.graph.erase(y.producer)
    assert (x.use_count, x.graph_outputs) == (1, 0)
    verify(b.build())


def test_subgraphs_that_another_node_took_over_keep_their_uses():
    model = nested_ifs(2)
    graph = model.graph
    old = next(node for node in graph.nodes if node.op == "If")
    new = graph.insert_before(old, Node("If", old.inputs, [Value("fresh")], old.attributes, name="new"))
    replace_all_uses(old.output, new.output)
    graph.erase(old)
    verify(model)
    assert new.subgraphs[0].parent is new


def test_subgraph_that_leaves_its_node_has_no_parent():
    model = nested_ifs(1)
    node = next(node for node in model.graph.nodes if node.op == "If")
    left = node.subgraphs[0]
    node.set_attribute("then_branch", None)
    assert left.parent is None
    assert len(node.subgraphs) == 1


def test_attribute_takes_the_kind_of_the_schema():
    b = GraphBuilder()
    node = b.node("LeakyRelu", b.input("x"))
    node.set_attribute("alpha", 1)
    assert node.attr("alpha") == 1.0
    assert isinstance(node.attr("alpha"), float)
    node.set_attribute("alpha", None)
    assert node.attributes == {}
    assert node.float_attr("alpha") == pytest.approx(0.01)


def test_operators_name_their_domain():
    assert Node("Relu", domain="ai.onnx").op == "Relu"
    assert Node("com.microsoft::Gelu").domain == "com.microsoft"
    node = Node("Gelu", domain="com.microsoft")
    assert node.op == "com.microsoft::Gelu"
    node.set_op("Relu")
    assert (node.op, node.op_type, node.domain) == ("Relu", "Relu", "")


def test_initializer_that_is_an_input_is_a_default():
    b = GraphBuilder()
    value = b.input("w", DType.FLOAT, [1], default=f32([1]))
    found = [value.is_constant]
    b.model.ir_version = 3
    found.append(value.is_constant)
    b.graph.remove_initializer(value)
    found.append(value.is_constant)
    assert found == [False, True, False]
    assert value.const is None
    assert value.graph is b.graph


def test_constants_get_fresh_names():
    model = chain(1)
    values = [model.graph.add_constant(np.zeros(1), "w") for _ in range(2)]
    assert [value.name for value in values] == ["w", "w_1"]
    model.graph.remove_initializer(values[0])
    assert values[0].home is None
    assert model.graph.initializers() == [values[1]]


def test_walk_goes_into_subgraphs_before_the_next_node():
    b = GraphBuilder()
    c = b.input("c")
    then, other = b.subgraph("t"), b.subgraph("e")
    then.output(then.op("A", domain="d"))
    other.output(other.op("B", domain="d"))
    b.If(c, then_branch=then, else_branch=other)
    b.op("C", domain="d")
    assert [node.op_type for node in b.graph.walk()] == ["If", "A", "B", "C"]
    assert [graph.name for graph in b.graph.walk_graphs()] == ["graph", "t", "e"]
    assert then.graph.depth == 1
    assert then.graph.root is b.graph
    assert then.graph.owner is b.model
    assert then.graph.opset() == 17


def test_networkx_graph_has_an_edge_for_each_use():
    b = GraphBuilder()
    x = b.Relu(b.input("x"))
    b.output(b.Add(x, x))
    found = b.graph.to_networkx()
    relu, add = b.graph.nodes
    assert set(found.nodes) == {relu, add}
    assert sorted(data["index"] for _, _, data in found.edges(data=True)) == [0, 1]


class Recorder(Listener):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def node_inserted(self, node):
        self.heard.append(f"inserted {node.op}")

    def node_erased(self, node):
        self.heard.append(f"erased {node.op} of {len(node.inputs)}")

    def input_replaced(self, node, index, old, new):
        self.heard.append(f"{node.op} {index}: {old and old.name} -> {new and new.name}")

    def attributes_changed(self, node):
        self.heard.append(f"changed {node.op}")

    def output_replaced(self, old, new):
        self.heard.append(f"output {old.name} -> {new.name}")


def test_listeners_hear_of_edits_in_subgraphs_too():
    model = nested_ifs(1)
    recorder = Recorder()
    model.listeners.append(recorder)
    node = next(node for node in model.graph.nodes if node.op == "If")
    inner = node.subgraphs[0]
    before = model.version
    x = model.graph.inputs[1]
    new = inner.prepend(Node("Abs", [x], [Value("abs")]))
    relu = next(item for item in inner.nodes if item.op == "Relu")
    relu.replace_input(0, new.output)
    inner.set_output(0, new.output)
    inner.erase(relu)
    new.set_op("Exp")
    assert recorder.heard == [
        "inserted Abs",
        "Relu 0: x -> abs",
        "output relu -> abs",
        "erased Relu of 1",
        "changed Exp",
    ]
    assert model.version > before
    verify(model)


def test_model_counts_nodes_and_bytes_everywhere():
    b = GraphBuilder()
    c = b.input("c")
    then = b.subgraph()
    then.output(then.Add(then.constant(np.zeros(4, np.float32)), then.op("Constant", value=np.zeros(2, np.int8))))
    b.If(c, then_branch=then, else_branch=b.subgraph())
    model = b.build()
    assert model.node_count == 3
    assert model.constant_bytes == 16 + 2


def test_names_of_a_graph_made_by_hand_can_be_reserved():
    graph = Graph("g", [Value("x")])
    graph.append(Node("Relu", graph.inputs, [Value("y")], name="n"))
    graph.add_initializer(Value("w", None, Constant(np.zeros(1))))
    model = Model(graph, {"": 17})
    model.reserve_names()
    assert [graph.fresh_name(name) for name in ("x", "y", "n", "w", "new")] == ["x_1", "y_1", "n_1", "w_1", "new"]
