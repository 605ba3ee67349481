"""Weights with infinities and NaN, on which numpy warns.

A generated model showed it: the mean of a BatchNormalization was infinite and its scale 0. The rule that folds it looks at what comes out
and leaves it, but numpy's warning went to the user's terminal, and where warnings are errors the pass failed.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx import numpy_helper
from onnx.parser import parse_model

from graphopt.passes import PassContext, PassManager
from graphopt.serde import lift_model
from graphopt.transforms.fusion import FuseConvBatchNorm

MODEL = """<ir_version: 8, opset_import: ["": 17]> g (float[1,1,3] x) => (float[1,1,3] y) {
  c = Conv(x, w) y = BatchNormalization(c, zero, zero, mean, one) }"""


def model():
    proto = parse_model(MODEL)
    weights = {"w": np.ones((1, 1, 1)), "zero": np.zeros(1), "mean": np.full(1, np.inf), "one": np.ones(1)}
    proto.graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()
    )
    return lift_model(proto)


def test_a_rule_that_refuses_them_warns_nobody():
    ir = model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {} == {name: count for name, count in PassManager([FuseConvBatchNorm()]).run(ir).stats.items() if count}
    assert ["Conv", "BatchNormalization"] == [node.op for node in ir.graph.nodes]


def test_numpy_warns_again_afterwards():
    PassManager([FuseConvBatchNorm()]).run(model(), PassContext())
    with pytest.warns(RuntimeWarning, match="invalid value"):
        np.zeros(1) * np.inf
