"""Factors of one tensor are added up, products with one-hot tensors are lookups."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = ReduceStrength()
COLLECT, LOOK_UP = {"collect-factors": 1}, {"look-up-one-hot": 1}


def numbers(**values):
    return {name: np.array(value, np.float32) for name, value in values.items()}


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("p = Mul(x, a) q = Mul(b, x) y = Add(p, q)", numbers(a=2, b=0.5)),
        ("p = Mul(x, a) q = Mul(x, b) y = Add(p, q)", numbers(a=-2, b=[-1, -2, -3])),
        ("p = Mul(x, a) y = Add(p, x)", numbers(a=2)),
        ("p = Mul(a, x) y = Add(x, p)", numbers(a=[1, 2, 3])),
    ],
)
def test_factors_of_one_tensor_are_added_up(body, constants):
    assert_near(model(body, "float[2,3] x, float[2,3] z", initializers=constants), STEP, ["Mul"], COLLECT)


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("p = Mul(x, a) q = Mul(x, b) y = Add(p, q)", numbers(a=2, b=-1)),  # infinities would differ
        ("p = Mul(x, a) q = Mul(z, b) y = Add(p, q)", numbers(a=2, b=1)),  # two tensors
        ("p = Mul(x, a) q = Mul(x, z) y = Add(p, q)", numbers(a=2)),  # not constant
        ("p = Mul(x, a) q = Mul(x, b) y = Add(p, q)", numbers(a=2, b=0)),
        ("p = Mul(x, a) q = Mul(x, b) y = Add(p, q)", numbers(a=2, b=np.inf)),
        ("p = Mul(x, a) q = Mul(x, b) y = Add(p, q)", numbers(a=[1, 2, 3], b=[[1], [2]])),  # other shapes
        ("p = Mul(x, a) y = Sub(p, x)", numbers(a=2)),
    ],
)
def test_other_sums_stay(body, constants):
    assert_untouched(model(body, "float[2,3] x, float[2,3] z", initializers=constants), STEP)


def test_products_that_others_read_stay():
    body = "p = Mul(x, a) q = Mul(x, b) y = Add(p, q)"
    outputs = "float[2,3] y, float[2,3] p, float[2,3] q"
    assert_untouched(model(body, "float[2,3] x", outputs, initializers=numbers(a=2, b=1)), STEP)


def one_hot(front="i = ArgMax<axis=-1, keepdims=0>(x)", *, shape="2,4", depth=4, on=1.0, bad=0.0, axis=-1):
    weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    weights[0, 0] += bad
    more = ", int64[2] i" if not front else ""
    return model(
        f"{front} o = OneHot<axis={axis}>(i, d, v) y = MatMul(o, w)",
        f"float[{shape}] x{more}",
        "float[*] y",
        initializers={"d": np.array(depth), "v": np.array([0, on], np.float32), "w": weights},
    )


def test_what_is_certainly_inside_is_looked_up():
    assert_near(one_hot(), STEP, ["ArgMax", "Gather"], LOOK_UP)
    assert_near(one_hot("i = ArgMin<axis=0>(x)", shape="3,4"), STEP, ["ArgMin", "Gather"], LOOK_UP)


@pytest.mark.parametrize(
    "proto",
    [
        one_hot(""),  # a place may be outside
        one_hot(shape="2,N"),
        one_hot(shape="2,5"),
        one_hot(on=2.0),
        one_hot(bad=np.nan),
        one_hot(bad=np.inf),
    ],
)
def test_other_products_stay(proto):
    assert_untouched(proto, STEP)
