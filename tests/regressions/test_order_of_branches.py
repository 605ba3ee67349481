"""Two If nodes whose files state the branches in another order are told apart by what the branches are for."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from tests.regressions.held import assert_kept


def _if(output: str, *branches: tuple[str, str]) -> NodeProto:
    node = helper.make_node("If", ["c"], [output])
    for name, op in branches:
        inner = f"{output}_{op}"
        info = helper.make_tensor_value_info(inner, TensorProto.FLOAT, ["N"])
        graph = helper.make_graph([helper.make_node(op, ["x"], [inner])], name, [], [info])
        node.attribute.append(helper.make_attribute(name, graph))
    return node


@pytest.mark.parametrize("condition", [True, False])
def test_exchanged_branches_are_not_a_common_subexpression(condition):
    """One negates where the other takes the absolute value, both with Neg stated first."""
    nodes = [
        _if("y", ("then_branch", "Neg"), ("else_branch", "Abs")),
        _if("z", ("else_branch", "Neg"), ("then_branch", "Abs")),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "yz"]
    imports = [helper.make_opsetid("", 17)]
    model = helper.make_model(helper.make_graph(nodes, "main", inputs, outputs), opset_imports=imports, ir_version=8)
    assert_kept(model, {"x": np.array([-1, 2], np.float32), "c": np.array(condition)})
