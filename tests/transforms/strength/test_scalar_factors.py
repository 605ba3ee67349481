"""Factors of one number go into weights, or to one side of a product."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = ReduceStrength()
RULE = {"move-factor-into-weights": 1}
RNG = np.random.default_rng(3)


def floats(**shapes):
    return {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def number(value, dtype=np.float32, shape=()):
    return np.full(shape, value, dtype)


TO = {"to": np.array([-1, 2, 2, 3], np.int64)}


@pytest.mark.parametrize(
    ("body", "ops", "weights"),
    [
        ("a = MatMul(x, w) y = Mul(a, c)", ["MatMul"], {"w": (4, 6)}),
        ("a = MatMul(x, w) y = Div(a, c)", ["MatMul"], {"w": (4, 6)}),
        ("a = MatMul(x, w) b = Add(a, t) y = Mul(c, b)", ["MatMul", "Add"], {"w": (4, 6), "t": (6,)}),
        ("a = MatMul(x, w) b = Sub(t, a) y = Mul(c, b)", ["MatMul", "Sub"], {"w": (4, 6), "t": (6,)}),
        ("a = Gemm<beta=0.5>(x, w, t) y = Mul(a, c)", ["Gemm"], {"w": (4, 6), "t": (6,)}),
        (
            "a = MatMul(x, w) b = Reshape(a, to) d = Transpose<perm=[0,2,1,3]>(b) y = Mul(d, c)",
            ["MatMul", "Reshape", "Transpose"],
            {"w": (4, 12)},
        ),
        ("a = MatMul(x, w) b = MatMul(a, z) y = Mul(b, c)", ["MatMul", "MatMul"], {"w": (4, 6)}),
        ("a = MatMul(x, w) b = MatMul(z, a) y = Mul(b, c)", ["MatMul", "MatMul"], {"w": (4, 6)}),
        ("a = MatMul(x, w) b = ReduceMean(a) y = Mul(b, c)", ["MatMul", "ReduceMean"], {"w": (4, 6)}),
        ("a = Mul(w, x) b = Transpose(a) y = Mul(b, c)", ["Mul", "Transpose"], {"w": (4,)}),
    ],
)
def test_factors_go_into_weights(body, ops, weights):
    given = floats(**weights) | {"c": number(0.125), **TO}
    z = ", float[6,5] z" if "MatMul(a, z)" in body else ", float[5,2] z" if "MatMul(z, a)" in body else ""
    given = {name: array for name, array in given.items() if name in body}
    assert_near(model(body, f"float[2,4] x{z}", initializers=given), STEP, ops, RULE)


def test_factors_go_into_filters_and_tables():
    body = "a = Conv(x, w, t) b = Flatten(a) y = Mul(b, c)"
    given = floats(w=(3, 2, 3), t=(3,)) | {"c": number(-2.5)}
    assert_near(model(body, "float[1,2,5] x", initializers=given), STEP, ["Conv", "Flatten"], RULE)
    table = floats(w=(7, 4)) | {"c": number(8.0, shape=(1,)), "i": np.array([3, 1], np.int64)}
    proto = model("r = Neg(x) a = Gather(w, i) s = Mul(a, c) y = Add(r, s)", "float[2,4] x", initializers=table)
    assert_near(proto, STEP, ["Neg", "Gather", "Add"], RULE)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("a = MatMul(x, w) y = Mul(a, c) z = Exp(a)", "float[2,6] y, float[2,6] z"),  # the product has another reader
        ("a = MatMul(x, w) y = Mul(a, c)", "float[2,6] y, float[2,6] a"),  # it is given out
        ("a = MatMul(x, w) b = Exp(a) y = Mul(b, c)", "float[2,6] y"),  # not linear
        ("a = MatMul(x, w) y = Div(c, a)", "float[2,6] y"),  # the number is divided
        ("a = MatMul(x, w) b = Add(a, x2) y = Mul(b, c)", "float[2,6] y"),  # the term is not constant
    ],
)
def test_what_is_not_a_factor_of_weights_stays(body, outputs):
    given = floats(w=(4, 6)) | {"c": number(0.125)}
    assert_untouched(model(body, "float[2,4] x, float[2,6] x2", outputs, initializers=given), STEP)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e-6, 1e6])
def test_extreme_factors_stay(value):
    given = floats(w=(4, 6)) | {"c": number(value)}
    assert_untouched(model("a = MatMul(x, w) y = Mul(a, c)", "float[2,4] x", initializers=given), STEP)


def test_factors_that_are_inputs_vectors_or_raise_the_rank_stay():
    body = "a = MatMul(x, w) y = Mul(a, c)"
    assert_untouched(model(body, "float[2,4] x, float c", initializers=floats(w=(4, 6))), STEP)
    assert_untouched(model(body, "float[2,4] x", initializers=floats(w=(4, 6), c=(6,))), STEP)
    assert_untouched(
        model(body, "float[2,4] x", initializers=floats(w=(4, 6)) | {"c": number(2, shape=(1, 1, 1))}), STEP
    )


def test_weights_that_others_read_stay_unless_small():
    body = "a = MatMul(x, w) y = Mul(a, c) z = MatMul(x, w)"
    small = floats(w=(4, 6)) | {"c": number(2)}
    assert_near(
        model(body, "float[2,4] x", "float[2,6] y, float[2,6] z", initializers=small), STEP, ["MatMul"] * 2, RULE
    )
    large = floats(w=(4, 100)) | {"c": number(2)}
    assert_untouched(model(body, "float[2,4] x", "float[2,100] y, float[2,100] z", initializers=large), STEP)


def test_what_overflows_in_half_precision_stays():
    given = {"w": np.full((4, 6), 6e4, np.float16), "c": number(2, np.float16)}
    proto = model("a = MatMul(x, w) y = Mul(a, c)", "float16[2,4] x", "float16[2,6] y", initializers=given)
    assert_untouched(proto, STEP)


@pytest.mark.parametrize(
    ("left", "c", "right", "d", "factor"),
    [
        ("Mul", 1, "Mul", 0.5, 0.5),
        ("Div", 4, "Mul", 0.5, 0.125),
        ("Mul", 1, "Div", 0.5, 2),
        ("Div", 4, "Div", 0.5, 0.5),
    ],
)
def test_two_factors_of_a_product_are_one(left, c, right, d, factor):
    body = f"p = {left}(a, c) q = {right}(b, d) y = MatMul(p, q)"
    numbers = {"c": number(c), "d": number(d)}
    outcome = assert_near(
        model(body, "float[2,3] a, float[3,4] b", initializers=numbers), STEP, ["Mul", "MatMul"], {"join-factors": 1}
    )
    (constant,) = outcome.after.graph.initializer
    assert factor == np.frombuffer(constant.raw_data, np.float32)[0]


def test_factors_of_other_types_or_read_by_others_stay():
    body = "p = Mul(a, c) q = Mul(b, c) y = MatMul(p, q) z = Neg(p)"
    proto = model(body, "float[2,3] a, float[3,4] b", "float[2,4] y, float[2,3] z", initializers={"c": number(2)})
    assert_untouched(proto, STEP)
    body = "p = Mul(a, c) q = Mul(b, c) y = MatMul(p, q)"
    given = {"c": np.array(2, np.int64)}
    assert_untouched(model(body, "int64[2,3] a, int64[3,4] b", "int64[2,4] y", initializers=given), STEP)
