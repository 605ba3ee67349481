"""ONNX Runtime says of an input of unknown rank that it has no axes; inputs that were brought for it were refused."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper

import graphopt


def unranked() -> ModelProto:
    """One node that takes any shape."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_inputs_of_unknown_rank_may_be_brought() -> None:
    """For the outputs, and layer by layer."""
    inputs = {"x": np.ones((2, 3), np.float32)}
    verdict = graphopt.compare(unranked(), unranked(), inputs=inputs)
    assert verdict.bit_exact
    [layer] = graphopt.compare_layers(unranked(), unranked(), inputs=inputs).layers
    assert (2, 3) == layer.shape
