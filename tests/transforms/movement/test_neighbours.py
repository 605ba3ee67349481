"""Lookups of places side by side are slices, parts side by side are one part, one part of a Split is a slice."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()


def ints(**arrays):
    return {name: np.array(numbers, np.int64) for name, numbers in arrays.items()}


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("places", [[0, 1], [1, 2, 3], [-2, -1], [-3, -2]])
@pytest.mark.parametrize("opset", [11, 13, 21])
def test_places_side_by_side(axis, places, opset):
    proto = model(
        f"h = Neg(x) y = Gather<axis = {axis}>(h, i)", "float[5,6] x", opset=opset, initializers=ints(i=places)
    )
    assert_exact(proto, STEP, ["Neg", "Slice"], {"slice-instead-of-gather": 1})


@pytest.mark.parametrize("places", [[2, 1], [0, 2], [1], [[0, 1]], [-1, 0], [1, 1]])
def test_other_places_stay(places):
    assert_untouched(model("y = Gather(x, i)", "float[5,6] x", initializers=ints(i=places)), STEP)


def test_places_that_nobody_knows_stay():
    assert_untouched(model("y = Gather(x, i)", "float[5,6] x, int64[2] i"), STEP)


def test_halves_by_lookups():
    body = "a = Gather<axis = 1>(x, i) b = Gather<axis = 1>(x, j) y = Sub(a, b)"
    proto = model(body, "float[2,6] x", initializers=ints(i=[0, 1, 2], j=[3, 4, 5]))
    assert_exact(proto, STEP, ["Split", "Sub"], {"slice-instead-of-gather": 2, "split-instead-of-slices": 1})


@pytest.mark.parametrize(
    ("joined", "ops"),
    [
        ("a, b", ["Split", "Neg", "Abs"]),
        ("b, c", ["Split", "Neg", "Abs"]),
        ("u, b, c", ["Split", "Concat", "Neg", "Abs"]),
        ("b, c, u", ["Split", "Concat", "Neg", "Abs"]),
    ],
)
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_parts_side_by_side(joined, ops, opset):
    split = "a, b, c = Split<axis = 1>(x, s)" if opset > 11 else "a, b, c = Split<axis = 1, split = [1, 2, 3]>(x)"
    left = "c" if "a" in joined else "a"
    proto = model(
        f"{split} d = Concat<axis = -1>({joined}) y = Neg(d) z = Abs({left})",
        "float[n,6] x, float[n,6] u" if "u" in joined else "float[n,6] x",
        "float[*] y, float[*] z",
        opset=opset,
        initializers=ints(s=[1, 2, 3]) if opset > 11 else {},
    )
    assert_exact(proto, STEP, ops, {"join-parts-of-split": 1}, sizes={"n": 2})


def test_everything_beside_another_tensor():
    proto = model("a, b = Split<axis = 1>(x) y = Concat<axis = 1>(u, a, b)", "float[2,6] x, float[2,1] u", opset=13)
    assert_exact(proto, STEP, ["Concat"], {"join-parts-of-split": 1})


@pytest.mark.parametrize(
    "body",
    [
        "d = Concat<axis = 1>(b, a) y = Neg(d) z = Neg(c)",
        "d = Concat<axis = 1>(a, c) y = Neg(d) z = Neg(b)",
        "d = Concat<axis = 0>(a, b) y = Neg(d) z = Neg(c)",
        "d = Concat<axis = 1>(a, b) y = Neg(d) z = Add(a, c)",
    ],
)
def test_other_parts_stay(body):
    proto = model(f"a, b, c = Split<axis = 1>(x) {body}", "float[2,6] x", "float[*] y, float[*] z", opset=13)
    assert_untouched(proto, STEP)


@pytest.mark.parametrize("part", "abc")
@pytest.mark.parametrize("axis", [1, -1])
def test_one_part(part, axis):
    proto = model(
        f"a, b, c = Split<axis = {axis}>(x, s) y = Neg({part})", "float[n,6] x", initializers=ints(s=[1, 2, 3])
    )
    assert_exact(proto, STEP, ["Slice", "Neg"], {"slice-instead-of-split": 1}, sizes={"n": 2})


def test_sizes_that_nobody_knows_stay():
    assert_untouched(model("a, b = Split<axis = 1>(x) y = Neg(a)", "float[2,n] x", opset=13), STEP)
