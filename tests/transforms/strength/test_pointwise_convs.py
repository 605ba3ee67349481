"""Convolutions of single positions between transpositions are products."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, assert_untouched, model, transform

STEP = ReduceStrength()
RULE = {"multiply-instead-of-convolve": 1}
RNG = np.random.default_rng(0)
GIVEN = {
    "u": RNG.normal(size=(4, 3, 1)).astype(np.float32),
    "v": RNG.normal(size=(2, 4, 1)).astype(np.float32),
    "w": RNG.normal(size=(5, 2, 1)).astype(np.float32),
    "b": RNG.normal(size=4).astype(np.float32),
    "c": RNG.normal(size=2).astype(np.float32),
    "d": RNG.normal(size=5).astype(np.float32),
    "k": RNG.normal(size=(4, 3, 3)).astype(np.float32),
    "g": RNG.normal(size=(3, 1, 1)).astype(np.float32),
    "i": RNG.normal(size=(4, 3, 1, 1)).astype(np.float32),
}


def between(body, last, inputs="float[n,5,3] x", first="[0, 2, 1]", second="[0, 2, 1]", extra="", opset=17):
    text = f"t = Transpose<perm = {first}>(x) {body} y = Transpose<perm = {second}>({last}) {extra}"
    used = {name: array for name, array in GIVEN.items() if f", {name}" in text}
    return model(text, inputs, "float[*] y" + (", float[*] z" if extra else ""), opset=opset, initializers=used)


@pytest.mark.parametrize(
    ("body", "last", "ops"),
    [
        ("p = Conv(t, u)", "p", ["MatMul"]),
        ("p = Conv(t, u, b)", "p", ["MatMul", "Add"]),
        ("p = Conv(t, u, b) r = Relu(p) q = Conv(r, v)", "q", ["MatMul", "Add", "Relu", "MatMul"]),
        ("p = Conv(t, u, b) r = Sigmoid(p) q = Conv(r, v, c)", "q", ["MatMul", "Add", "Sigmoid", "MatMul", "Add"]),
        ("s = Neg(t) p = Conv(s, u) e = Elu<alpha = 0.5>(p)", "e", ["Neg", "MatMul", "Elu"]),
    ],
)
@pytest.mark.parametrize("opset", [7, 11, 21])
def test_layers_on_sequences(body, last, ops, opset):
    assert_near(between(body, last, opset=opset), STEP, ops, RULE, sizes={"n": 2})


def test_images():
    proto = between("p = Conv(t, i, b)", "p", "float[1,4,5,3] x", "[0, 3, 1, 2]", "[0, 2, 3, 1]")
    assert_near(proto, STEP, ["MatMul", "Add"], RULE)


@pytest.mark.parametrize(
    "proto",
    [
        between("p = Conv(t, k)", "p"),
        between("p = Conv<strides = [2]>(t, u)", "p"),
        between("p = Conv<pads = [1, 0]>(t, u)", "p"),
        between("p = Conv<group = 3>(t, g)", "p"),
        between("p = Conv(t, u) s = Softmax<axis = 1>(p)", "s"),
        between("p = Conv(t, u)", "p", extra="z = Neg(p)"),
        between("p = Conv(t, u, b) r = Relu(p) q = Conv(r, v, c) s = Relu(q) o = Conv(s, w, d)", "o"),
        between("p = Conv(t, i, b)", "p", "float[1,4,5,3] x", "[0, 3, 2, 1]", "[0, 2, 3, 1]"),
        between("p = Conv(t, i, b)", "p", "float[1,4,5,3] x", "[0, 3, 1, 2]", "[0, 3, 2, 1]"),
    ],
    ids=["kernel", "strides", "pads", "groups", "other operator", "two readers", "more nodes", "order", "order behind"],
)
def test_others_stay(proto):
    assert "multiply-instead-of-convolve" not in transform(proto, STEP).applied


def test_without_a_convolution():
    assert_untouched(between("p = Relu(t)", "p"), STEP)
