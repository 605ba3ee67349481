"""Parts of shapes, and lists of sizes in which some are chosen."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()
TAKE, CHOOSE = {"take-shape-in-parts": 1}, {"choose-in-concat": 1}
SIZES = {"N": 3, "M": 2}


def ints(**numbers):
    return {name: np.array(value, np.int64) for name, value in numbers.items()}


@pytest.mark.parametrize("places", [[0], [1, 2], [-2], [0, 1, 2]])
def test_a_run_of_axes(places):
    body = "s = Shape(x) y = Gather(s, i)"
    proto = model(body, "float[N,M,4] x", f"int64[{len(places)}] y", opset=15, initializers=ints(i=places))
    assert_exact(proto, STEP, ["Shape"], TAKE, sizes=SIZES)


def test_all_readers_take_their_part():
    body = "s = Shape(x) a = Gather(s, i) b = Slice(s, f, e) c = Neg(b) y = Concat<axis=0>(a, c)"
    proto = model(body, "float[N,M,4] x", "int64[K] y", initializers=ints(i=[0], f=[1], e=[99]))
    assert_exact(proto, STEP, ["Shape", "Shape", "Neg", "Concat"], TAKE, sizes=SIZES)


@pytest.mark.parametrize(
    ("body", "outputs", "opset"),
    [
        ("s = Shape(x) y = Gather(s, i)", "int64[1] y", 13),  # no bounds yet
        ("s = Shape(x) y = Gather(s, i) z = Neg(s)", "int64[1] y, int64[3] z", 15),  # all sizes are read
        ("s = Shape(x) y = Gather(s, i)", "int64[1] y, int64[3] s", 15),
        ("s = Shape<start=1>(x) y = Gather(s, i)", "int64[1] y", 15),
        ("s = Shape(x) y = Gather(s, j)", "int64 y", 15),  # a number, not a list
        ("s = Shape(x) y = Gather(s, k)", "int64[2] y", 15),  # no run
        ("s = Shape(x) y = Slice(s, f, e, z0, t)", "int64[2] y", 15),  # in steps
    ],
)
def test_other_parts_stay(body, outputs, opset):
    given = ints(i=[0], j=1, k=[0, 2], f=[0], e=[3], z0=[0], t=[2])
    given = {name: array for name, array in given.items() if f" {name})" in body or f" {name}," in body}
    assert_untouched(model(body, "float[N,M,4] x", outputs, opset=opset, initializers=given), STEP)


def chosen(condition, numbers, side=0, middle="b"):
    sides = "a, l" if side else "l, a"
    body = f"l = Concat<axis=0>(p, {middle}) y = Where(c, {sides})"
    given = ints(a=numbers, b=[-1]) | {"c": np.array(condition)}
    given = {name: array for name, array in given.items() if name != "b" or middle == "b"}
    return model(body, "int64[2] p, int64[1] q", "int64[3] y", initializers=given)


@pytest.mark.parametrize("side", [0, 1])
def test_constants_in_the_list_are_replaced(side):
    condition = np.array([True, True, False]) ^ bool(side)
    assert_exact(chosen(condition, [7, 8, 9], side), STEP, ["Concat"], CHOOSE)


def test_whole_operands_are_replaced():
    assert_exact(chosen([True, True, False], 1, middle="q"), STEP, ["Concat"], CHOOSE)
    assert_exact(chosen([False, False, True], [4, 5, 6], middle="q"), STEP, ["Concat"], CHOOSE)


def test_operands_that_are_torn_apart_stay():
    assert_untouched(chosen([True, False, True], [7, 8, 9], middle="q"), STEP)


def test_a_condition_that_broadcasts_stays():
    assert_untouched(model("l = Concat<axis=0>(p, q) y = Where(c, l, a)", "int64[2] p, int64[1] q",
                           "int64[2,3] y", initializers={"c": np.array([[True, False, True]] * 2), "a": np.array(1)}), STEP)  # fmt: skip
