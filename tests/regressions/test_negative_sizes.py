"""Exporters write -1 for a size that is not known; with a Slice, ONNX's shape inference aborts the whole process on it."""

from __future__ import annotations

import numpy as np
import onnx

import graphopt
from tests.regressions.held import assert_kept, parse


def _sliced() -> onnx.ModelProto:
    model = parse(
        "main (float[N,3] x) => (float[A,B] y) <int64[1] zero = {0}, int64[1] one = {1}> "
        "{ a = Neg(x) y = Slice(a, zero, one, zero) }"
    )
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    return model


def test_a_slice_of_an_unknown_size():
    result = graphopt.optimize(_sliced(), check=False)
    assert [node.op_type for node in result.proto.graph.node] == ["Neg", "Slice"]
    assert result.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == -1  # the interface stays as it was


def test_an_unknown_size_is_not_one_number():
    """Two inputs that both have -1 need not have the same size."""
    model = parse("main (float[N,3] x, float[M,3] z) => (float[A,B] y) { s = Shape(z) y = Expand(x, s) }")
    for given in model.graph.input:
        given.type.tensor_type.shape.dim[0].dim_value = -1
    one, two = np.ones((1, 3), np.float32), np.zeros((2, 3), np.float32)
    assert_kept(model, {"x": one, "z": two}, {"x": two, "z": two})
