"""Powers and reciprocals by operators that cost less."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_close, assert_untouched, model, run, transform

STEP = ReduceStrength()
X = "float[2,3] x"


def number(value, dtype=np.float32, shape=()):
    return np.full(shape, value, dtype)


def assert_positive(proto, ops, applied):
    """On positive numbers, which have every power."""
    found = transform(proto, STEP)
    assert (ops, applied) == (found.ops, found.applied)
    rng = np.random.default_rng(0)
    feeds = {
        info.name: rng.uniform(0.5, 4, [dim.dim_value for dim in info.type.tensor_type.shape.dim]).astype(np.float32)
        for info in proto.graph.input
    }
    assert_close(run(proto, feeds), run(found.after, feeds), 1e-6)


@pytest.mark.parametrize(("exponent", "op"), [(2, "Mul"), (0.5, "Sqrt"), (-1, "Reciprocal")])
@pytest.mark.parametrize("opset", [7, 12, 15, 21])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_powers(exponent, op, opset, shape):
    proto = model("y = Pow(x, e)", X, opset=opset, initializers={"e": number(exponent, shape=shape)})
    assert_positive(proto, [op], {"use-simple-power": 1})


@pytest.mark.parametrize(
    ("body", "given"),
    [
        ("y = Pow(x, e)", {"e": number(3)}),
        ("y = Pow(x, e)", {"e": number(2, shape=(3,))}),
        ("y = Pow(x, e)", {"e": number(2, shape=(1, 1, 1))}),
        ("p = Pow(x, e) y = ReduceMean<axes = [-1]>(p)", {"e": number(2)}),
    ],
    ids=["cube", "many", "more axes", "mean"],
)
def test_other_powers_stay(body, given):
    assert_untouched(model(body, X, "float[*] y", opset=13, initializers=given), STEP)


def test_integers_stay():
    proto = model("y = Pow(x, e)", "int64[3] x", "int64[3] y", initializers={"e": number(2, np.int64)})
    assert_untouched(proto, STEP)


@pytest.mark.parametrize("body", ["Mul(z, r)", "Mul(r, z)"])
def test_products_with_a_reciprocal(body):
    assert_positive(model(f"r = Reciprocal(x) y = {body}", f"{X}, float[2,3] z"), ["Div"], {"divide-once": 1})


def test_other_reciprocals_stay():
    assert_untouched(model("r = Reciprocal(x) a = Mul(z, r) y = Add(a, r)", f"{X}, float[2,3] z"), STEP)
    assert_untouched(model("r = Reciprocal(x) y = Mul(c, r)", X, initializers={"c": number(2, shape=(3,))}), STEP)


@pytest.mark.parametrize("body", ["Mul(z, r)", "Mul(r, z)"])
def test_a_product_with_the_inverse_of_a_root_is_a_quotient(body):
    """As older exporters spell the root mean square of T5 and Llama."""
    given = {"one": number(1)}
    proto = model(f"q = Sqrt(x) r = Div(one, q) y = {body}", f"{X}, float[2,3] z", initializers=given)
    assert_positive(proto, ["Sqrt", "Div"], {"divide-by-root": 1})


@pytest.mark.parametrize(
    ("body", "one"),
    [
        ("q = Sqrt(x) r = Div(one, q) y = Mul(z, r)", number(2)),
        ("q = Sqrt(x) r = Div(one, q) y = Mul(z, r)", number(1, shape=(1, 1, 1))),
        ("q = Sqrt(x) r = Div(q, one) y = Mul(z, r)", number(1, shape=(1, 1, 1))),
        ("q = Exp(x) r = Div(one, q) y = Mul(z, r)", number(1)),
        ("q = Sqrt(x) r = Div(one, q) a = Mul(z, r) y = Add(a, r)", number(1)),
        ("q = Sqrt(x) r = Div(one, q) y = Mul(one, r)", number(1)),
    ],
    ids=["two", "more axes", "turned", "no root", "read twice", "constant"],
)
def test_other_quotients_by_a_root_stay(body, one):
    """Near misses: each differs by one thing."""
    assert_untouched(model(body, f"{X}, float[2,3] z", initializers={"one": one}), STEP)
