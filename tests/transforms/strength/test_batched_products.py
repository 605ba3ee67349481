"""Reshapes that only join batch axes around products."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = ReduceStrength()
JOIN, AROUND = {"join-batches-behind-product": 1}, {"merge-reshapes-around-product": 1}
BODY = "p = Reshape(a, left) q = Reshape(b, right) y = MatMul(p, q)"


def ints(**numbers):
    return {name: np.array(value, np.int64) for name, value in numbers.items()}


@pytest.mark.parametrize("batch", ["2", "N"])
def test_batches_are_joined_behind(batch):
    given = ints(left=[-1, 5, 4], right=[-1, 4, 3])
    proto = model(BODY, f"float[{batch},3,5,4] a, float[{batch},3,4,3] b", initializers=given)
    assert_near(proto, STEP, ["MatMul", "Reshape"], JOIN)


def test_batches_that_are_split_are_split_behind():
    given = ints(left=[2, 3, 5, 4], right=[2, 3, 4, 7])
    assert_near(model(BODY, "float[6,5,4] a, float[6,4,7] b", initializers=given), STEP, ["MatMul", "Reshape"], JOIN)


@pytest.mark.parametrize(
    ("a", "b", "left", "right"),
    [
        ("2,3,5,4", "3,2,4,3", [6, 5, 4], [6, 4, 3]),  # other batches
        ("2,3,5,4", "2,3,3,4", [6, 5, 4], [6, 4, 3]),  # the matrices change
        ("2,3,5,4", "2,3,4,3", [2, 15, 4], [2, 4, 9]),  # rows are joined
        ("1,3,5,4", "1,3,4,3", [3, 5, 4], [1, 3, 4, 3]),  # only one is joined
    ],
)
def test_other_reshapes_stay(a, b, left, right):
    assert_untouched(model(BODY, f"float[{a}] a, float[{b}] b", initializers=ints(left=left, right=right)), STEP)


def test_factors_that_others_read_stay():
    given = ints(left=[6, 5, 4], right=[6, 4, 3])
    outputs = "float[6,5,3] y, float[6,5,4] p"
    assert_untouched(model(BODY, "float[2,3,5,4] a, float[2,3,4,3] b", outputs, initializers=given), STEP)


@pytest.mark.parametrize("rows", ["2,3", "N,3"])
def test_rows_that_are_joined_and_taken_apart_again(rows):
    given = ints(to=[-1, 4], back=[-1, 3, 5]) | {"w": np.ones((4, 5), np.float32)}
    body = "p = Reshape(a, to) q = MatMul(p, w) y = Reshape(q, back)"
    assert_near(model(body, f"float[{rows},4] a", initializers=given), STEP, ["MatMul"], AROUND)


@pytest.mark.parametrize(
    ("to", "back", "outputs"),
    [
        ([-1, 4], [3, 2, 5], "float[3,2,5] y"),  # other rows
        ([3, 8], [3, 5, 1], "float[3,5,1] y"),  # the last axis changes
        ([-1, 4], [2, 3, 5], "float[2,3,5] y, float[6,5] q"),  # it is given out
    ],
)
def test_other_rows_stay(to, back, outputs):
    given = ints(to=to, back=back) | {"w": np.ones((to[-1], 5), np.float32)}
    body = "p = Reshape(a, to) q = MatMul(p, w) y = Reshape(q, back)"
    assert_untouched(model(body, "float[2,3,4] a", outputs, initializers=given), STEP)
