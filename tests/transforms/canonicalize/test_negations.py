"""Sums with negated terms."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()


@pytest.mark.parametrize("dtype", ["float", "double", "float16", "int32", "int64"])
@pytest.mark.parametrize(
    ("body", "ops", "rule"),
    [
        ("n = Neg(x) y = Add(n, z)", ["Sub"], "subtract-negated"),
        ("n = Neg(x) y = Add(z, n)", ["Sub"], "subtract-negated"),
        ("n = Neg(x) y = Sub(z, n)", ["Add"], "subtract-negated"),
    ],
)
@pytest.mark.parametrize("shape", ["40", "1", "2,40", "n"])
def test_negated_terms_are_subtracted(dtype, body, ops, rule, shape):
    proto = model(body, f"{dtype}[40] x, {dtype}[{shape}] z", f"{dtype}[*] y")
    assert_exact(proto, STEP, ops, {rule: 1}, sizes={"n": 1})


def test_the_complement_of_a_gate():
    proto = model("s = Sigmoid(x) n = Neg(s) y = Add(n, one)", opset=14, initializers={"one": np.array(1, np.float32)})
    assert_exact(proto, STEP, ["Sigmoid", "Sub"], {"subtract-negated": 1})


@pytest.mark.parametrize(
    ("body", "outputs", "opset"),
    [
        ("n = Neg(x) y = Add(n, z)", "float[*] y, float[2,3] n", 17),
        ("n = Neg(x) a = Add(n, z) y = Mul(a, n)", "float[*] y", 17),
        ("n = Neg(x) y = Sub(n, z)", "float[*] y", 17),
        ("n = Neg(x) y = Mul(n, z)", "float[*] y", 17),
        ("n = Neg(x) y = Add(n, z)", "float[*] y", 6),
    ],
)
def test_other_sums_stay(body, outputs, opset):
    assert_untouched(model(body, "float[2,3] x, float[2,3] z", outputs, opset=opset), STEP)


@pytest.mark.parametrize("dtype", ["float", "double", "int64"])
@pytest.mark.parametrize(
    ("body", "ops", "rule"),
    [
        ("n = Mul(x, m) y = Add(z, n)", ["Sub"], "subtract-negated"),
        ("n = Mul(m, x) y = Sub(z, n)", ["Add"], "subtract-negated"),
        ("n = Mul(x, m) y = Add(n, z)", ["Sub"], "subtract-negated"),
    ],
)
def test_products_with_minus_one(dtype, body, ops, rule):
    minus = {"m": np.array(-1, {"float": np.float32, "double": np.float64, "int64": np.int64}[dtype])}
    proto = model(body, f"{dtype}[40] x, {dtype}[2,40] z", f"{dtype}[*] y", initializers=minus)
    assert_exact(proto, STEP, ops, {rule: 1})


@pytest.mark.parametrize(
    ("body", "given"),
    [
        ("n = Mul(x, m) y = Add(z, n)", np.array(-2, np.float32)),
        ("n = Mul(x, m) y = Add(z, n)", -np.ones((1, 1, 1), np.float32)),
        ("c = MatMul(x, w) n = Mul(c, m) y = Add(z, n)", np.array(-1, np.float32)),
    ],
    ids=["another number", "more axes", "weights"],
)
def test_other_products_stay(body, given):
    weights = {"w": np.eye(3, dtype=np.float32)} if "w)" in body else {}
    proto = model(body, "float[2,3] x, float[2,3] z", "float[*] y", initializers={"m": given, **weights})
    assert_untouched(proto, STEP)
