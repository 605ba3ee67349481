"""Type inference fails as a whole where a domain is not imported; what the file states of inner values is not believed then either."""

from __future__ import annotations

import logging

import pytest
from onnx import helper

import graphopt
from tests.regressions.held import parse


def test_a_stale_shape_is_not_believed_where_inference_fails(caplog: pytest.LogCaptureFixture):
    """The file says that `r` has one axis, so flattening it would do nothing."""
    model = parse(
        "main (float[N,3] x) => (float[A] y, float[B] z) <int64[1] rest = {-1}> "
        "{ r = Relu(x) y = Reshape(r, rest) z = nobody.knows(r) }"
    )
    model.graph.value_info.append(helper.make_tensor_value_info("r", 1, [6]))
    with caplog.at_level(logging.WARNING):
        result = graphopt.optimize(model, level="O1", check=False)
    assert [node.op_type for node in result.proto.graph.node] == ["Relu", "Reshape", "knows"]
    assert "type inference failed" in caplog.text
