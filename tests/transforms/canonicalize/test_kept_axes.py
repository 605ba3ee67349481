"""Reductions keep the axes that come back behind them, and drop those that go."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()
RULE = {"move-axes-into-reduction": 1}
AXES = {"one": np.array([1], np.int64), "back": np.array([-1], np.int64), "two": np.array([2, 1], np.int64)}


def named(*names):
    return {name: AXES[name] for name in names}


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax"])
def test_axes_that_come_back(op):
    body = f"r = {op} <keepdims: int = 0> (x, one) y = Unsqueeze(r, one)"
    assert_exact(model(body, "float[2,3,4] x", "float[2,1,4] y", initializers=named("one")), STEP, [op], RULE)


@pytest.mark.parametrize("axes", ["[1]", "[-2]"])
def test_axes_as_attributes(axes):
    body = f"r = ReduceMean <axes: ints = {axes}, keepdims: int = 0> (x) y = Unsqueeze <axes: ints = [1]> (r)"
    assert_exact(model(body, "float[2,N,4] x", "float[2,1,4] y", opset=11), STEP, ["ReduceMean"], RULE, sizes={"N": 3})


def test_several_axes_in_any_order():
    other = {"other": np.array([1, -1], np.int64)}
    body = "r = ReduceSum <keepdims: int = 0> (x, two) y = Unsqueeze(r, other)"
    assert_exact(
        model(body, "float[2,3,4] x", "float[2,1,1] y", initializers=named("two") | other), STEP, ["ReduceSum"], RULE
    )


def test_axes_that_a_reshape_brings_back():
    body = "r = ReduceSum <keepdims: int = 0> (x, back) y = Reshape(r, to)"
    to = {"to": np.array([2, 3, 1], np.int64)}
    assert_exact(
        model(body, "float[2,3,4] x", "float[2,3,1] y", initializers=named("back") | to), STEP, ["ReduceSum"], RULE
    )


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMin"])
def test_axes_that_go(op):
    body = f"r = {op}(x, one) y = Squeeze(r, one)"
    assert_exact(model(body, "float[2,3,4] x", "float[2,4] y", initializers=named("one")), STEP, [op], RULE)


def test_index_of_the_largest():
    body = "r = ArgMax <axis: int = -1> (x) y = Squeeze(r, back)"
    assert_exact(model(body, "float[2,3,4] x", "int64[2,3] y", initializers=named("back")), STEP, ["ArgMax"], RULE)


@pytest.mark.parametrize(
    ("body", "names", "out"),
    [
        ("r = ReduceSum <keepdims: int = 0> (x, one) y = Unsqueeze(r, back)", ("one", "back"), "2,4,1"),
        ("r = ReduceSum <keepdims: int = 0> (x, two) y = Unsqueeze(r, one)", ("one", "two"), "2,1"),
        ("r = ReduceSum(x, two) y = Squeeze(r, one)", ("one", "two"), "2,1"),
        ("r = ReduceSum(x, one) y = Unsqueeze(r, one)", ("one",), "2,1,1,4"),
    ],
)
def test_other_axes_stay(body, names, out):
    assert_untouched(model(body, "float[2,3,4] x", f"float[{out}] y", initializers=named(*names)), STEP)


def test_a_sum_with_other_users_stays():
    body = "r = ReduceSum <keepdims: int = 0> (x, one) y = Unsqueeze(r, one) k2 = Neg(r)"
    proto = model(body, "float[2,3,4] x", "float[2,1,4] y, float[2,4] k2", initializers=named("one"))
    assert_untouched(proto, STEP)


def test_an_unknown_rank_stays():
    body = "r = ReduceSum <keepdims: int = 0> (x, one) y = Unsqueeze(r, one)"
    assert_untouched(model(body, "float[*] x", "float[*] y", initializers=named("one")), STEP)
