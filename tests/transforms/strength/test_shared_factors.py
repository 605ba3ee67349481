"""Terms multiply once by what they share."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, assert_untouched, model, transform

STEP = ReduceStrength()
RNG = np.random.default_rng(0)
GIVEN = {
    "c": RNG.uniform(1, 2, 3).astype(np.float32),
    "d": RNG.uniform(1, 2, 3).astype(np.float32),
    "w": RNG.normal(size=(3, 2)).astype(np.float32),
    "v": RNG.normal(size=(3, 2)).astype(np.float32),
    "t": RNG.normal(size=(3, 1)).astype(np.float32),
    "zero": np.array([1, 0, 1], np.float32),
    "huge": np.array(1e6, np.float32),
    "k": RNG.normal(size=(2, 2, 1, 1)).astype(np.float32),
}


def made(body, inputs="float[2,3] x, float[2,3] z", outputs="float[*] y", opset=17):
    given = {name: array for name, array in GIVEN.items() if f", {name})" in body or f"({name}, " in body}
    return model(body, inputs, outputs, opset=opset, initializers=given)


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("a = Mul(x, c) b = Mul(z, c) y = Add(a, b)", ["Add", "Mul"]),
        ("a = Mul(c, x) b = Mul(z, c) y = Sub(a, b)", ["Sub", "Mul"]),
        ("a = MatMul(x, w) b = MatMul(z, w) y = Add(a, b)", ["Add", "MatMul"]),
        ("a = MatMul(x, w) b = MatMul(z, w) y = Sub(a, b)", ["Sub", "MatMul"]),
    ],
)
@pytest.mark.parametrize("opset", [7, 13, 21])
def test_terms_with_one_factor(body, ops, opset):
    assert_near(made(body, opset=opset), STEP, ops, {"multiply-once": 1})


@pytest.mark.parametrize("inputs", ["float[2,1] x, float[3] z", "float[n,3] x, float[2,1,3] z"])
def test_terms_that_broadcast(inputs):
    proto = made("a = Mul(x, c) b = Mul(z, c) y = Add(a, b)", inputs)
    assert_near(proto, STEP, ["Add", "Mul"], {"multiply-once": 1}, sizes={"n": 1})


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("a = Mul(x, c) b = Mul(z, d) y = Add(a, b)", None),
        ("a = Mul(x, zero) b = Mul(z, zero) y = Add(a, b)", None),
        ("a = Mul(x, huge) b = Mul(z, huge) y = Add(a, b)", None),
        ("a = Mul(x, u) b = Mul(z, u) y = Add(a, b)", "float[2,3] x, float[2,3] z, float[2,3] u"),
        ("a = Mul(x, c) b = Mul(z, c) e = Add(a, b) y = Mul(e, a)", None),
        ("a = MatMul(x, w) b = MatMul(z, w) y = Add(a, b)", "float[2,3] x, float[1,3] z"),
        ("a = MatMul(x, w) b = MatMul(z, v) y = Add(a, b)", None),
    ],
    ids=["two factors", "zero", "huge", "not constant", "two readers", "broadcast", "two matrices"],
)
def test_other_terms_stay(body, inputs):
    assert_untouched(made(body, inputs or "float[2,3] x, float[2,3] z"), STEP)


def test_a_factor_that_belongs_into_weights_goes_there():
    proto = made("p = Conv(x, k) a = Mul(p, c) b = Mul(z, c) y = Add(a, b)", "float[1,2,3,3] x, float[1,2,3,3] z")
    assert "multiply-once" not in transform(proto, STEP).applied


@pytest.mark.parametrize("shape", ["2,3", "3", "2,n,3"])
def test_one_tensor_and_two_matrices(shape):
    proto = made("a = MatMul(x, w) b = MatMul(x, v) y = Add(a, b)", f"float[{shape}] x")
    assert_near(proto, STEP, ["MatMul"], {"add-weights": 1}, sizes={"n": 2})


@pytest.mark.parametrize(
    "body",
    [
        "a = MatMul(x, w) b = MatMul(x, t) y = Add(a, b)",
        "a = MatMul(x, w) b = MatMul(x, v) e = MatMul(x, w) f = Add(a, b) y = Mul(f, e)",
        "a = MatMul(x, w) b = MatMul(x, v) y = Mul(a, b)",
    ],
    ids=["shapes", "shared", "product"],
)
def test_other_matrices_stay(body):
    assert_untouched(made(body, "float[2,3] x"), STEP)
