"""Reductions of reductions."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import CanonicalizeAlgebra
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = CanonicalizeAlgebra()
RULE = {"merge-reductions": 1}


def twice(op, first, second, keep, opset, dtype="float", shape="2,3,4,5", keep_second=None):
    is_input = opset >= 18 or (op == "ReduceSum" and opset >= 13)
    names = iter("ij")
    given = {}

    def reduced(value, axes, kept):
        if not is_input:
            return f"{op}<keepdims = {kept}, axes = {axes}>({value})"
        name = next(names)
        given[name] = np.array(axes)
        return f"{op}<keepdims = {kept}>({value}, {name})"

    second_keep = keep if keep_second is None else keep_second
    body = f"a = {reduced('x', first, keep)} y = {reduced('a', second, second_keep)}"
    return model(body, f"{dtype}[{shape}] x", f"{dtype}[*] y", opset=opset, initializers=given)


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize(
    ("first", "second", "keep"),
    [([2], [3], 1), ([3], [2], 0), ([-1], [-1], 0), ([1, 3], [0], 0), ([1], [1, 2], 1), ([0], [0, -1], 0)],
)
def test_axes_are_joined(op, opset, first, second, keep):
    assert_near(twice(op, first, second, keep, opset), STEP, [op], RULE)


def test_integers_only_where_one_of_them_is_given():
    assert_near(twice("ReduceMax", [1], [2], 1, 13, "int64"), STEP, ["ReduceMax"], RULE)
    assert_untouched(twice("ReduceMean", [1], [2], 1, 13, "int64"), STEP)


def test_others_stay():
    assert_untouched(twice("ReduceSum", [1], [2], 1, 13, keep_second=0), STEP)
    body = "a = ReduceMax<axes = [1]>(x) y = ReduceMin<axes = [2]>(a)"
    assert_untouched(model(body, "float[2,3,4] x", opset=13), STEP)
    body = "a = ReduceMax<axes = [1]>(x) b = ReduceMax<axes = [2]>(a) y = Add(a, b)"
    assert_untouched(model(body, "float[2,3,4] x", opset=13), STEP)
    assert_untouched(model("a = ReduceMax<axes = [1]>(x) y = ReduceMax(a)", "float[2,3,4] x", opset=13), STEP)
