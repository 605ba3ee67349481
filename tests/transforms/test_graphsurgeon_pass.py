from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from graphopt.errors import PassError
from graphopt.passes import Exact, Reassociates
from graphopt.transforms.dead_code import EliminateDeadCode
from graphopt.transforms.graphsurgeon_pass import from_graphsurgeon
from tests.transforms.whole_graph import apply, context, optimize, parse

X = {"x": np.array([[-1.5, 0.0, 2.0]], np.float32)}


def model():
    return parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, bool c) => (float[1, 3] y, float[3] w) <float[3] w = {1, 2, 3}, float[3] v = {0, 1, 0}> {
            a = Identity (x)
            b = If (c) <
                then_branch = t () => (float[1, 3] p) { p = Add (a, w) },
                else_branch = f () => (float[1, 3] q) { q = Neg (a) }
            >
            y = Mul (b, v)
        }""")


def drop_identities(graph: gs.Graph) -> gs.Graph:
    """Let users of an Identity read what it reads."""
    for node in [node for node in graph.nodes if node.op == "Identity"]:
        for consumer in list(node.outputs[0].outputs):
            consumer.inputs = [node.inputs[0] if item is node.outputs[0] else item for item in consumer.inputs]
        for inner in (item for owner in graph.nodes for item in owner.attrs.values() if isinstance(item, gs.Graph)):
            for user in inner.nodes:
                user.inputs = [node.inputs[0] if item.name == node.outputs[0].name else item for item in user.inputs]
    return graph.cleanup(recurse_subgraphs=False).toposort()


def test_a_graphsurgeon_script_is_a_pass():
    step = from_graphsurgeon(drop_identities)
    assert "drop-identities" == step.name
    assert "Let users of an Identity read what it reads." == step.__doc__
    assert Exact() == step().declared_numerics
    found = optimize(model(), step(), X | {"c": np.array(True)})
    assert ["If", "Mul"] == found.ops
    assert found.result.changed
    assert ["y", "w"] == [value.name for value in found.model.graph.outputs]


def test_the_model_and_its_graph_stay_the_same_objects():
    found = optimize(model(), from_graphsurgeon(drop_identities)(), X | {"c": np.array(True)})
    assert found.model is found.model.graph.owner
    assert 8 == found.model.ir_version


def test_a_script_that_edits_in_place_may_give_nothing():
    def rename(graph: gs.Graph) -> None:
        for node in graph.nodes:
            node.name = f"node_of_{node.outputs[0].name}"

    found = optimize(model(), from_graphsurgeon(rename, name="rename-nodes")(), X | {"c": np.array(True)})
    assert ["node_of_a", "node_of_b", "node_of_y"] == [node.name for node in found.model.graph.nodes]


def test_a_script_that_does_nothing_leaves_the_model_untouched():
    assert not optimize(
        model(), from_graphsurgeon(lambda graph: graph, name="nothing")(), X | {"c": np.array(True)}
    ).result.changed


def test_passes_run_on_what_a_script_made():
    def keep_only_the_branch(graph: gs.Graph) -> gs.Graph:
        graph.outputs = [graph.tensors()["b"].to_variable(np.float32, (1, 3))]
        return graph

    from graphopt.serde import lift_model

    lifted = lift_model(model())
    apply(from_graphsurgeon(keep_only_the_branch)(), lifted, context())
    stats = EliminateDeadCode().run(lifted.graph, context()).stats
    assert {"nodes": 1, "constants": 1} == dict(stats)
    fresh = lifted.graph.add_constant(np.ones(1, np.float32), "w")
    assert "w" != fresh.name


def test_numerics_are_declared_and_anything_but_a_graph_is_refused():
    step = from_graphsurgeon(lambda graph: 3, name="three", numerics=Reassociates(1e-5))
    assert Reassociates(1e-5) == step().declared_numerics
    with pytest.raises(PassError, match=r"pass 'three': its function gives a int, expected a gs\.Graph or None"):
        optimize(model(), step())
