"""A softmax that is spelled out."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = ReduceStrength()


def spelled(axis=-1, opset=17, largest=None, total="ReduceSum<keepdims = 1>(e, k)", extra="", second=None):
    if largest is None:
        largest = "ReduceMax<keepdims = 1>(x, k)" if opset >= 18 else f"ReduceMax<keepdims = 1, axes = {[axis]}>(x)"
    body = f"m = {largest} d = Sub(x, m) e = Exp(d) s = {total} y = Div(e, s) {extra}"
    return model(
        body,
        "float[2,3,4] x",
        "float[*] y" + (", float[*] z" if extra else ""),
        opset=opset,
        initializers={"k": np.array([axis if second is None else second])},
    )


@pytest.mark.parametrize("axis", [-1, 0, 1, 2])
@pytest.mark.parametrize("opset", [13, 17, 18, 21])
def test_each_axis(axis, opset):
    assert_near(spelled(axis, opset), STEP, ["Softmax"], {"use-softmax": 1})


@pytest.mark.parametrize(
    "proto",
    [
        spelled(second=0),
        spelled(total="ReduceSum<keepdims = 1>(d, k)"),
        spelled(largest="ReduceMin<keepdims = 1, axes = [-1]>(x)"),
        spelled(largest="ReduceMax<keepdims = 1, axes = [1, 2]>(x)"),
        spelled(extra="z = Neg(e)"),
    ],
    ids=["another axis", "another sum", "smallest", "two axes", "three readers"],
)
def test_others_stay(proto):
    assert_untouched(proto, STEP)
