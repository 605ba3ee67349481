"""What the file states of inner values is not believed beside an operator whose domain is not imported either."""

from __future__ import annotations

from onnx import helper

import graphopt
from tests.regressions.held import parse


def test_a_stale_shape_is_not_believed_beside_an_unknown_domain():
    """The file says that `r` has one axis, so flattening it would do nothing."""
    model = parse(
        "main (float[N,3] x) => (float[A] y, float[B] z) <int64[1] rest = {-1}> "
        "{ r = Relu(x) y = Reshape(r, rest) z = nobody.knows(r) }"
    )
    model.graph.value_info.append(helper.make_tensor_value_info("r", 1, [6]))
    result = graphopt.optimize(model, level="O1", check=False)
    assert [node.op_type for node in result.proto.graph.node] == ["Relu", "Reshape", "knows"]
