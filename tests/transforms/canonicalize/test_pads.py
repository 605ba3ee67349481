"""Pad after Pad."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import PROPERTY, assert_exact, assert_untouched, model

STEP = Canonicalize()
RULE = {"merge-pads": 1}
NUMBERS = {"zero": np.array(0, np.float32), "five": np.array([5], np.float32), "minus": np.array(-0.0, np.float32)}


def ints(**arrays):
    return {name: np.array(numbers, np.int64) for name, numbers in arrays.items()}


def padded(body, first, second, opset=17, **more):
    given = {**NUMBERS, **ints(p=first, q=second, **more)}
    used = {name: array for name, array in given.items() if f", {name}" in body}
    return model(f"{body} y = Neg(b)", "float[3,4] x", opset=opset, initializers=used)


pads = st.lists(st.integers(0, 2), min_size=4, max_size=4)


@PROPERTY
@given(
    pads,
    pads,
    st.sampled_from(["constant", "edge"]),
    st.sampled_from(["", ", five"]),
    st.sampled_from([11, 13, 18, 21, 24]),
)
def test_pads_are_added(first, second, mode, number, opset):
    first[0], second[3] = first[0] + 1, second[3] + 1
    number = "" if mode == "edge" else number
    body = f'a = Pad<mode = "{mode}">(x, p{number}) b = Pad<mode = "{mode}">(a, q{number})'
    assert_exact(padded(body, first, second, opset), STEP, ["Pad", "Neg"], RULE)


def test_cutting_twice():
    proto = padded("a = Pad(x, p) b = Pad(a, q)", [-1, 0, 0, 1], [-1, 1, 0, 0])
    assert_exact(proto, STEP, ["Pad", "Neg"], RULE)


@pytest.mark.parametrize("opset", [7, 10])
def test_pads_as_attributes(opset):
    body = "a = Pad<pads = [1,0,0,2], value = 2.0>(x) b = Pad<pads = [0,1,1,0], value = 2.0>(a)"
    assert_exact(padded(body, [], [], opset), STEP, ["Pad", "Neg"], RULE)


def test_pads_of_some_axes():
    body = "a = Pad(x, p, five, i) b = Pad(a, q, five, j)"
    proto = padded(body, [1, 2], [0, 1, 2, 3], 18, i=[-1], j=[1, 0])
    assert_exact(proto, STEP, ["Pad", "Neg"], RULE)


@pytest.mark.parametrize(
    "proto",
    [
        padded("a = Pad(x, p, zero) b = Pad(a, q, five)", [1] * 4, [1] * 4),
        padded("a = Pad(x, p, zero) b = Pad(a, q, minus)", [1] * 4, [1] * 4),
        padded("a = Pad(x, p) b = Pad(a, q)", [1, 0, 0, 0], [-1, 0, 0, 1]),
        padded("a = Pad(x, p) b = Pad(a, q)", [-1, 0, 0, 0], [0, 0, 2, 0]),
        padded('a = Pad<mode = "edge">(x, p) b = Pad<mode = "edge">(a, q)', [0, -3, 0, 0], [0, 0, 0, -1]),
        padded('a = Pad<mode = "edge">(x, p) b = Pad(a, q)', [1] * 4, [1] * 4),
        padded('a = Pad<mode = "reflect">(x, p) b = Pad<mode = "reflect">(a, q)', [1] * 4, [1] * 4),
        padded("a = Pad(x, p) n = Neg(a) m = Pad(a, q) b = Concat<axis = 0>(n, m)", [1] * 4, [0, 0, 1, 0]),
    ],
    ids=["numbers", "signs", "cut", "cut first", "cut edges", "modes", "reflected", "two users"],
)
def test_others_stay(proto):
    assert_untouched(proto, STEP)


def test_pads_that_are_computed_stay():
    body = "s = Abs(p) a = Pad(x, s) b = Pad(a, q)"
    proto = model(f"{body} y = Neg(b)", "float[3,4] x, int64[4] p", "float[?,?] y", initializers=ints(q=[1] * 4))
    assert_untouched(proto, STEP)
