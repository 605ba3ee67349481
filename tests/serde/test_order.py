"""Nodes that a file lists out of order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from graphopt.errors import ModelError
from graphopt.serde import emit_model, lift_model
from tests.serde.file_models import chain_model, model_of, rich_model, simple_model, tensor_info


@given(st.permutations(range(12)))
def test_any_order_of_a_chain_is_put_right(order: list[int]):
    proper = chain_model(12)
    shuffled = chain_model(12)
    del shuffled.graph.node[:]
    shuffled.graph.node.extend([proper.graph.node[index] for index in order])
    assert emit_model(lift_model(shuffled)) == proper


def test_sorting_is_stable():
    names = ["b", "a", "d", "c"]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in names]
    nodes.insert(1, helper.make_node("Add", ["c", "a"], ["y"]))
    found = lift_model(simple_model(nodes))
    assert [node.output.name for node in found.graph.nodes] == ["b", "a", "d", "c", "y"]


def test_captured_names_count():
    model = rich_model()
    nodes = list(reversed(model.graph.node))
    shuffled = rich_model()
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(nodes)
    found = lift_model(shuffled)
    assert [node.op_type for node in found.graph.nodes] == ["Call", "If", "Mystery", "Identity"]


def test_nodes_in_subgraphs_and_functions_are_sorted():
    model = rich_model()
    body = model.functions[0]
    nodes = list(reversed(body.node))
    shuffled = rich_model()
    del shuffled.functions[0].node[:]
    shuffled.functions[0].node.extend(nodes)
    assert emit_model(lift_model(shuffled)) == model


def test_a_cycle_is_an_error_that_names_it():
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Neg", ["a"], ["b"], name="second"),
        helper.make_node("Neg", ["b"], ["y"], name="after"),
    ]
    with pytest.raises(
        ModelError, match="nodes form a cycle: 'second' -> 'first' -> 'second'; ONNX graphs must have none"
    ):
        lift_model(simple_model(nodes))


def test_a_long_cycle_names_some_of_it():
    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{(i + 1) % 50}"], name=f"n{i}") for i in range(50)]
    graph = helper.make_graph(nodes, "g", [tensor_info("x")], [tensor_info("v0")])
    with pytest.raises(ModelError, match="and 44 more"):
        lift_model(model_of(graph))


def test_a_node_that_reads_itself():
    with pytest.raises(ModelError, match="nodes form a cycle: 'loop' -> 'loop'"):
        lift_model(simple_model([helper.make_node("Add", ["x", "y"], ["y"], name="loop")]))
