"""Reductions and products take over transpositions of what they read."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import CanonicalizeAlgebra
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = CanonicalizeAlgebra()
REDUCE, PRODUCT = {"reduce-before-transpose": 1}, {"multiply-the-other-way": 1}
W = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("perm", "axes"), [([0, 2, 3, 1], [1, 2]), ([0, 2, 3, 1], [-3, -2]), ([0, 3, 1, 2], [1]), ([3, 0, 1, 2], [0])]
)
@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2"])
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_axes_that_go(perm, axes, op, opset):
    is_input = opset >= 18 or (op == "ReduceSum" and opset >= 13)
    text = f"{op}<keepdims = 0>(t, a)" if is_input else f"{op}<keepdims = 0, axes = {axes}>(t)"
    proto = model(
        f"t = Transpose<perm = {perm}>(x) y = {text}",
        "float[2,3,4,5] x",
        opset=opset,
        initializers={"a": np.array(axes)} if is_input else {},
    )
    assert_near(proto, STEP, [op], REDUCE)


@pytest.mark.parametrize(
    "body",
    [
        "t = Transpose<perm = [0, 2, 3, 1]>(x) y = ReduceMean<keepdims = 0, axes = [1]>(t)",
        "t = Transpose<perm = [0, 2, 3, 1]>(x) y = ReduceMean<keepdims = 1, axes = [1, 2]>(t)",
        "t = Transpose<perm = [0, 2, 3, 1]>(x) y = ReduceMean<keepdims = 0>(t)",
        (
            "t = Transpose<perm = [0, 2, 3, 1]>(x) a = ReduceMean<keepdims = 0, axes = [1, 2, 3]>(t) "
            "b = ReduceMax<axes = [0, 1, 2, 3], keepdims = 0>(t) y = Add(a, b)"
        ),
    ],
    ids=["order", "kept", "all", "two readers"],
)
def test_other_reductions_stay(body):
    assert_untouched(model(body, "float[2,3,4,5] x", opset=13), STEP)


def swapped(rank):
    return f"Transpose<perm = {[*range(rank - 2), rank - 1, rank - 2]}>"


@pytest.mark.parametrize(
    ("inputs", "rank"),
    [("float[5,3] x, float[4,5] u", 2), ("float[2,5,3] x, float[2,4,5] u", 3), ("float[n,2,5,3] x, float[2,4,5] u", 4)],
)
def test_both_factors(inputs, rank):
    own = 3 if rank == 4 else rank
    proto = model(f"a = {swapped(rank)}(x) b = {swapped(own)}(u) m = MatMul(a, b) y = {swapped(rank)}(m)", inputs)
    assert_near(proto, STEP, ["MatMul"], PRODUCT, sizes={"n": 2})


@pytest.mark.parametrize("body", ["MatMul(a, w)", "MatMul(v, a)"])
def test_a_constant_factor(body):
    given = {"w": W} if "w" in body else {"v": W}
    proto = model(
        f"a = {swapped(3)}(x) m = {body} y = {swapped(3)}(m)",
        "float[2,3,5] x" if "w" in body else "float[2,5,4] x",
        initializers=given,
    )
    assert_near(proto, STEP, ["MatMul"], PRODUCT)


@pytest.mark.parametrize(
    "body",
    [
        "m = MatMul(x, w) y = Transpose<perm = [0, 2, 1]>(m)",
        "a = Transpose<perm = [0, 2, 1]>(u) m = MatMul(a, w) y = Transpose<perm = [1, 0, 2]>(m)",
        "a = Transpose<perm = [0, 2, 1]>(u) m = MatMul(a, w) t = Transpose<perm = [0, 2, 1]>(m) y = Concat<axis = 1>(t, v, m)",
        "a = Transpose<perm = [0, 2, 1]>(u) m = MatMul(a, v) y = Transpose<perm = [0, 2, 1]>(m)",
    ],
    ids=["nothing saved", "other axes", "two readers", "not constant"],
)
def test_other_products_stay(body):
    inputs = {"x": "float[2,5,3] x", "u": "float[2,3,4] u", "v": "float[2,3,4] v"}
    used = [text for name, text in inputs.items() if f"({name}" in body or f", {name}" in body]
    given = {"w": W} if "w)" in body else {}
    assert_untouched(model(body, ", ".join(used), "float[?,?,?] y", initializers=given), STEP)
