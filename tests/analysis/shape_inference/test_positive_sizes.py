"""Sizes that no run survives without are at least 1, which quotients of them need."""

from __future__ import annotations

import numpy as np

from graphopt.analysis import ShapeValues
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import lower_bound
from graphopt.serde import lift_model
from tests.transforms.harness import model

BODY = "s = Shape<start = 2, end = 3>(x) a = Sub(s, one) d = Div(a, two) n = Add(d, one) y = Expand(z, n)"
CONSTANTS: dict[str, np.ndarray] = {
    "one": np.array([1], np.int64),
    "two": np.array([2], np.int64),
    "w": np.ones((4, 3, 3, 3), np.float32),
}


def sizes(body):
    """What is known of ``n``, all values by name, and the model."""
    proto = model(body, "float[b,3,h,w] x, float[1] z", "float[*] y", opset=17, initializers=CONSTANTS)
    ir = lift_model(proto)
    OnnxTypes().infer_model(ir)
    values = {value.name: value for node in ir.graph.nodes for value in node.outputs}
    found = ShapeValues().of(values["n"])
    assert found is not None
    return found.elements[0], values, ir


def test_a_convolution_says_that_its_input_is_not_empty():
    """The size that torch.export computes is the one of the convolution with stride 2."""
    element, values, ir = sizes(f"c = Conv<strides = [2,2], pads = [1,1,1,1]>(x, w) {BODY} v = Neg(c)")
    assert values["c"].shape[2] == element
    assert [0, 3, 1, 0] == [lower_bound(dim) for dim in ir.graph.inputs[0].shape]
    assert "float[b, 3, h, w]" == str(ir.graph.inputs[0].type)


def test_without_it_the_quotient_is_not_known():
    """At size zero, what is cut toward zero is not rounded down."""
    element, _, ir = sizes(BODY)
    assert element is None
    assert [0, 3, 0, 0] == [lower_bound(dim) for dim in ir.graph.inputs[0].shape]


def test_a_range_over_a_size_has_that_size():
    """What is the size of a tensor is no less than nothing; of what may be less, the range is empty."""
    body = "c = Conv(x, w) k = Shape<start = 2, end = 3>(c) l = Squeeze(k) r = Range(zero, l, step) n = Shape(r) y = Expand(z, n)"
    constants: dict[str, np.ndarray] = {**CONSTANTS, "zero": np.array(0, np.int64), "step": np.array(1, np.int64)}
    proto = model(body, "float[b,3,h,w] x, float[1] z", "float[*] y", opset=17, initializers=constants)
    ir = lift_model(proto)
    OnnxTypes().infer_model(ir)
    values = {value.name: value for node in ir.graph.nodes for value in node.outputs}
    assert "int64[h-2]" == str(values["r"].type)
    assert values["c"].shape is not None
    assert (values["c"].shape[2],) == values["r"].shape
