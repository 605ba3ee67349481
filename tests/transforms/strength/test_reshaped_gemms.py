"""Products of joined rows are made without joining them."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, model, transform

RNG = np.random.default_rng(6)
W = RNG.normal(size=(4, 3)).astype(np.float32)
B = np.linspace(-1, 1, 3, dtype=np.float32)
RULE = {"multiply-without-reshapes": 1}
SIZES = {"b": 2, "s": 5}


def made(body, inputs="float[b,s,4] x", outputs="float[*] y", **constants):
    known = {"w": W, "t": np.ascontiguousarray(W.T), "b": B, "flat": np.array([-1, 4]), **constants}
    used = {name: value for name, value in known.items() if any(f"{name}{end}" in body for end in (",", ")"))}
    return model(body, inputs, outputs, opset=17, initializers=used)


JOINED = "r = Reshape(x, flat) g = Gemm(r, w, b) y = Reshape(g, apart)"


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        (JOINED, ["MatMul", "Add"]),
        (JOINED.replace("Gemm(r, w, b)", "Gemm(r, w)"), ["MatMul"]),
        (JOINED.replace("Gemm(r, w, b)", "Gemm<transB = 1, alpha = 0.5, beta = 2.0>(r, t, b)"), ["MatMul", "Add"]),
    ],
)
def test_rows_need_not_be_joined(body, ops):
    proto = made(body, "float[b,5,4] x", apart=np.array([-1, 5, 3]))
    assert_near(proto, ReduceStrength(), ops, RULE, sizes=SIZES)


def test_sizes_that_are_computed():
    body = "k = Shape<start = 0, end = 2>(x) to = Concat<axis = 0>(k, three) r = Reshape(x, flat) g = Gemm(r, w, b) y = Reshape(g, to)"
    outcome = transform(made(body, three=np.array([3])), ReduceStrength())
    assert (RULE, ["MatMul", "Add"]) == (outcome.applied, outcome.ops)


@pytest.mark.parametrize(
    ("inputs", "apart"),
    [("float[b,5,2,2] x", [-1, 5, 3]), ("float[1,2,1,2] x", [1, 1, 3]), ("float[b,2,1,2] x", [-1, 1, 3])],
)
def test_heads_are_joined_by_a_reshape_that_stays(inputs, apart):
    proto = made(JOINED, inputs, apart=np.array(apart))
    assert_near(proto, ReduceStrength(), ["Reshape", "MatMul", "Add"], RULE, sizes=SIZES)


@pytest.mark.parametrize(
    ("body", "inputs", "outputs", "apart"),
    [
        (JOINED, "float[b,5,4] x", "float[*] y", [5, -1, 3]),
        (JOINED, "float[2,6,4] x", "float[*] y", [3, 4, 3]),
        (f"{JOINED} h = Neg(g)", "float[b,5,4] x", "float[*] y, float[*] h", [-1, 5, 3]),
        (f"{JOINED} h = Neg(r)", "float[b,5,4] x", "float[*] y, float[*] h", [-1, 5, 3]),
        (JOINED.replace("Gemm(r, w, b)", "Gemm<transA = 1>(r, w, b)"), "float[1,4,4] x", "float[*] y", [1, 4, 3]),
        (JOINED.replace("Gemm(r, w, b)", "Gemm(r, w, c)"), "float[1,3,4] x", "float[*] y", [1, 3, 3]),
        (JOINED, "float[b,2,8] x", "float[*] y", [-1, 2, 6]),
    ],
)
def test_other_rows_stay_joined(body, inputs, outputs, apart):
    proto = made(body, inputs, outputs, apart=np.array(apart), c=np.ones((3, 1), np.float32))
    assert "multiply-without-reshapes" not in transform(proto, ReduceStrength()).applied
