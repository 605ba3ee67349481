"""Lookups of constant places: with the axes they should have, several at once, and of what was joined."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()


def ints(**numbers):
    return {name: np.array(value, np.int64) for name, value in numbers.items()}


@pytest.mark.parametrize("opset", [11, 13, 21])
@pytest.mark.parametrize(("index", "op"), [(1, "Unsqueeze"), (-2, "Unsqueeze"), ([1], "Squeeze"), ([-1], "Squeeze")])
def test_the_axis_goes_into_the_places(opset, index, op):
    change = f"{op}<axes=[1]>(a)" if opset < 13 else f"{op}(a, n)"
    given = ints(i=index) | (ints(n=[1]) if opset >= 13 else {})
    proto = model(
        f"a = Gather<axis=1>(x, i) b = {change} y = Exp(b)", "float[N,3,4] x", opset=opset, initializers=given
    )
    outcome = assert_exact(proto, STEP, ["Gather", "Exp"], {"gather-with-axis": 1})
    (places,) = outcome.after.graph.initializer
    assert [1] * (op == "Unsqueeze") == list(places.dims)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("a = Gather<axis=1>(x, i) b = Unsqueeze(a, n0) y = Exp(b)", "float[*] y"),  # another axis
        ("a = Gather<axis=1>(x, i) b = Unsqueeze(a, n01) y = Exp(b)", "float[*] y"),  # two axes
        ("a = Gather<axis=1>(x, k) b = Squeeze(a, n0) y = Exp(b)", "float[*] y"),
        ("a = Gather<axis=1>(x, i) b = Unsqueeze(a, n1) y = Exp(b) z = Neg(a)", "float[*] y, float[*] z"),
        ("a = Gather<axis=1>(x, i) b = Unsqueeze(a, n1) y = Exp(b)", "float[*] y, float[1,4] a"),
        ("a = Gather<axis=1>(x, j) b = Unsqueeze(a, n1) y = Exp(b)", "float[*] y"),  # not constant
    ],
)
def test_other_axes_and_shared_lookups_stay(body, outputs):
    given = {name: array for name, array in ints(i=1, k=[1], n0=[0], n1=[1], n01=[0, 1]).items() if f"{name})" in body}
    more = ", int64 j" if "j)" in body else ""
    assert_untouched(model(body, f"float[1,3,4] x{more}", outputs, initializers=given), STEP)


def test_text_stays():
    body = "a = Gather<axis=1>(x, i) y = Unsqueeze(a, n)"
    assert_untouched(model(body, "string[2,3] x", "string[2,1] y", initializers=ints(i=1, n=[1])), STEP)


def test_neighbours_of_one_tensor_are_one_lookup():
    body = "a = Gather(x, i) b = Gather(x, j) c = Gather(z, i) d = Gather(x, k) y = Concat<axis=0>(a, b, c, d)"
    proto = model(body, "float[5,2] x, float[5,2] z", initializers=ints(i=[1], j=[3, 0], k=[-1]))
    assert_exact(proto, STEP, ["Gather", "Gather", "Gather", "Concat"], {"join-gathers": 1})


def test_when_all_are_of_one_tensor_nothing_is_joined():
    body = "a = Gather<axis=1>(x, i) b = Gather<axis=-1>(x, j) y = Concat<axis=1>(a, b)"
    proto = model(body, "float[5,4] x", initializers=ints(i=[1], j=[3, 0]))
    assert_exact(proto, STEP, ["Gather"], {"join-gathers": 1})


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("a = Gather(x, i) b = Gather(x, j) y = Concat<axis=1>(a, b)", "float[*] y"),  # joined along another axis
        ("a = Gather(x, i) b = Gather(x, j) y = Concat<axis=0>(a, b)", "float[*] y, float[1,2] a"),
        ("a = Gather(x, m) b = Gather(x, m2) y = Concat<axis=0>(a, b)", "float[*] y"),  # places of rank 2
        ("a = Gather(x, i) c = Neg(x) b = Gather(x, j) y = Concat<axis=0>(a, c, b)", "float[*] y"),  # not neighbours
    ],
)
def test_other_lookups_stay_apart(body, outputs):
    given = ints(i=[1], j=[3], m=[[1]], m2=[[0]])
    given = {name: array for name, array in given.items() if f", {name})" in body}
    assert_untouched(model(body, "float[5,2] x", outputs, initializers=given), STEP)


@pytest.mark.parametrize(("bounds", "name"), [((0, 2), "x"), ((2, 5), "z")])
def test_a_slice_of_one_part_is_the_part(bounds, name):
    body = "a = Concat<axis=1>(x, z) b = Slice(a, s, e, n) y = Exp(b) w = Neg(a)"
    proto = model(
        body,
        "float[N,2] x, float[N,3] z",
        "float[N,M] y, float[N,K] w",
        initializers=ints(s=[bounds[0]], e=[bounds[1]], n=[1]),
    )
    outcome = assert_exact(proto, STEP, ["Concat", "Exp", "Neg"], {"part-of-concat": 1})
    assert name == outcome.after.graph.node[1].input[0]


@pytest.mark.parametrize(("index", "ops"), [([2], ["Exp"]), (2, ["Gather", "Exp"]), ([1], ["Gather", "Exp"])])
def test_a_lookup_in_one_part_is_a_lookup_there(index, ops):
    body = "a = Concat<axis=0>(x, z) b = Gather(a, i) y = Exp(b)"
    proto = model(body, "float[2,N] x, float[1,N] z", initializers=ints(i=index))
    assert_exact(proto, STEP, ops, {"part-of-concat": 1})


@pytest.mark.parametrize(
    ("shapes", "s", "e", "n"),
    [
        (("N,2", "N,3"), 1, 3, 1),  # of two parts
        (("N,2", "N,3"), 2, 4, 1),  # not all of a part
        (("N,2", "N,3"), -3, 99, 1),  # counted from the back
        (("N,M", "N,3"), 1, 2, 1),  # of unknown size
        (("2,3", "2,3"), 0, 1, 0),  # another axis
    ],
)
def test_other_ranges_of_what_was_joined_stay(shapes, s, e, n):
    body = "a = Concat<axis=1>(x, z) b = Slice(a, s, e, n) y = Exp(b)"
    inputs = f"float[{shapes[0]}] x, float[{shapes[1]}] z"
    assert_untouched(model(body, inputs, "float[*] y", initializers=ints(s=[s], e=[e], n=[n])), STEP)
