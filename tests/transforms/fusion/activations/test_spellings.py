"""Each activation is found in every spelling that exporters use, with numbers that stay."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.target import KernelTable, Target
from graphopt.transforms.fusion.activations import FuseActivations, FuseMicrosoftActivations
from tests.transforms.harness import assert_close, assert_near, run, transform
from tests.transforms.spelled import spelled

STEP = FuseActivations()
RUNTIME = Target("onnxruntime", domains=frozenset({"com.microsoft"}))
ERF = "r = Div(x, #1.4142135) e = Erf(r) g = Add(e, #1)"
CUBE = "p = Pow(x, #3) q = Mul(p, #0.044715) s = Add(x, q) u = Mul(s, #0.79788456) t = Tanh(u) g = Add(t, #1)"
CLIP = "a = Add(x, #3) c = Clip(a, #0, #6)"
NEGATED = "n = Neg(x) e = Exp(n) g = Add(e, #1)"

GELU = [
    f"{ERF} m = Mul(x, g) y = Mul(m, #0.5)",  # torch.onnx.export with TorchScript
    f"{ERF} h = Mul(x, #0.5) y = Mul(h, g)",
    f"{ERF} h = Mul(#0.5, g) y = Mul(h, x)",
    f"{ERF} m = Mul(g, x) y = Div(m, #2)",
    "r = Mul(x, #0.70710678) e = Erf(r) g = Add(#1, e) h = Mul(#0.5, x) y = Mul(h, g)",  # tf2onnx
    "r = Mul(x, #0.70710678) e = Erf(r) f = Mul(e, #0.5) g = Add(f, #0.5) y = Mul(x, g)",
    "r = Mul(x, #-0.70710678) e = Erf(r) g = Sub(#1, e) h = Mul(#0.5, x) y = Mul(h, g)",
]
TANH_GELU = [
    f"{CUBE} h = Mul(x, #0.5) y = Mul(h, g)",  # gelu_new of transformers
    f"{CUBE} m = Mul(x, g) y = Mul(m, #0.5)",
    (
        "k = Mul(x, x) p = Mul(k, x) q = Mul(#0.044715, p) s = Add(x, q) u = Mul(#0.79788456, s) t = Tanh(u) g = Add(#1, t) "
        "h = Mul(#0.5, x) y = Mul(h, g)"
    ),
    (
        "a = Mul(x, #0.79788456) k = Mul(x, #0.044715) q = Mul(k, x) s = Add(q, #1) u = Mul(a, s) t = Tanh(u) g = Add(t, #1) "
        "h = Mul(x, #0.5) y = Mul(h, g)"
    ),  # gelu_fast
    (
        "k = Pow(x, #2) q = Mul(k, #0.035677408) s = Add(q, #0.79788456) u = Mul(x, s) t = Tanh(u) g = Add(t, #1) "
        "h = Mul(x, #0.5) y = Mul(h, g)"
    ),
]
HARD_SWISH = [
    f"{CLIP} m = Mul(x, c) y = Div(m, #6)",  # PaddlePaddle, older torch
    f"{CLIP} m = Mul(c, x) y = Mul(m, #0.16666667)",
    f"{CLIP} d = Div(c, #6) y = Mul(x, d)",
    f"{CLIP} d = Mul(x, #0.16666667) y = Mul(c, d)",
    "h = HardSigmoid <alpha: float = 0.16666667, beta: float = 0.5> (x) y = Mul(x, h)",  # torch before opset 14
    "a = Add(x, #3) r = Relu(a) c = Min(r, #6) m = Mul(x, c) y = Div(m, #6)",
    "a = Add(x, #3) r = Max(a, #0) c = Min(#6, r) m = Mul(x, c) y = Div(m, #6)",
]
ONE = {
    "Sigmoid": [
        "k = Mul(x, #0.5) t = Tanh(k) a = Add(t, #1) y = Mul(a, #0.5)",
        "k = Div(x, #2) t = Tanh(k) a = Mul(t, #0.5) y = Add(#0.5, a)",
        f"{NEGATED} y = Div(#1, g)",
        f"{NEGATED} y = Reciprocal(g)",
        "n = Mul(x, #-1) e = Exp(n) g = Add(#1, e) y = Div(#1, g)",
    ],
    "Tanh": ["k = Mul(x, #2) s = Sigmoid(k) d = Mul(s, #2) y = Sub(d, #1)"],
    "Celu": [
        "c = Greater(x, #0) k = Div(x, #0.5) e = Exp(k) d = Sub(e, #1) m = Mul(d, #0.5) y = Where(c, x, m)",
        "p = Relu(x) k = Mul(x, #0.5) e = Exp(k) d = Sub(e, #1) m = Mul(#2, d) n = Min(m, #0) y = Add(p, n)",
    ],
    "Mish": [
        "s = Softplus(x) t = Tanh(s) y = Mul(x, t)",
        "e = Exp(x) a = Add(e, #1) s = Log(a) t = Tanh(s) y = Mul(t, x)",
    ],
    "Softplus": [
        "p = Softplus(x) c = Greater(x, #20) y = Where(c, x, p)",  # torch.onnx.export with dynamo
        "e = Exp(x) a = Add(e, #1) y = Log(a)",
        "e = Exp(x) a = Add(#1, e) y = Log(a)",
    ],
    "Softsign": ["a = Abs(x) b = Add(a, #1) y = Div(x, b)"],
    "HardSigmoid": [
        f"{CLIP} y = Div(c, #6)",
        f"{CLIP} y = Mul(c, #0.16666667)",
        "m = Mul(x, #0.2) a = Add(m, #0.5) y = Clip(a, #0, #1)",  # Keras
        "m = Mul(x, #0.2) a = Add(m, #0.5) r = Relu(a) y = Min(r, #1)",
    ],
    "Clip": ["r = Relu(x) y = Min(r, #6)", "r = Max(x, #0) y = Min(#6, r)", "r = Min(x, #6) y = Max(r, #-2)"],
    "Relu": ["y = Max(x, #0)", "y = Max(#0, x)"],
    "LeakyRelu": [
        "c = Greater(x, #0) m = Mul(x, #0.1) y = Where(c, x, m)",
        "c = Less(x, #0) m = Mul(#0.1, x) y = Where(c, m, x)",
        "m = Mul(x, #0.1) y = Max(x, m)",
        "p = Relu(x) n = Min(x, #0) m = Mul(n, #0.1) y = Add(p, m)",
        "p = Relu(x) k = Neg(x) n = Relu(k) m = Mul(n, #0.1) y = Sub(p, m)",
        "p = Relu(x) k = Neg(x) n = Relu(k) m = Mul(n, #-0.1) y = Add(m, p)",
        "p = Relu(x) a = Abs(x) d = Sub(x, a) m = Mul(d, #0.1) h = Mul(m, #0.5) y = Add(p, h)",
    ],
    "PRelu": [
        "c = Greater(x, #0) m = Mul(x, s) y = Where(c, x, m)",
        "p = Relu(x) n = Min(x, #0) m = Mul(s, n) y = Add(p, m)",
        "p = Relu(x) k = Neg(x) n = Relu(k) m = Mul(s, n) y = Sub(p, m)",
        "p = Relu(x) a = Abs(x) d = Sub(x, a) m = Mul(s, d) h = Mul(m, #0.5) y = Add(p, h)",  # TensorFlow
    ],
    "Elu": [
        "c = Greater(x, #0) e = Exp(x) d = Sub(e, #1) y = Where(c, x, d)",
        "c = LessOrEqual(x, #0) e = Exp(x) d = Add(e, #-1) m = Mul(d, #1.5) y = Where(c, m, x)",
        "p = Relu(x) e = Exp(x) d = Sub(e, #1) m = Mul(d, #0.5) n = Min(m, #0) y = Add(p, n)",
    ],
    "Selu": ["e = Elu <alpha: float = 1.6732632> (x) y = Mul(e, #1.050701)"],
    "ThresholdedRelu": [
        "c = Greater(x, #0) y = Where(c, x, #0)",  # 0 where x is NaN, which Relu keeps
        "c = Greater(x, #0.5) y = Where(c, x, #0)",
        "c = LessOrEqual(x, #0.5) y = Where(c, #0, x)",
    ],
}
SLOPE = {"s": np.array([0.1, -0.2, 0.3], np.float32)}


def used(body: str) -> dict[str, np.ndarray]:
    return SLOPE if "s, n" in body or "x, s" in body or "s, d" in body else {}


@pytest.mark.parametrize("numbers", [(), (1,), (1, 1)])
@pytest.mark.parametrize("body", GELU)
def test_gelu_by_the_error_function(body, numbers):
    assert_near(spelled(body, numbers=numbers), STEP, ["Gelu"], {"fuse-gelu": 1})


@pytest.mark.parametrize("body", TANH_GELU)
def test_gelu_by_tanh(body):
    outcome = assert_near(spelled(body), STEP, ["Gelu"], {"fuse-tanh-gelu": 1})
    assert b"tanh" == outcome.after.graph.node[0].attribute[0].s


@pytest.mark.parametrize("body", [*GELU, *TANH_GELU])
def test_gelu_waits_for_opset_20(body):
    assert {} == transform(spelled(body, opset=19), STEP).applied


@pytest.mark.parametrize(
    ("bodies", "op", "rule"),
    [(GELU, "Gelu", "gelu"), (TANH_GELU, "FastGelu", "fast-gelu")],
)
def test_gelu_of_onnx_runtime(bodies, op, rule):
    for body in bodies:
        proto = spelled(body, opset=14)
        outcome = transform(proto, FuseMicrosoftActivations(), target=RUNTIME)
        assert ([f"com.microsoft::{op}"], {f"fuse-microsoft-{rule}": 1}) == (outcome.ops, outcome.applied)
        feeds = {"x": np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)}
        assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-5)
        assert {} == transform(proto, FuseMicrosoftActivations()).applied, "any runtime has none"


@pytest.mark.parametrize(("factor", "alpha"), [("x", 1.0), ("k", 1.702)])
def test_swish_and_quick_gelu(factor, alpha):
    body = ("k = Mul(x, #1.702) " if factor == "k" else "") + f"s = Sigmoid({factor}) y = Mul(x, s)"
    assert_near(spelled(body, opset=24), STEP, ["Swish"], {"fuse-swish": 1})
    outcome = transform(spelled(body, opset=14), FuseMicrosoftActivations(), target=RUNTIME)
    assert (["com.microsoft::QuickGelu"], {"fuse-microsoft-quick-gelu": 1}) == (outcome.ops, outcome.applied)
    assert np.float32(alpha) == np.float32(outcome.after.graph.node[0].attribute[0].f)


def test_a_target_without_a_kernel_gets_no_swish():
    body = "s = Sigmoid(x) y = Mul(x, s)"
    assert {} == transform(spelled(body, opset=24), STEP, target=Target("onnxruntime", kernels=KernelTable({}))).applied


@pytest.mark.parametrize("body", HARD_SWISH)
def test_hard_swish(body):
    for opset, ops in ((21, ["HardSwish"]), (13, ["HardSigmoid", "Mul"])):
        proto = spelled(body, opset=opset)
        outcome = transform(proto, STEP)
        assert ops == outcome.ops
        feeds = {"x": np.linspace(-5, 5, 6, dtype=np.float32).reshape(2, 3)}
        assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-6)


def test_hard_swish_with_bounds_as_attributes():
    body = "a = Add(x, #3) c = Clip <min: float = 0.0, max: float = 6.0> (a) m = Mul(x, c) y = Div(m, #6)"
    assert_near(spelled(body, opset=10), STEP, ["HardSigmoid", "Mul"], {"fuse-hard-swish": 1})


@pytest.mark.parametrize(("op", "body"), [(op, body) for op, bodies in ONE.items() for body in bodies])
def test_others(op, body):
    proto = spelled(body, initializers=used(body))
    outcome = transform(proto, STEP)
    assert [op] == outcome.ops
    for array in (np.linspace(-5, 5, 6), np.array([0.0, -0.0, 0.5, -0.5, 8.0, 30.0])):
        feeds = {"x": array.astype(np.float32).reshape(2, 3)}
        assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-6)


def test_silu_with_exp_becomes_a_product_with_sigmoid():
    assert_near(spelled(f"{NEGATED} y = Div(x, g)"), STEP, ["Sigmoid", "Mul"], {"fuse-sigmoid": 1})


def test_softplus_in_its_stable_form():
    body = "p = Relu(x) a = Abs(x) n = Neg(a) e = Exp(n) o = Add(e, #1) l = Log(o) y = Add(p, l)"
    assert_near(spelled(body), STEP, ["Softplus"], {"fuse-softplus": 1, "fuse-stable-softplus": 1})


IN_FLOAT16 = [GELU[0], GELU[4], TANH_GELU[0], HARD_SWISH[0], ONE["Mish"][0], ONE["LeakyRelu"][0], ONE["HardSigmoid"][2]]


@pytest.mark.parametrize("body", IN_FLOAT16)
def test_float16(body):
    proto = spelled(body, dtype="float16")
    outcome = transform(proto, STEP)
    assert 1 == len(outcome.ops)
    feeds = {"x": np.linspace(-3, 3, 6, dtype=np.float16).reshape(2, 3)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), 4e-3)


WIDE_GELU = "r = Div(w, root) e = Erf(r) g = Add(e, one) m = Mul(w, g) h = Mul(m, half)"
WIDE = {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}


@pytest.mark.parametrize("middle", ["h = HardSwish(w)", "h = Gelu(w)", "s = Sigmoid(w) h = Mul(w, s)", WIDE_GELU])
def test_casts_around_an_activation(middle):
    body = f"w = Cast <to: int = 1> (x) {middle} y = Cast <to: int = 10> (h)"
    proto = spelled(body, dtype="float16", initializers=WIDE if middle == WIDE_GELU else {})
    outcome = transform(proto, STEP)
    assert 1 == outcome.applied["drop-casts-around-activation"]
    assert "Cast" not in outcome.ops
    feeds = {"x": np.linspace(-3, 3, 6, dtype=np.float16).reshape(2, 3)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), 2e-3)
