"""Lookups in parts, and past transpositions."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model, transform

STEP = Canonicalize()
PART, MOVED = {"gather-of-part": 1}, {"gather-before-transpose": 1}


def looked_up(body, shape="3,7", outputs="float[*] y", opset=17, **given):
    arrays = {name: np.array(numbers, np.int64) for name, numbers in given.items()}
    return model(body, f"float[{shape}] x", outputs, opset=opset, initializers=arrays)


@pytest.mark.parametrize("second", [[1, 0], [2], 1, [-1], [0, 0]])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("opset", [11, 13, 21])
def test_of_what_was_looked_up(second, axis, opset):
    proto = looked_up(f"a = Gather<axis = 1>(x, i) y = Gather<axis = {axis}>(a, j)", opset=opset, i=[5, 0, 3], j=second)
    assert_exact(proto, STEP, ["Gather"], PART)


@pytest.mark.parametrize(("start", "end", "step"), [(1, 6, 1), (0, 7, 2), (2, 1 << 40, 1), (1, -1, 2)])
@pytest.mark.parametrize("second", [[1, 0], 1, [2, 0]])
def test_of_a_slice(start, end, step, second):
    proto = looked_up(
        "a = Slice(x, s, e, k, t) y = Gather<axis = 1>(a, j)", s=[start], e=[end], k=[1], t=[step], j=second
    )
    assert_exact(proto, STEP, ["Gather"], PART)


@pytest.mark.parametrize(
    "proto",
    [
        looked_up("a = Gather<axis = 1>(x, i) y = Gather<axis = 0>(a, j)", i=[5, 0, 3], j=[2, 0]),
        looked_up("a = Gather<axis = 1>(x, i) y = Gather<axis = 1>(a, j)", i=[[5, 0], [3, 1]], j=[1, 0]),
        looked_up("a = Slice(x, s, e, k) y = Gather<axis = 1>(a, j)", s=[-3], e=[7], k=[1], j=[1, 0]),
        looked_up("a = Slice(x, s, e, k) y = Gather<axis = 1>(a, j)", s=[0, 1], e=[2, 6], k=[0, 1], j=[2, 0]),
        looked_up("a = Slice(x, s, e, k) y = Gather<axis = 1>(a, j)", "3,n", s=[1], e=[6], k=[1], j=[-1, 0]),
    ],
    ids=["axes", "two axes of places", "from the end", "two axes", "size"],
)
def test_others_stay(proto):
    assert_untouched(proto, STEP)


@pytest.mark.parametrize(
    ("perm", "axis"), [([1, 0, 2], 0), ([2, 0, 1], 0), ([0, 2, 1], 1), ([0, 2, 1], -2), ([2, 0, 1], -3)]
)
@pytest.mark.parametrize("place", [0, 1, -1])
def test_past_a_transpose(perm, axis, place):
    proto = looked_up(f"a = Transpose<perm = {perm}>(x) y = Gather<axis = {axis}>(a, j)", "3,4,5", j=place)
    assert_exact(proto, STEP, ["Gather"], MOVED)


@pytest.mark.parametrize(
    "proto",
    [
        looked_up("a = Transpose<perm = [2, 1, 0]>(x) y = Gather(a, j)", "3,4,5", j=1),
        looked_up("a = Transpose<perm = [1, 0, 2]>(x) y = Gather(a, j)", "3,4,5", j=[1]),
        looked_up("a = Transpose<perm = [2, 1, 0]>(x) y = Gather<axis = 1>(a, j)", "3,4,5", j=1),
    ],
    ids=["order", "the axis stays", "another axis"],
)
def test_other_transpositions_stay(proto):
    assert "gather-before-transpose" not in transform(proto, STEP).applied
