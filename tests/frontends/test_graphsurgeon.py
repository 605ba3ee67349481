"""onnx-graphsurgeon graphs, both ways."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import helper

from graphopt.errors import ModelError
from graphopt.frontends.graphsurgeon import GraphSurgeonFrontend, is_graphsurgeon, lift, to_graphsurgeon
from graphopt.serde import emit_model, lift_model
from tests.onnx_suite import load_cases, ort_correct_names, ort_runs_correctly
from tests.serde.file_models import rich_model, simple_model, weight


def scripted() -> gs.Graph:
    """A graph as a graphsurgeon script makes one: Relu(x + 1)."""
    x = gs.Variable("x", np.float32, ("batch", 4))
    h, y = gs.Variable("h", np.float32), gs.Variable("y", np.float32, ("batch", 4))
    one = gs.Constant("one", np.ones(4, np.float32))
    nodes = [gs.Node("Add", inputs=[x, one], outputs=[h]), gs.Node("Relu", name="r", inputs=[h], outputs=[y])]
    return gs.Graph(nodes, [x], [y], opset=17, name="scripted")


def test_a_script_s_graph_is_lifted():
    model = GraphSurgeonFrontend().lift(scripted())
    assert [node.op for node in model.graph.nodes] == ["Add", "Relu"]
    assert str(model.graph.inputs[0].type) == "float[batch, 4]"
    assert model.graph.initializers()[0].array().tolist() == [1, 1, 1, 1]  # type: ignore[union-attr]  # a constant
    assert model.opset_imports == {"": 17}


def test_nodes_out_of_order_are_sorted():
    graph = scripted()
    graph.nodes.reverse()
    assert [node.op for node in lift(graph).graph.nodes] == ["Add", "Relu"]


def test_who_is_accepted():
    assert GraphSurgeonFrontend().accepts(scripted())
    assert is_graphsurgeon(scripted())
    assert not GraphSurgeonFrontend().accepts("model.onnx")
    with pytest.raises(ModelError, match=r"expected a gs.Graph, found str"):
        GraphSurgeonFrontend().lift("model.onnx")


def test_what_graphsurgeon_can_t_export_is_one_of_our_errors():
    graph = scripted()
    graph.nodes[1].attrs["bad"] = object()
    with pytest.raises(ModelError, match="graphsurgeon can't export the graph 'scripted'"):
        lift(graph)


def test_the_way_there_and_back_keeps_what_a_model_says_of_itself():
    model = lift_model(simple_model([helper.make_node("Identity", ["x"], ["y"], name="n")], [weight("w", size=9)]))
    model.metadata, model.doc, model.model_version = {"k": "v"}, "doc", 3
    again = lift(to_graphsurgeon(model), like=model)
    assert (again.metadata, again.doc, again.model_version) == ({"k": "v"}, "doc", 3)
    assert again.ir_version == model.ir_version
    assert [node.name for node in again.graph.nodes] == ["n"]


@pytest.mark.parametrize("case", ["bytes", "overload"])
def test_what_graphsurgeon_would_lose_is_refused(case: str):
    proto = rich_model()
    if case == "overload":
        del proto.graph.node[1].attribute[:]
    with pytest.raises(ModelError, match=r"graphsurgeon can't (hold attribute 'blob'|tell overloads apart)"):
        to_graphsurgeon(lift_model(proto))


def test_suite_cases_compute_the_same_after_a_stay_in_graphsurgeon():
    """Every eighth case; those that graphsurgeon can't hold are refused, and they are few."""
    right = set(ort_correct_names())
    cases = [case for case in load_cases() if case.name in right][::8]
    refused, wrong = [], []
    for case in cases:
        try:
            model = emit_model(lift(to_graphsurgeon(lift_model(case.model))))
        except ModelError:
            refused.append(case.name)
            continue
        if not ort_runs_correctly(dataclasses.replace(case, model=model)):
            wrong.append(case.name)
    assert wrong == []
    assert len(refused) <= 2
