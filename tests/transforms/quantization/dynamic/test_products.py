"""Products with constant matrices become integer ones: their numbers, their sharing, and what is left alone."""

from __future__ import annotations

import re

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import load_model

from graphopt.backends.onnxruntime.targets import CPU
from graphopt.backends.targets import TENSORRT
from graphopt.ir import Constant, DType, GraphBuilder, Quantization
from graphopt.numerics import Lossy
from graphopt.passes import PassContext
from graphopt.target import QuantizationScheme, Target
from graphopt.transforms.quantization.dynamic import QuantizeDynamic, why_not_dynamic
from tests.transforms.harness import PROPERTY, assert_close, assert_untouched, model, run, transform
from tests.transforms.quantization.numeric import Floats, constants_of, normal, results

STEP = QuantizeDynamic()
FORM = ["DynamicQuantizeLinear", "MatMulInteger", "Mul", "Cast", "Mul"]


def by_hand(x: Floats, weights: Floats) -> Floats:
    """The dynamic product of an activation and a matrix, symmetric and per channel, as the operators' specifications say it."""
    low, high = min(x.min(initial=0.0), 0.0), max(x.max(initial=0.0), 0.0)
    scale = np.float32((high - low) / np.float32(255))
    zero = np.clip(np.rint(-low / scale), 0, 255)
    numbers = np.clip(np.rint(x / scale) + zero, 0, 255) - zero
    steps = (np.abs(weights).max(0) / np.float32(127)).astype(np.float32)
    steps[steps == 0] = 1
    found: Floats = (numbers @ np.rint(weights / steps).astype(np.float64) * (scale * steps)).astype(np.float32)
    return found


@pytest.mark.parametrize("shape", [(32,), (5, 32), (2, 5, 32), (2, 3, 5, 32)])
@pytest.mark.parametrize("opset", [11, 13, 21])
def test_activations_of_any_rank(shape, opset):
    w = normal(32, 16)
    proto = model("y = MatMul(x, w)", f"float[{','.join(map(str, shape))}] x", initializers={"w": w}, opset=opset)
    outcome = transform(proto, STEP)
    assert (FORM, {"quantize-product": 1}) == (outcome.ops, outcome.applied)
    x = normal(*shape, seed=1)
    assert_close([by_hand(x, w)], run(outcome.after, {"x": x}), 1e-5)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("shape", [None, (16,), (1, 16), (), (5, 1)])
def test_gemm(transposed, shape):
    """Factors, what is added in any shape that broadcasts, and either order of the matrix."""
    w = normal(32, 16)
    c = np.float32(0) if shape is None else normal(*shape, seed=2)
    constants = {"w": w.T.copy() if transposed else w, **({} if shape is None else {"c": c})}
    body = f"y = Gemm<transB = {transposed}, alpha = 0.5, beta = 2.0>(x, w{', c' if shape is not None else ''})"
    outcome = transform(model(body, "float[5,32] x", initializers=constants), STEP)
    assert FORM + ["Add"] * (shape is not None) == outcome.ops
    x = normal(5, 32, seed=1)
    expected = 0.5 * by_hand(x, w) + 2 * c
    assert_close([expected.astype(np.float32)], run(outcome.after, {"x": x}), 1e-5)


def test_gemm_adds_what_is_not_constant():
    proto = model("y = Gemm<beta = 0.5>(x, w, c)", "float[5,32] x, float[5,16] c", initializers={"w": normal(32, 16)})
    outcome = transform(proto, STEP)
    assert [*FORM, "Mul", "Add"] == outcome.ops
    x, c = normal(5, 32, seed=1), normal(5, 16, seed=2)
    assert_close([by_hand(x, normal(32, 16)) + c / 2], run(outcome.after, {"x": x, "c": c}), 1e-5)


@PROPERTY
@given(
    rows=st.integers(0, 4),
    inner=st.integers(1, 9),
    outer=st.integers(1, 5),
    size=st.sampled_from([0.0, 1e-3, 1.0, 1e4]),
    offset=st.sampled_from([0.0, 3.0, -50.0]),
    symmetric=st.booleans(),
    per_channel=st.booleans(),
)
def test_errors_are_those_of_half_steps(rows, inner, outer, size, offset, symmetric, per_channel):
    """Each number is off by half a step of the activation times the weights, and half a step of the weight times the activations."""
    w, x = normal(inner, outer) * np.float32(size), normal(rows, inner, seed=1) + np.float32(offset)
    proto = model("y = MatMul(x, w)", f"float[r,{inner}] x", initializers={"w": w})
    outcome = transform(proto, QuantizeDynamic(symmetric=symmetric, per_channel=per_channel))
    (found,) = results(outcome.after, {"x": x})
    assert found.shape == (rows, outer)
    step = (max(x.max(initial=0), 0) - min(x.min(initial=0), 0)) / 255
    spread = np.maximum(w, 0).max() - np.minimum(w, 0).min() if not symmetric else 2 * np.abs(w).max()
    weight_step = spread / 254
    bound = step * (np.abs(w).sum(0).max() + inner * weight_step) + weight_step * np.abs(x).sum(-1, keepdims=True)
    assert (np.abs(found - x.astype(np.float64) @ w) <= 0.75 * bound + 1e-5).all()


def test_products_that_share_an_activation_quantize_it_once():
    """Queries, keys and values of attention; a shared matrix is stored once."""
    body = "a = MatMul(x, v) b = Relu(x) q = MatMul(b, w) k = MatMul(b, v) r = MatMul(b, w) s = Add(q, k) t = Add(s, r) y = Add(a, t)"
    outcome = transform(model(body, "float[n,8] x", initializers={"w": normal(8, 4), "v": normal(8, 4, seed=1)}), STEP)
    assert {"quantize-product": 4} == outcome.applied
    assert outcome.ops.count("DynamicQuantizeLinear") == 2
    assert outcome.ops.index("DynamicQuantizeLinear", 1) == outcome.ops.index("Relu") + 1
    assert 2 == len(constants_of(outcome.ir, DType.INT8))


def test_branches_quantize_what_they_capture():
    branches = "then_branch = t () => (float[2,4] p) { p = MatMul(x, w) }, else_branch = e () => (float[2,4] q) { q = MatMul(x, w) }"
    proto = model(f"y = If (c) <{branches}>", "float[2,8] x, bool c", "float[2,4] y", initializers={"w": normal(8, 4)})
    outcome = transform(proto, STEP)
    assert {"quantize-product": 2} == outcome.applied
    x = normal(2, 8, seed=1)
    for c in (True, False):
        assert_close([by_hand(x, normal(8, 4))], run(outcome.after, {"x": x, "c": np.array(c)}), 1e-5)


@pytest.mark.parametrize(
    ("body", "inputs", "opset"),
    [
        ("y = MatMul(x, v)", "float[2,8] x, float[8,4] v", 21),  # not constant
        ("y = MatMul(x, w)", "float[2,8] x, float[8,4] w", 21),  # callers may override it
        ("y = MatMul(w, x)", "float[4,8] x", 21),  # the first factor is constant
        ("y = MatMul(x, t)", "float[2,8] x", 21),  # a stack of matrices
        ("y = MatMul(x, u)", "float[2,8] x", 21),  # a vector
        ("y = MatMul(x, n)", "float[2,8] x", 21),  # NaN
        ("y = MatMul(x, h)", "float16[2,8] x", 21),
        ("y = MatMul(x, d)", "double[2,8] x", 21),
        ("y = MatMul(x, e)", "float[2,0] x", 21),
        ("y = MatMul(x, long)", "float[2,65794] x", 21),  # sums that may overflow
        ("y = Gemm<transA = 1>(x, w)", "float[8,2] x", 21),
        ("y = MatMul(x, w)", "float[2,8] x", 10),
    ],
)
def test_left_alone(body, inputs, opset):
    w = normal(8, 4)
    constants = {
        "w": w,
        "t": normal(1, 8, 4),
        "u": normal(8),
        "n": np.where(w > 1, np.float32(np.nan), w),
        "h": w.astype(np.float16),
        "d": w.astype(np.float64),
        "e": np.zeros((0, 4), np.float32),
        "long": np.zeros((65794, 1), np.float32),
    }
    used = {name: array for name, array in constants.items() if re.search(rf"\b{name}\b", body.partition("=")[2])}
    assert_untouched(model(body, inputs, initializers=used, opset=opset), STEP)


def test_both_factors_constant():
    assert_untouched(
        model("a = MatMul(v, w) y = Add(x, a)", "float[4] x", initializers={"v": normal(3, 8), "w": normal(8, 4)}), STEP
    )


@pytest.mark.parametrize(
    ("step", "left"),
    [
        (QuantizeDynamic(exclude=("q",)), 1),
        (QuantizeDynamic(include=("op:Gemm",)), 1),
        (QuantizeDynamic(include=("k*",)), 1),
        (QuantizeDynamic(exclude=("op:MatMul", "k")), 2),
        (QuantizeDynamic(least_gain=1.1), 2),
        (QuantizeDynamic(least_gain=0.1), 0),
    ],
)
def test_layers_may_be_chosen(step, left):
    b = GraphBuilder(21)
    x = b.input("x", DType.FLOAT, [2, 8])
    b.output(b.MatMul(x, normal(8, 4), name="q"))
    b.output(b.Gemm(x, normal(8, 4), name="k"))
    made = b.build()
    step.run(made.graph, PassContext())
    assert left == sum(node.op in ("MatMul", "Gemm") for node in made.graph.nodes)


def test_targets_without_the_operators():
    proto = model("y = MatMul(x, w)", "float[2,8] x", initializers={"w": normal(8, 4)})
    assert transform(proto, STEP, target=TENSORRT).applied == {}
    (node,) = transform(proto, STEP, target=TENSORRT).ir.graph.nodes
    assert "target 'tensorrt' does not run DynamicQuantizeLinear and MatMulInteger" == why_not_dynamic(node, TENSORRT)
    assert "" == why_not_dynamic(node, CPU)


@pytest.mark.parametrize("stated", [True, None])
def test_seven_bits_where_the_target_wants_them(stated):
    target = Target("old", quantization=QuantizationScheme("old", reduce_range=True))
    proto = model("y = MatMul(x, w)", "float[2,8] x", initializers={"w": normal(8, 4)})
    outcome = transform(proto, QuantizeDynamic(reduce_range=stated), target=target if stated is None else None)
    (weight,) = constants_of(outcome.ir, DType.INT8)
    assert 63 == np.abs(weight.numpy().astype(int)).max()


def test_parameters_that_a_weight_has_already_are_kept():
    """Those of GPTQ, say: the numbers stand on the grid, and stay there."""
    grid = np.random.default_rng(0).integers(-100, 100, (8, 4)).astype(np.int8)
    b = GraphBuilder(21)
    x = b.input("x", DType.FLOAT, [2, 8])
    w = b.constant(grid.astype(np.float32) * np.float32(0.25), "w")
    w.quantization = Quantization(DType.INT8, Constant(np.full(4, 0.25, np.float32)), Constant(np.zeros(4, np.int8)), 1)
    b.output(b.MatMul(x, w), "y", DType.FLOAT, [2, 4])
    made = b.build()
    STEP.run(made.graph, PassContext())
    (weight,) = constants_of(made, DType.INT8)
    assert (grid == weight.numpy()).all()


def test_onnx_runtime_makes_one_kernel_of_it(tmp_path):
    """One for a layer by itself, another where an activation is shared."""
    body = "a = MatMul(x, w) b = Relu(a) q = MatMul(b, v) c = Add(q, e) k = MatMul(b, u) y = Add(c, k)"
    constants = {"w": normal(8, 4), "v": normal(4, 4), "u": normal(4, 4, seed=1), "e": normal(4)}
    after = transform(model(body, "float[n,8] x", initializers=constants), STEP).after
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(after.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ops = sorted(node.op_type for node in load_model(tmp_path / "optimized.onnx").graph.node)
    assert [
        "Add",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulIntegerToFloat",
        "MatMulIntegerToFloat",
        "Relu",
    ] == ops


def test_it_is_declared_lossy():
    assert isinstance(STEP.declared_numerics, Lossy)


SPELLED = {
    "cast": ("f = Cast<to = 1>(q) w = Mul(f, s) y = MatMul(x, w)", (1, 4)),
    "cast, either way round": ("f = Cast<to = 1>(q) w = Mul(s, f) y = MatMul(x, w)", (4,)),
    "cast, one scale": ("f = Cast<to = 1>(q) w = Mul(f, s) y = MatMul(x, w)", ()),
    "dequantized": ("w = DequantizeLinear<axis = -1>(q, s) y = MatMul(x, w)", (4,)),
    "dequantized, one scale": ("w = DequantizeLinear(q, s) y = MatMul(x, w)", ()),
}


@pytest.mark.parametrize("form", sorted(SPELLED))
def test_weights_that_are_stored_as_integers_keep_them(form):
    """However they are spelled: nothing is rounded a second time."""
    body, shape = SPELLED[form]
    q = np.random.default_rng(0).integers(-127, 128, (8, 4), np.int8)
    s = np.abs(normal(*shape)) * np.float32(0.01) + np.float32(0.01)
    outcome = transform(model(body, "float[5,8] x", initializers={"q": q, "s": s}), STEP)
    assert (FORM, {"quantize-product": 1}) == (outcome.ops, outcome.applied)
    (weight,) = constants_of(outcome.ir, DType.INT8)
    assert (q == weight.numpy()).all()
    x = normal(5, 8, seed=1)
    numbers, scale, zero = run(
        model("q, s, z = DynamicQuantizeLinear(x)", "float[5,8] x", "uint8[5,8] q, float s, uint8 z"), {"x": x}
    )
    steps = np.asarray(numbers, np.float64) - float(zero)
    assert_close(
        [(steps @ q.astype(np.float64) * float(scale) * s).astype(np.float32)], run(outcome.after, {"x": x}), 1e-5
    )


@pytest.mark.parametrize(
    "body",
    [
        "f = Cast<to = 1>(q) w = Mul(f, r) y = MatMul(x, w)",  # scales along another axis: rounded again, for columns
        "f = Cast<to = 1>(q) w = Mul(f, full) y = MatMul(x, w)",
        "w = DequantizeLinear<axis = 0>(q, t) y = MatMul(x, w)",
        "f = Cast<to = 1>(q) w = Mul(f, negative) y = MatMul(x, w)",
    ],
)
def test_weights_whose_integers_do_not_fit(body):
    """Those with a scale for each row are rounded again; those that no parameters are read of are left alone."""
    rng = np.random.default_rng(0)
    constants = {
        "q": rng.integers(-127, 128, (8, 4), np.int8),
        "r": np.abs(normal(8, 1)),
        "full": np.abs(normal(8, 4)),
        "t": np.abs(normal(8)),
        "negative": -np.abs(normal(1, 4)),
    }
    proto = model(
        body,
        "float[5,8] x",
        initializers={name: item for name, item in constants.items() if re.search(rf"\b{name}\b", body)},
    )
    outcome = transform(proto, STEP)
    assert outcome.applied == ({"quantize-product": 1} if re.search(r"\b[rt]\)", body) else {})
    x = normal(5, 8, seed=1)
    expected, found = results(proto, {"x": x})[0], results(outcome.after, {"x": x})[0]
    assert np.abs(expected - found).max() < 0.03 * np.abs(expected).max()


@pytest.mark.parametrize(
    "body",
    [
        "a = QuantizeLinear(x, s) b = DequantizeLinear(a, s) y = MatMul(b, w)",
        "a = MatMul(x, w) b = QuantizeLinear(a, s) y = DequantizeLinear(b, s)",
    ],
)
def test_static_layers_stay(body):
    assert_untouched(
        model(body, "float[5,8] x", initializers={"w": normal(8, 4), "s": np.array(0.1, np.float32)}), STEP
    )
