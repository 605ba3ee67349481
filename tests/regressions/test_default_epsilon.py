"""BatchNormalization of doubles that states no epsilon has that of its schema, a float32: 1e-5 is 9.99999974737875e-06 there.

fold-batch-norm read the default as 1e-5 itself, which moves results of doubles by 2e-13: nothing for a user, but 20 times what is allowed.
"""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import DType, GraphBuilder
from graphopt.testing import assert_equivalent
from tests.regressions.held import parse

MODEL = """main (double[1, 4] x) => (double[1, 3] y) <
  double[4, 3] w = {-0.25, 0.25, 3.125, 0, -3.75, 2.5, 3.5, -4, -2.125, 3.375, -3.125, 1.5},
  double[3] scale = {3, -2.625, -3}, double[3] bias = {0, 0, 0}, double[3] mean = {-0.625, 3, -0.75}, double[3] var = {0.375, 0.01, 0.5}
> {
  h = MatMul (x, w)
  y = BatchNormalization EPSILON (h, scale, bias, mean, var)
}"""


@pytest.mark.parametrize("stated", ["", "<epsilon = 0.001>"])
def test_doubles_are_normalized_with_the_epsilon_of_the_schema(stated):
    model = parse(MODEL.replace("EPSILON", stated), opset=17)
    feeds = {"x": np.array([[-2.375, 3.875, 2.0, -0.625]])}
    assert {"fold-batch-norm": 1} == assert_equivalent("fuse-conv-batch-norm", model, feeds=feeds).rewrites


def test_float_attributes_are_those_of_float32():
    b = GraphBuilder(opset=17)
    node = b.LeakyRelu(b.input("x", DType.FLOAT, [1])).producer
    assert node is not None
    assert (0.009999999776482582, float(np.float32(0.1))) == (node.float_attr("alpha"), node.float_attr("beta", 0.1))
