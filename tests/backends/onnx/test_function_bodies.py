"""Operators that ONNX defines by a graph become that graph, and mean the same."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.backends.onnx.function_bodies import ExpandFunctionOps
from graphopt.ir import find_schema
from tests.transforms.harness import assert_close, feeds_for, model, run, transform

LOSS = "float[2,3,4] x, int64[2,4] t"
HEADS = "float[1,2,3,4] q, float[1,2,3,4] k, float[1,2,3,4] v"


def calls(outcome):
    """How many calls of functions there are."""
    return sum(node.domain == "graphopt.bodies" for node in outcome.after.graph.node)


@pytest.mark.parametrize(
    ("body", "inputs", "outputs", "opset"),
    [
        ("y = SoftmaxCrossEntropyLoss<ignore_index = 1>(x, t)", LOSS, "float[*] y", 13),
        ('y, p = SoftmaxCrossEntropyLoss<reduction = "none">(x, t)', LOSS, "float[*] y, float[*] p", 13),
        ("y = Attention<is_causal = 1, softcap = 2.0>(q, k, v)", HEADS, "float[*] y", 23),
        ("y, , , s = Attention<qk_matmul_output_mode = 0>(q, k, v)", HEADS, "float[*] y, float[*] s", 23),
        ("y = MeanVarianceNormalization<axes = [0, 2]>(x)", "float[2,3,4] x", "float[*] y", 13),
        ("a = Constant<value_int = 6>()\ny = HannWindow(a)", "float[1] unused", "float[*] y", 17),
    ],
    ids=["loss", "loss and logarithms", "causal attention", "attention and scores", "mean and variance", "a window"],
)
def test_the_graph_means_the_same(body, inputs, outputs, opset):
    proto = model(body, inputs, outputs, opset=opset)
    name = proto.graph.node[-1].op_type
    outcome = transform(proto, ExpandFunctionOps())
    assert calls(outcome) == 1
    rng = np.random.default_rng(2)
    feeds = {name: rng.normal(size=array.shape).astype(array.dtype) for name, array in feeds_for(proto).items()}
    if "t" in feeds:
        feeds["t"] = np.array([[0, 1, 2, 2], [1, 0, 1, 2]])
    assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-5)
    assert not any(node.op_type == name for node in outcome.after.graph.node)


def test_operators_that_stay_or_have_no_graph():
    proto = model("a = Relu(x)\ny = Erf(a)", "float[2] x", "float[*] y")
    assert calls(transform(proto, ExpandFunctionOps(keep=("Relu",)))) == 0
    schema = find_schema("", "Erf", 17)
    assert schema is not None
    assert not schema.has_function


def test_a_graph_of_a_newer_opset_is_not_taken():
    """Between opset 11 and 18 the axes of ReduceMax became an input: the graph of then can't stand in a model of now."""
    proto = model("y, s, z = DynamicQuantizeLinear(x)", "float[4] x", "uint8[*] y, float[*] s, uint8[*] z", opset=21)
    assert calls(transform(proto, ExpandFunctionOps())) == 0
