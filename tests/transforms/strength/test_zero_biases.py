"""Biases of zeros go, in whatever form."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import Array
from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = ReduceStrength()
RULE = {"drop-zero-bias": 1}
GIVEN: dict[str, Array] = {
    "w": np.random.default_rng(6).normal(size=(3, 2, 3)).astype(np.float32),
    "zeros": np.zeros(3, np.float32),
    "zero": np.zeros((), np.float32),
    "some": np.array([0, 0, 1], np.float32),
    "n3": np.array([3], np.int64),
}


def proto(body, opset=21):
    given = {name: array for name, array in GIVEN.items() if f"{name}," in body or f"{name})" in body}
    return model(body, "float[1,2,5] x", "float[1,3,3] y", opset=opset, initializers=given)


@pytest.mark.parametrize(
    "body",
    [
        "y = Conv(x, w, zeros)",
        "b = Expand(zero, n3) y = Conv(x, w, b)",
        "b = ConstantOfShape(n3) y = Conv(x, w, b)",
        "a = Identity(zero) b = Expand(a, n3) y = Conv(x, w, b)",
    ],
)
def test_zeros_go(body):
    assert_near(proto(body), STEP, ["Conv"], RULE)


@pytest.mark.parametrize(
    "body",
    ["y = Conv(x, w, some)", "b = Exp(zeros) y = Conv(x, w, b)", "y = Conv(x, w)"],
)
def test_others_stay(body):
    assert_untouched(proto(body), STEP)


def test_a_constant_of_shape_of_ones_stays():
    body = "b = ConstantOfShape<value = float[1] {1.0}>(n3) y = Conv(x, w, b)"
    assert_untouched(proto(body), STEP)


def test_gemm_needs_its_third_input_before_opset_11():
    given = {"w": np.ones((4, 3), np.float32), "zeros": np.zeros(3, np.float32)}
    old = model("y = Gemm(x, w, zeros)", "float[2,4] x", opset=9, initializers=given)
    assert_untouched(old, STEP)
    new = model("y = Gemm(x, w, zeros)", "float[2,4] x", opset=11, initializers=given)
    assert_near(new, STEP, ["Gemm"], RULE)


def test_an_input_may_be_anything():
    given = {"w": GIVEN["w"]}
    assert_untouched(model("y = Conv(x, w, b)", "float[1,2,5] x, float[3] b", initializers=given), STEP)
