"""Chains of products: constant matrices are multiplied before, others in the better order."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, model, transform

RNG = np.random.default_rng(4)


def weights(*shapes, dtype=np.float32):
    return {name: RNG.normal(size=shape).astype(dtype) for name, shape in zip(("u", "v"), shapes, strict=False)}


MERGED = {"merge-products": 1}
ROW = {"b": np.linspace(-1, 1, 6, dtype=np.float32)}


@pytest.mark.parametrize(
    ("body", "inputs", "ops"),
    [
        ("h = MatMul(x, u) y = MatMul(h, v)", "float[n,s,4] x", ["MatMul"]),
        ("h = MatMul(x, u) y = MatMul(h, v)", "float[4] x", ["MatMul"]),
        ("h = MatMul(x, u) a = Add(h, b) y = MatMul(a, v)", "float[n,s,4] x", ["MatMul", "Add"]),
        ("h = MatMul(x, u) a = Add(b, h) y = MatMul(a, v)", "float[n,4] x", ["MatMul", "Add"]),
        ("h = Gemm(x, u, b) y = Gemm<alpha = 0.5>(h, v, c)", "float[n,4] x", ["Gemm"]),
        ("h = Gemm<beta = 2.0>(x, u, b) y = MatMul(h, v)", "float[n,4] x", ["Gemm"]),
        ("h = MatMul(x, u) y = Gemm(h, v, c)", "float[n,4] x", ["Gemm"]),
        ("h = Gemm(x, u) y = Gemm(h, v)", "float[n,4] x", ["MatMul"]),
    ],
)
def test_constant_matrices_are_multiplied_before(body, inputs, ops):
    known = {**weights((4, 6), (6, 3)), **ROW, "c": np.ones((1, 3), np.float32)}
    proto = model(
        body, inputs, opset=17, initializers={k: v for k, v in known.items() if f"{k})" in body or f"{k}," in body}
    )
    outcome = transform(proto, ReduceStrength())
    assert (ops, 1) == (outcome.ops, outcome.applied["merge-products"])
    assert_near(proto, ReduceStrength(), ops, outcome.applied)


def test_transposed_weights():
    known = {"u": RNG.normal(size=(6, 4)).astype(np.float32), "v": RNG.normal(size=(3, 6)).astype(np.float32)}
    body = "h = Gemm<transB = 1>(x, u, b) y = Gemm<transB = 1>(h, v)"
    proto = model(body, "float[n,4] x", opset=17, initializers={**known, **ROW})
    assert_near(proto, ReduceStrength(), ["Gemm"], MERGED)


@pytest.mark.parametrize(
    ("body", "outputs", "shapes"),
    [
        ("h = MatMul(x, u) y = MatMul(h, v)", "float[*] y", ((9, 2), (2, 9))),
        ("h = MatMul(x, u) y = MatMul(h, v) z = Neg(h)", "float[*] y, float[*] z", ((9, 6), (6, 3))),
        ("h = MatMul(x, u) y = MatMul(h, v)", "float[*] y, float[*] h", ((9, 6), (6, 3))),
        ("h = MatMul(x, u) r = Relu(h) y = MatMul(r, v)", "float[*] y", ((9, 6), (6, 3))),
        ("h = Gemm<transA = 1>(x, u) y = MatMul(h, v)", "float[*] y", ((9, 6), (6, 3))),
        ("h = MatMul(x, u) a = Add(h, d) y = MatMul(a, v)", "float[*] y", ((9, 6), (6, 3))),
        ("h = MatMul(x, u) a = Add(h, w) y = MatMul(a, v)", "float[*] y", ((9, 6), (6, 3))),
    ],
)
def test_products_that_would_cost_more_and_other_readers_stay(body, outputs, shapes):
    known = {**weights(*shapes), "d": RNG.normal(size=(9, 6)).astype(np.float32)}
    inputs = "float[9,9] x" + (", float[6] w" if " w)" in body else "")
    proto = model(body, inputs, outputs, opset=17, initializers={k: v for k, v in known.items() if f"{k})" in body})
    assert "merge-products" not in transform(proto, ReduceStrength()).applied


def test_a_column_is_no_row():
    """As many numbers as the product has columns, but one for each row."""
    known = {**weights((4, 6), (6, 3)), "b": RNG.normal(size=(6, 1)).astype(np.float32)}
    proto = model("h = Gemm(x, u, b) y = MatMul(h, v)", "float[6,4] x", opset=17, initializers=known)
    assert "merge-products" not in transform(proto, ReduceStrength()).applied


def test_weights_that_overflow_stay():
    known = {"u": np.full((4, 6), 1e30, np.float32), "v": np.full((6, 3), 1e30, np.float32)}
    proto = model("h = MatMul(x, u) y = MatMul(h, v)", "float[n,4] x", opset=17, initializers=known)
    assert {} == transform(proto, ReduceStrength()).applied


ORDER = {"multiply-in-better-order": 1}


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("h = MatMul(a, b) y = MatMul(h, c)", "float[n,9,2] a, float[n,2,9] b, float[n,9,3] c"),
        ("h = MatMul(b, c) y = MatMul(a, h)", "float[n,1,9] a, float[n,9,9] b, float[n,9,9] c"),
        ("h = MatMul(a, b) y = MatMul(h, c)", "double[9,2] a, double[2,9] b, double[9,3] c"),
    ],
)
def test_the_better_order(body, inputs):
    kind = "double" if "double" in inputs else "float"
    proto = model(body, inputs, f"{kind}[*] y", opset=17)
    assert_near(proto, ReduceStrength(), ["MatMul", "MatMul"], ORDER)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ("float[n,2,9] a, float[n,9,9] b, float[n,9,3] c", "float[*] y"),
        ("float[n,s,2] a, float[n,2,9] b, float[n,9,3] c", "float[*] y"),
        ("float[n,9,2] a, float[m,2,9] b, float[n,9,3] c", "float[*] y"),
        ("float[9,2] a, float[n,2,9] b, float[n,9,3] c", "float[*] y"),
        ("float16[n,9,2] a, float16[n,2,9] b, float16[n,9,3] c", "float16[*] y"),
        ("float[n,9,2] a, float[n,2,9] b, float[n,9,3] c", "float[*] y, float[*] h"),
    ],
)
def test_orders_that_are_not_certainly_better_stay(inputs, outputs):
    proto = model("h = MatMul(a, b) y = MatMul(h, c)", inputs, outputs, opset=17)
    assert {} == transform(proto, ReduceStrength()).applied
