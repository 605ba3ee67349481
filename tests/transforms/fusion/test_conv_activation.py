"""Conv and its activation become one operator for targets that have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from graphopt.backends.onnxruntime.legalize import LegalizeOnnxRuntime
from graphopt.ir import Graph
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.target import Target
from graphopt.transforms.fusion import FuseConvActivation
from tests.transforms.harness import assert_close, assert_untouched, model, run, transform

RULE = {"fuse-conv-activation": 1}
TARGET = Target("fast", fused_ops=frozenset({"ConvActivation"}))
X = "float[1,3,6,7] x"
CONSTANTS = {
    "w": np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype(np.float32),
    "b": np.arange(4, dtype=np.float32),
    "m": np.array(-1, np.float32),
    "p": np.array(2, np.float32),
    "inf": np.array(np.inf, np.float32),
}


@dataclass(frozen=True)
class FuseAndLegalize(Pass):
    """What runs in ONNX Runtime, to compare numbers."""

    name: ClassVar[str] = "fuse-and-legalize"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Both passes; the counts are those of the first."""
        result = FuseConvActivation().run(graph, ctx)
        assert result.changed == LegalizeOnnxRuntime().run(graph, ctx).changed
        return result


@pytest.mark.parametrize(
    ("activation", "params"),
    [
        ("Relu(t)", None),
        ("Sigmoid(t)", None),
        ("Tanh(t)", None),
        ("LeakyRelu(t)", [np.float32(0.01)]),
        ("LeakyRelu<alpha=0.5>(t)", [0.5]),
        ("HardSigmoid(t)", [np.float32(0.2), 0.5]),
        ("HardSigmoid<alpha=0.25, beta=0.25>(t)", [0.25, 0.25]),
        ("Clip(t, m, p)", [-1, 2]),
        ("Clip(t, m)", [-1, np.finfo(np.float32).max]),
        ("Clip(t, , p)", [np.finfo(np.float32).min, 2]),
    ],
)
@pytest.mark.parametrize("conv", ["Conv(x, w)", "Conv<pads=[1,1,1,1], strides=[2,1]>(x, w, b)"])
def test_activations(activation, params, conv):
    proto = model(f"t = {conv} y = {activation}", X, initializers=CONSTANTS)
    fused = transform(proto, FuseConvActivation(), target=TARGET)
    assert (["graphopt::ConvActivation"], RULE) == (fused.ops, fused.applied)
    (node,) = fused.ir.graph.nodes
    assert activation.split("(")[0].split("<")[0] == node.attr("activation")
    assert params == (None if params is None else list(node.ints_attr("activation_params") or ()))
    assert 1 == fused.ir.opset_imports["graphopt"]
    outcome = transform(proto, FuseAndLegalize(), target=TARGET)
    assert ["com.microsoft::FusedConv"] == outcome.ops
    feeds = {"x": np.random.default_rng(1).normal(size=(1, 3, 6, 7)).astype(np.float32)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-6)


def test_a_clip_of_opset_7():
    proto = model("t = Conv(x, w) y = Clip<min=-1.0, max=2.0>(t)", X, opset=7, initializers=CONSTANTS)
    (node,) = transform(proto, FuseConvActivation(), target=TARGET).ir.graph.nodes
    assert (-1, 2) == node.ints_attr("activation_params")


def test_nothing_for_targets_without_the_operator():
    assert_untouched(model("t = Conv(x, w) y = Relu(t)", X, initializers=CONSTANTS), FuseConvActivation())


@pytest.mark.parametrize(
    "body", ["y = Elu(t)", "y = Clip(t, r)", "y = Clip(t, m, inf)", "y = Clip(t, p, m)", "y = Relu(t) z = Exp(t)"]
)
def test_others_stay(body):
    outputs = "float[1,4,4,6] y" + (", float[1,4,4,6] z" if " z " in body else "")
    proto = model(f"t = Conv(x, w) {body}", f"{X}, float r", outputs, initializers=CONSTANTS)
    outcome = transform(proto, FuseConvActivation(), target=TARGET)
    assert {} == outcome.applied
    assert "graphopt" not in outcome.ir.opset_imports


def test_an_output_between_stays():
    proto = model("t = Conv(x, w) y = Relu(t)", X, "float[1,4,4,6] y, float[1,4,4,6] t", initializers=CONSTANTS)
    assert {} == transform(proto, FuseConvActivation(), target=TARGET).applied


@pytest.mark.parametrize("dtype", ["float16", "double"])
def test_other_types_stay(dtype):
    weights = {"w": np.ones((4, 3, 2), dtype)}
    proto = model("t = Conv(x, w) y = Relu(t)", f"{dtype}[1,3,5] x", f"{dtype}[1,4,4] y", initializers=weights)
    assert {} == transform(proto, FuseConvActivation(), target=TARGET).applied


@pytest.mark.parametrize("conv", ["Conv(x, d)", "Conv(d, w)"])
def test_quantized_convolutions_stay(conv):
    constants = CONSTANTS | {"q": np.ones((4, 3, 3, 2), np.int8)}
    kind = "q" if conv == "Conv(x, d)" else "xq"
    proto = model(
        f"d = DequantizeLinear({kind}, p) t = {conv} y = Relu(t)", f"{X}, int8[1,3,6,7] xq", initializers=constants
    )
    assert {} == transform(proto, FuseConvActivation(), target=TARGET).applied


def test_computed_weights_stay():
    proto = model("t = Conv(x, v) y = Relu(t)", f"{X}, float[4,3,3,2] v")
    assert {} == transform(proto, FuseConvActivation(), target=TARGET).applied
