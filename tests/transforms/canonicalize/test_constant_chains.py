"""Chains of constants that are added or multiplied: integers exactly, floats up to rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.canonicalize import Canonicalize, CanonicalizeAlgebra
from tests.transforms.harness import PROPERTY, assert_exact, assert_near, assert_untouched, model

STEP, ALGEBRA = Canonicalize(), CanonicalizeAlgebra()
TERMS, FACTORS = {"merge-terms": 1}, {"merge-factors": 1}


def floats(**numbers):
    return {name: np.array(number, np.float32) for name, number in numbers.items()}


@pytest.mark.parametrize(
    ("body", "op", "applied"),
    [
        ("t = Add(x, a) y = Add(t, b)", "Add", TERMS),
        ("t = Add(a, x) y = Sub(t, b)", "Add", TERMS),
        ("t = Sub(x, a) y = Add(b, t)", "Add", TERMS),
        ("t = Sub(a, x) y = Add(t, b)", "Sub", TERMS),
        ("t = Sub(a, x) y = Sub(b, t)", "Add", TERMS),
        ("t = Sub(x, a) y = Sub(b, t)", "Sub", TERMS),
        ("t = Mul(x, a) y = Mul(b, t)", "Mul", FACTORS),
        ("t = Div(x, a) y = Mul(b, t)", "Mul", FACTORS),
        ("t = Mul(x, a) y = Div(t, b)", "Mul", FACTORS),
        ("t = Div(x, a) y = Div(t, b)", "Mul", FACTORS),
    ],
)
@pytest.mark.parametrize("shapes", [((), ()), ((1,), (3,)), ((3,), ()), ((2, 3), (3,)), ((2, 1), (2, 1))])
def test_floats_merge(body, op, applied, shapes):
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(1, 2, shape).astype(np.float32) for shape in shapes)
    assert_near(model(body, initializers={"a": a, "b": b * 4}), ALGEBRA, [op], applied, rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "a", "b"),
    [
        ("t = Div(a, x) y = Mul(t, b)", 2, 3),
        ("t = Mul(x, a) y = Div(b, t)", 2, 3),
        ("t = Mul(x, a) y = Add(t, b)", 2, 3),
        ("t = Mul(x, a) y = Mul(t, b)", np.ones((2, 1)), np.ones((1, 3))),  # the merged one would be larger
        ("t = Mul(x, a) y = Mul(t, b)", 0, 3),
        ("t = Mul(x, a) y = Mul(t, b)", np.inf, 3),
        ("t = Mul(x, a) y = Mul(t, b)", 1e30, 1e-30),
        ("t = Add(x, a) y = Sub(t, b)", 12582912.0, 12582912.0),  # how models round to integers
        ("t = Add(x, a) y = Sub(t, b)", 3.0, 2.9),
        ("t = Add(x, a) y = Add(t, b)", np.nan, 1),
    ],
)
def test_other_chains_stay(body, a, b):
    assert_untouched(model(body, initializers=floats(a=a, b=b)), ALGEBRA)


def test_floats_are_left_to_the_other_pass():
    assert_untouched(model("t = Add(x, a) y = Add(t, b)", initializers=floats(a=1, b=2)), STEP)


def test_shared_and_given_out_values_stay():
    constants = floats(a=1, b=2)
    assert_untouched(
        model("t = Add(x, a) y = Add(t, b)", outputs="float[2,3] y, float[2,3] t", initializers=constants), ALGEBRA
    )
    body = "t = Add(x, a) y = Add(t, b) z = Exp(t)"
    assert_untouched(model(body, outputs="float[2,3] y, float[2,3] z", initializers=constants), ALGEBRA)


def test_large_shared_constants_are_not_copied():
    large = np.ones((20, 30), np.float32)
    body = "t = Add(x, a) y = Add(t, b) z = Mul(x, a)"
    proto = model(body, "float[20,30] x", "float[20,30] y, float[20,30] z", initializers={"a": large, "b": large * 2})
    assert_untouched(proto, ALGEBRA)


def test_long_chains_become_one():
    body = "p = Add(x, a) q = Add(p, b) r = Add(q, a) y = Sub(r, c)"
    assert_near(model(body, initializers=floats(a=1, b=2, c=-4)), ALGEBRA, ["Add"], {"merge-terms": 3}, rtol=1e-6)


INTEGERS = st.integers(-(1 << 31), (1 << 31) - 1)


@PROPERTY
@given(
    first=st.sampled_from(["Add(x, a)", "Add(a, x)", "Sub(x, a)", "Sub(a, x)"]),
    second=st.sampled_from(["Add(t, b)", "Add(b, t)", "Sub(t, b)", "Sub(b, t)"]),
    a=INTEGERS,
    b=INTEGERS,
)
def test_integer_terms_wrap_around(first, second, a, b):
    """A sum of zero goes as well."""
    constants = {"a": np.array(a, np.int32), "b": np.array(b, np.int32)}
    proto = model(f"t = {first} u = {second} y = Neg(u)", "int32[9] x", "int32[9] y", initializers=constants)
    signs = (-1 if first == "Sub(a, x)" else 1) * (-1 if second == "Sub(b, t)" else 1)
    term = (-a if first == "Sub(x, a)" else a) * (-1 if second == "Sub(b, t)" else 1) + (
        -b if second == "Sub(t, b)" else b
    )
    applied = {"merge-integer-terms": 1}
    alone = (a == 0 and first != "Sub(a, x)") or (b == 0 and second != "Sub(b, t)")
    if alone or (signs > 0 and term % (1 << 32) == 0):
        return  # an operand that changes nothing goes by itself
    assert_exact(proto, STEP, ["Add" if signs > 0 else "Sub", "Neg"], applied)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint64"])
def test_integer_factors_wrap_around(dtype):
    largest = np.array(np.iinfo(dtype).max, dtype)
    proto = model(
        "t = Mul(x, a) y = Mul(b, t)",
        f"{dtype}[9] x",
        f"{dtype}[9] y",
        initializers={"a": largest, "b": largest - largest // 3},
    )
    assert_exact(proto, STEP, ["Mul"], {"merge-integer-factors": 1})


def test_integer_divisions_stay():
    constants = {"a": np.int64(2), "b": np.int64(3)}
    for step in (STEP, ALGEBRA):
        assert_untouched(model("t = Mul(x, a) y = Div(t, b)", "int64[4] x", "int64[4] y", initializers=constants), step)
        assert_untouched(model("t = Div(x, a) y = Div(t, b)", "int64[4] x", "int64[4] y", initializers=constants), step)
