"""Networks of whole models: numbers, names, weights that live, engines, what is refused."""

from __future__ import annotations

import gc
import json

import numpy as np
import onnx
import pytest

from graphopt.backends.tensorrt.api import Api
from graphopt.backends.tensorrt.converters import (
    activations,
    convolution,
    matrices,
    normalization,
    pooling,
    shapes,
    slicing,
)
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.profiles import Profile, parse_profile
from graphopt.backends.tensorrt.registry import Registry, builtin_converters, lower
from graphopt.data import digits_model
from graphopt.errors import ExecutionError, UnsupportedOpError
from graphopt.ir import Node
from tests.backends.tensorrt.library import API, close, engine_size, expected, needs_library, network_of, outputs_of

pytestmark = needs_library

IMAGES = """<ir_version: 8, opset_import: ["": 17]>
images (float[2,3,9,8] x, float[2,6] scale) => (float[n,m] y)
<float[4,3,3,3] w, float[4] b, int64[2] flat = {2, -1}, float[4,1,3,3] d>
{
  c = Conv <pads = [1, 0, 2, 1], strides = [2, 1]> (x, w, b)
  r = LeakyRelu <alpha = 0.2> (c)
  e = Conv <group = 4, auto_pad = "SAME_LOWER"> (r, d)
  p = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (e)
  a = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1, ceil_mode = 1, strides = [2, 2]> (p)
  f = Reshape (a, flat)
  s = Softmax <axis = 1> (f)
  y = Concat <axis = 1> (s, scale)
}"""


def images():
    """A model with weights, and inputs for it."""
    rng = np.random.default_rng(3)
    model = onnx.parser.parse_model(IMAGES)
    drawn = {"w": (4, 3, 3, 3), "b": (4,), "d": (4, 1, 3, 3)}
    for name, shape in drawn.items():
        array = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    del model.graph.value_info[:]
    feeds = {
        "x": rng.standard_normal((2, 3, 9, 8)).astype(np.float32),
        "scale": rng.standard_normal((2, 6)).astype(np.float32),
    }
    return model, feeds


def parsed(text):
    return onnx.parser.parse_model(text)


def test_a_network_computes_what_onnx_runtime_does():
    model, feeds = images()
    assert close(outputs_of(network_of(model), feeds)["y"], expected(model, feeds)["y"])


def test_weights_live_as_long_as_the_network():
    model, feeds = images()
    wanted = expected(model, feeds)["y"]
    built = network_of(model)
    del model
    gc.collect()
    _ = [np.full((4, 3, 3, 3), -1, np.float32) for _ in range(200)]
    assert close(outputs_of(built, feeds)["y"], wanted)


def test_layers_have_names_and_lineage_of_nodes():
    model, _ = images()
    for node in model.graph.node:
        node.name = f"/{node.output[0]}"
    layers = [network_of(model).network.get_layer(place) for place in range(4)]
    conv = next(layer for layer in layers if layer.name == "/c")
    assert ["/c"] == json.loads(conv.metadata)


def test_the_model_that_ships_becomes_an_engine():
    name, shapes = parse_profile("image:1x1x8x8,8x1x8x8,16x1x8x8")
    assert engine_size(network_of(str(digits_model())), profiles=[Profile({name: shapes})]) > 1000


def test_an_engine_is_built_for_some_compute_capabilities():
    model, _ = images()
    if not API.is_rtx:
        pytest.skip("compute capabilities are chosen with TensorRT-RTX only")
    assert engine_size(network_of(model), capabilities=("86", "89")) > 1000
    with pytest.raises(ExecutionError, match="knows no compute capability '12'; it knows: 75, 80"):
        engine_size(network_of(model), capabilities=("12",))


DYNAMIC = """<ir_version: 8, opset_import: ["": 17]>
dynamic (float[batch,4,length] x) => (float[n,m] y)
<int64[1] one = {1}, int64[1] minus = {-1}, int64[1] begin = {1}, int64[1] end = {1000}, int64[1] axis = {2}>
{
  s = Slice (x, begin, end, axis)
  shape = Shape (s)
  zero = Constant <value_int = 0> ()
  n = Gather (shape, zero)
  u = Unsqueeze (n, zero)
  target = Concat <axis = 0> (u, minus)
  y = Reshape (s, target)
}"""


@pytest.mark.parametrize("size", [(1, 4, 2), (3, 4, 7)])
def test_sizes_may_differ_from_run_to_run(size):
    model = parsed(
        DYNAMIC.replace("zero = Constant <value_int = 0> ()", "zero = Constant <value = int64[1] {0}> ()").replace(
            "n = Gather (shape, zero)\n  u = Unsqueeze (n, zero)", "u = Gather (shape, zero)"
        )
    )
    feeds = {"x": np.random.default_rng(0).standard_normal(size).astype(np.float32)}
    assert close(outputs_of(network_of(model), feeds)["y"], expected(model, feeds)["y"])


LOOPS = """<ir_version: 8, opset_import: ["": 17]>
loops (float[3] x, int64 trips) => (float[3] last, float[n,3] all)
{
  go = Constant <value = bool {1}> ()
  last, all = Loop (trips, go, x) <body = body (int64 i, bool c, float[3] s) => (bool d, float[3] t, float[3] u) {
    d = Identity (c)
    f = Cast <to = 1> (i)
    t = Add (s, x)
    u = Mul (t, f)
  }>
}"""
WHILE = """<ir_version: 8, opset_import: ["": 17]>
loops (float[3] x, float bound) => (float[3] last)
{
  none = Constant <value = int64 {100}> ()
  go = Constant <value = bool {1}> ()
  last = Loop (none, go, x) <body = body (int64 i, bool c, float[3] s) => (bool d, float[3] t) {
    t = Add (s, x)
    m = ReduceMax <keepdims = 0> (t)
    d = Less (m, bound)
  }>
}"""
BRANCHES = """<ir_version: 8, opset_import: ["": 17]>
branches (float[3] x, bool c) => (float[3] y)
{
  z = Neg (x)
  y = If (c) <then_branch = yes () => (float[3] a) { a = Exp (z) }, else_branch = no () => (float[3] b) { b = Identity (x) }>
}"""


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (LOOPS, {"trips": np.array(4)}),
        (LOOPS, {"trips": np.array(1)}),
        (WHILE, {"bound": np.array(5, np.float32)}),
        (WHILE, {"bound": np.array(-5, np.float32)}),
        (BRANCHES, {"c": np.array(True)}),
        (BRANCHES, {"c": np.array(False)}),
    ],
)
def test_control_flow(text, given):
    model, feeds = parsed(text), {"x": np.array([0.5, -1, 1.25], np.float32), **given}
    found = outputs_of(network_of(model), feeds)
    for name, wanted in expected(model, feeds).items():
        assert close(found[name], wanted), name


def test_sizes_that_nobody_states_are_asked_for():
    model = parsed('<ir_version: 8, opset_import: ["": 17]> g (float[n,4] x) => (float[n,4] y) { y = Relu(x) }')
    with pytest.raises(
        ExecutionError, match=r"input 'x' \(n\) has sizes that are not fixed; state them: --dim n=MIN,USUAL,MAX"
    ):
        engine_size(network_of(model))
    assert engine_size(network_of(model), sizes={"n": (1, 4, 8)}) > 1000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x:1x2,3x4", "is not understood; expected NAME:MIN,USUAL,MAX"),
        ("x", "is not understood"),
        ("x:2x2,1x2,3x2", "are not in order"),
    ],
)
def test_profiles_that_make_no_sense(text, reason):
    with pytest.raises(ExecutionError, match=reason):
        parse_profile(text)


def test_a_refusal_names_the_node_and_says_why():
    model = parsed(
        '<ir_version: 8, opset_import: ["": 17]> g (float[4000] x, int64[1] k) => (float[n] y, int64[n] i) { y, i = TopK(x, k) }'
    )
    model.graph.node[0].name = "best"
    with pytest.raises(UnsupportedOpError, match=r"node 'best' \(TopK\), from best: input 1 \('k'\) is not constant"):
        network_of(model)


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (convolution, "_set", lambda real: lambda layer, window: real(layer, window.__class__(
            window.kernel, window.strides, window.dilations, window.after, window.before, window.declared_after))),
        (Emitter, "activation", lambda real: lambda self, tensor, kind, alpha=None, beta=None: tensor),
        (Emitter, "weights", lambda real: lambda self, array, dtype: real(self, None if array is None else array[..., ::-1], dtype)),
        (pooling, "_padded", lambda real: lambda e, x, window: (x, window)),
        (activations, "_softmax", lambda real: lambda e, x, axis: real(e, x, 0)),
        (shapes, "reshaped", lambda real: lambda e, x, target, allow_zero=False: e.reshape(
            e.transpose(x, [0, 1, 3, 2]), list(target)) if e.rank(x) == 4 else real(e, x, target)),
    ],
    ids=["swapped pads", "dropped activation", "flipped kernel", "padding that counts", "another axis", "turned before a reshape"],
)  # fmt: skip
def test_the_evaluator_sees_a_wrong_lowering(monkeypatch, module, name, wrong):
    model, feeds = images()
    monkeypatch.setattr(module, name, wrong(getattr(module, name)))
    built = network_of(model)
    found = outputs_of(built, feeds)["y"]
    assert not close(found, expected(model, feeds)["y"])


WORDS = """<ir_version: 8, opset_import: ["": 17]>
words (int64[2,5] ids, float[6] scale, float[6] bias) => (float[n,m,k] y)
<float[9,6] table, float[6,4] w, int64[1] one = {1}, int64[1] four = {4}, int64[1] axis = {1}, float s = {0.05}, int8 z = {0}>
{
  e = Gather (table, ids)
  n = LayerNormalization <axis = -1, epsilon = 0.01> (e, scale, bias)
  q = QuantizeLinear (n, s, z)
  d = DequantizeLinear (q, s, z)
  p = MatMul (d, w)
  c = Slice (p, one, four, axis)
  m = ReduceMax <axes = [1], keepdims = 1> (c)
  g = Greater (c, m)
  u = Where (g, c, m)
  t = Sub (c, m)
  r = CumSum (t, one)
  y = Add (r, u)
}"""


def words():
    """A model of words, with what layers of images do not have."""
    rng = np.random.default_rng(4)
    model = onnx.parser.parse_model(WORDS)
    for name, shape in {"table": (9, 6), "w": (6, 4)}.items():
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        )
    feeds = {"ids": np.array([[1, 5, 8, 0, 3], [2, 2, 7, 4, 6]])}
    return model, feeds | {name: rng.standard_normal(6).astype(np.float32) for name in ("scale", "bias")}


def _other_enum(kind, old, new):
    return lambda real: lambda self, name, member: real(self, name, new if (name, member) == (kind, old) else member)


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (Emitter, "gather", lambda real: lambda self, x, indices, axis: real(self, x, self.elementwise(
            indices, self.scalar_like(0, indices), "PROD"), axis)),
        (Emitter, "reduce", lambda real: lambda self, x, op, axes, keep: real(self, x, "MIN" if op == "MAX" else op, axes, keep=keep)),
        (Emitter, "select", lambda real: lambda self, c, a, b: real(self, c, b, a) if self.is_float(a) else real(self, c, a, b)),
        (normalization, "_layer", lambda real: lambda e, x, scale, bias, axes, epsilon, groups=1: real(e, x, bias, scale, axes, epsilon)),
        (normalization, "_layer", lambda real: lambda e, x, scale, bias, axes, epsilon, groups=1: real(e, x, scale, bias, axes, 1.0)),
        (matrices, "product", lambda real: lambda e, a, b: real(e, a, e.elementwise(b, e.scalar_like(2, b), "PROD"))),
        (slicing, "slice_sizes", lambda real: lambda e, x, start, shape, stride, mode="": real(
            e, x, [0] * len(start), shape, stride, mode)),
        (Api, "enum", _other_enum("ElementWiseOperation", "SUB", "SUM")),
        (Api, "enum", _other_enum("CumulativeOperation", "SUM", "SUM")),
    ],
    ids=["other words", "smallest for largest", "branches swapped", "scale for bias", "another epsilon", "factor", "from the start",
         "sum for difference", "nothing"],
)  # fmt: skip
def test_the_evaluator_sees_a_wrong_lowering_of_words(monkeypatch, module, name, wrong, request):
    model, feeds = words()
    monkeypatch.setattr(module, name, wrong(getattr(module, name)))
    found = outputs_of(network_of(model), feeds)["y"]
    assert close(found, expected(model, feeds)["y"], rtol=1e-3) == ("nothing" in request.node.name)


def test_a_converter_of_higher_priority_goes_first():
    @lower("Relu", priority=1, supports=lambda node: None if node.name == "mine" else "not mine")
    def mine(e, node):
        return [e.input(node, 0)]

    registry = Registry([*builtin_converters(), *mine.converters])
    found = registry.find(Node("Relu", name="mine"))
    assert not isinstance(found, str)
    assert mine is found.convert
    other = registry.find(Node("Relu", name="other"))
    assert not isinstance(other, str)
    assert mine is not other.convert
