"""Casts with only data movement between them."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()
RULE = {"merge-casts-across-moves": 1}
GIVEN = {
    "s": np.array([3, 2]),
    "k": np.array([0]),
    "i": np.array([1, 0]),
    "e": np.array([2, 2, 3]),
    "j": np.array([2, 3, 2]),
}


def between(moves, first=1, last=10, kind="float16", result="float16", opset=17, extra=""):
    body = f"a = Cast<to = {first}>(x) {moves} y = Cast<to = {last}>(b) {extra}"
    used = {name: array for name, array in GIVEN.items() if f", {name})" in body}
    outputs = f"{result}[*] y" + (", float[*] z" if extra else "")
    return model(body, f"{kind}[2,3] x", outputs, opset=opset, initializers=used)


@pytest.mark.parametrize(
    ("moves", "ops"),
    [
        ("b = Transpose<perm = [1, 0]>(a)", ["Transpose"]),
        ("b = Unsqueeze(a, k)", ["Unsqueeze"]),
        ("b = Expand(a, e)", ["Expand"]),
        ("b = Gather(a, i)", ["Gather"]),
        ("c = Transpose<perm = [1, 0]>(a) b = Expand(c, j)", ["Transpose", "Expand"]),
    ],
)
def test_back_to_the_type(moves, ops):
    assert_exact(between(moves), STEP, ops, RULE)


@pytest.mark.parametrize("opset", [9, 13, 21])
def test_on_to_another_type(opset):
    proto = between("b = Transpose<perm = [1, 0]>(a)", 1, 11, "float16", "double", opset)
    assert_exact(proto, STEP, ["Cast", "Transpose"], RULE)


@pytest.mark.parametrize(
    "proto",
    [
        between("b = Transpose<perm = [1, 0]>(a)", 10, 1, "float", "float"),
        between("b = Neg(a)"),
        between("b = Transpose<perm = [1, 0]>(a)", extra="z = Neg(a)"),
        between("b = Transpose<perm = [1, 0]>(a)", extra="z = Neg(b)"),
        between("b = Transpose<perm = [1, 0]>(a)", 7, 10),
    ],
    ids=["narrower", "computes", "two readers", "two readers of what is moved", "rounds"],
)
def test_others_stay(proto):
    assert_untouched(proto, STEP)
