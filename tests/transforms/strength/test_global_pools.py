"""The mean of an image that convolutions gave."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = ReduceStrength()
RULE = {"pool-instead-of-mean": 1}
W = {"w": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)}


def mean(axes, between="", last="c", keep=1, opset=17, first="c = Conv(x, w)"):
    text = f"ReduceMean<keepdims = {keep}, axes = {axes}>({last})"
    given = dict(W) if ", w)" in first else {}
    if opset >= 18:
        text, given = f"ReduceMean<keepdims = {keep}>({last}, k)", {**given, "k": np.array(axes)}
    return model(f"{first} {between} y = {text}", "float[n,3,6,5] x", opset=opset, initializers=given)


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3, -2]])
@pytest.mark.parametrize("opset", [7, 13, 18, 21])
def test_all_axes_of_the_image(axes, opset):
    if opset == 7:
        axes = [2, 3]
    assert_near(mean(axes, opset=opset), STEP, ["Conv", "GlobalAveragePool"], RULE, sizes={"n": 2})


def test_behind_an_activation_and_a_sum():
    proto = mean([2, 3], "r = Relu(c) a = Add(r, c)", "a")
    assert_near(proto, STEP, ["Conv", "Relu", "Add", "GlobalAveragePool"], RULE, sizes={"n": 2})


@pytest.mark.parametrize(
    "proto",
    [
        mean([2]),
        mean([1, 2, 3]),
        mean([2, 3], keep=0),
        mean([2, 3], "e = Exp(c)", "e"),
        mean([2, 3], first="c = Neg(x)"),
        model("y = ReduceMean<axes = [2, 3]>(x)", "float[1,3,6,5] x", opset=13),
    ],
    ids=["one axis", "channels", "axes go", "other operator", "no convolution", "an input"],
)
def test_others_stay(proto):
    assert_untouched(proto, STEP)
