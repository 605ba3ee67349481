"""Reshapes around operators that compute element by element."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()
RULE = {"merge-reshapes-around-elementwise": 1}


def targets(first, second, **more):
    return {"first": np.array(first, np.int64), "second": np.array(second, np.int64), **more}


@pytest.mark.parametrize("opset", [7, 13, 21])
def test_back_to_the_same_shape(opset):
    body = "a = Reshape(x, first) b = Relu(a) d = Mul(b, c) e = Reshape(d, second) y = Exp(e)"
    given = targets([-1, 4], [2, 3, 4], c=np.array(0.5, np.float32))
    proto = model(body, "float[2,3,4] x", opset=opset, initializers=given)
    assert_exact(proto, STEP, ["Relu", "Mul", "Exp"], RULE)


def test_on_to_another_shape():
    body = "a = Reshape(x, first) b = Sub(c, a) d = Reshape(b, second) y = Exp(d)"
    given = targets([-1, 4], [4, 6], c=np.array(0.5, np.float32))
    assert_exact(
        model(body, "float[N,3,4] x", initializers=given), STEP, ["Sub", "Reshape", "Exp"], RULE, sizes={"N": 2}
    )


def test_softmax_along_a_last_axis_that_stays():
    body = "a = Reshape(x, first) b = Softmax<axis=2>(a) d = Reshape(b, second) y = Exp(d)"
    proto = model(body, "float[2,3,5,4] x", initializers=targets([6, 5, 4], [2, 3, 5, 4]))
    assert_exact(proto, STEP, ["Softmax", "Exp"], RULE)
    other = model(body, "float[2,3,5,4] x", initializers=targets([2, 3, 20], [2, 3, 5, 4]))
    assert_untouched(other, STEP)
    other = model(body.replace("axis=2", "axis=1"), "float[2,3,5,4] x", initializers=targets([6, 5, 4], [2, 3, 5, 4]))
    assert_untouched(other, STEP)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("a = Reshape(x, first) b = Relu(a) y = Reshape(b, second)", "float[4,6] y, float[6,4] b"),  # it is given out
        ("a = Reshape(x, first) b = Relu(a) y = Reshape(b, second) z = Neg(b)", "float[4,6] y, float[6,4] z"),
        ("a = Reshape(x, first) b = Relu(a) y = Reshape(b, second) z = Neg(a)", "float[4,6] y, float[6,4] z"),
        ("a = Reshape(x, first) b = Mul(a, v) y = Reshape(b, second)", "float[4,6] y"),  # not one number
        ("a = Reshape(x, first) b = Mul(a, w) y = Reshape(b, second)", "float[4,6] y"),  # raises the rank
        ("a = Reshape(x, first) b = CumSum(a, i) y = Reshape(b, second)", "float[4,6] y"),
        ("a = Relu(x) y = Reshape(a, second)", "float[4,6] y"),
    ],
)
def test_others_stay(body, outputs):
    given = targets(
        [6, 4], [4, 6], v=np.arange(2, 6, dtype=np.float32), w=np.ones((1, 1, 1), np.float32), i=np.array(0, np.int64)
    )
    given = {name: array for name, array in given.items() if f", {name})" in body}
    assert_untouched(model(body, "float[2,3,4] x", outputs, initializers=given), STEP)


def test_a_shared_first_reshape_stays_where_the_second_goes():
    body = "a = Reshape(x, first) b = Relu(a) c = Reshape(b, second) y = Exp(c) z = Neg(a)"
    proto = model(body, "float[2,3,4] x", "float[2,3,4] y, float[6,4] z", initializers=targets([6, 4], [2, 3, 4]))
    assert_exact(proto, STEP, ["Reshape", "Relu", "Exp", "Neg"], RULE)
