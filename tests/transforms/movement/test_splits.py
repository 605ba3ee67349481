"""Slices side by side, single elements of an axis, splits into single elements."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()


def bounds(*numbers):
    return {f"n{number}".replace("-", "m"): np.array([number], np.int64) for number in numbers}


HALVES = "a = Slice(x, n0, n2, n1) b = Slice(x, n2, n99, n1) y = Neg(b) z = Exp(a)"
HALF_BOUNDS = bounds(0, 1, 2, 99)


@pytest.mark.parametrize("opset", [10, 12, 13, 18, 21])
def test_slices_side_by_side_are_one_split(opset):
    proto = model(HALVES, "float[3,5] x", "float[3,3] y, float[3,2] z", opset=opset, initializers=HALF_BOUNDS)
    outcome = assert_exact(proto, STEP, ["Split", "Neg", "Exp"], {"split-instead-of-slices": 1})
    assert 2 == len(outcome.after.graph.node[0].output)


def test_the_split_stands_before_the_first_reader():
    body = "b = Slice(x, n2, n99, n1) c = Neg(b) a = Slice(x, n0, n2, n1) y = Concat<axis=1>(a, c)"
    proto = model(body, "float[3,5] x", initializers=HALF_BOUNDS)
    assert_exact(proto, STEP, ["Split", "Neg", "Concat"], {"split-instead-of-slices": 1})
    computed = model(
        body.replace("(x", "(v").replace("b = ", "v = Exp(x) b = ", 1), "float[3,5] x", initializers=HALF_BOUNDS
    )
    assert_exact(computed, STEP, ["Exp", "Split", "Neg", "Concat"], {"split-instead-of-slices": 1})


def test_parts_may_be_given_out():
    body = "a = Slice(x, n0, n2, n1) y = Slice(x, n2, n99, n1) z = Exp(a)"
    proto = model(body, "float[3,5] x", "float[3,3] y, float[3,2] z", initializers=HALF_BOUNDS)
    assert_exact(proto, STEP, ["Split", "Exp"], {"split-instead-of-slices": 1})


@pytest.mark.parametrize(
    ("shape", "body", "outputs"),
    [
        ("3,6", HALVES.replace("n99", "n5"), "float[3,3] y, float[3,2] z"),  # the last column is left out
        ("3,5", HALVES.replace("n2, n99", "n1, n99"), "float[3,4] y, float[3,2] z"),  # they overlap
        ("3,N", HALVES, "float[3,M] y, float[3,2] z"),  # the size is not known
        (
            "5,5",
            "a = Slice(x, n0, n2, n1) b = Slice(x, n2, n99, n0) y = Neg(b) z = Exp(a)",
            "float[3,5] y, float[5,2] z",
        ),
        (
            "3,5",
            "a = Slice(x, n0, n2, n1, n2) b = Slice(x, n2, n99, n1) y = Neg(b) z = Exp(a)",
            "float[3,3] y, float[3,1] z",
        ),
        ("3,5", "a = Slice(x, n0, n99, n1, n2) y = Exp(a)", "float[3,3] y"),
    ],
)
def test_parts_that_are_not_all_of_it_stay(shape, body, outputs):
    assert_untouched(model(body, f"float[{shape}] x", outputs, initializers=bounds(0, 1, 2, 5, 99)), STEP)


def test_bounds_that_are_inputs_stay():
    more = {name: array for name, array in HALF_BOUNDS.items() if name != "n2"}
    assert_untouched(model(HALVES, "float[3,5] x, int64[1] n2", "float[3,A] y, float[3,B] z", initializers=more), STEP)


@pytest.mark.parametrize("opset", [11, 13, 21])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (2, 3), (-1, 99), (-2, -1)])
def test_one_element_that_loses_its_axis_is_a_gather(opset, start, end):
    axes = "Squeeze<axes=[1]>(a)" if opset < 13 else "Squeeze(a, n1)"
    numbers = {"start": np.array([start], np.int64), "end": np.array([end], np.int64), "n1": np.array([1], np.int64)}
    if end == 99:
        numbers["end"] = np.array([2**63 - 1], np.int64)
    proto = model(
        f"a = Slice(x, start, end, n1) b = {axes} y = Exp(b)",
        "float[2,M,4] x",
        "float[2,4] y",
        opset=opset,
        initializers=numbers,
    )
    assert_exact(proto, STEP, ["Gather", "Exp"], {"gather-instead-of-slice": 1}, sizes={"M": 3})


@pytest.mark.parametrize(
    ("body", "kind", "opset"),
    [
        ("a = Slice(x, n0, n2, n1) b = Transpose(a) y = Exp(b)", "float[2,3,4]", 21),
        ("a = Slice(x, n0, n1, n1) b = Squeeze(a, n1) c = Transpose(a) y = Max(b, c)", "float[2,3,2]", 21),
        ("a = Slice(x, n0, n1, n1) y = Squeeze(a, n1)", "string[2,3,4]", 21),
        ("a = Slice<starts=[-2], ends=[-1], axes=[1]>(x) b = Squeeze<axes=[1]>(a) y = Exp(b)", "float[2,3,4]", 9),
    ],
)
def test_other_slices_stay(body, kind, opset):
    if "c = " in body:
        proto = model(body, f"{kind} x", "float[2,1,2] y", opset=opset, initializers=bounds(0, 1, 2))
    else:
        proto = model(
            body,
            f"{kind} x",
            "string[2,4] y" if "string" in kind else "float[*] y",
            opset=opset,
            initializers=bounds(0, 1, 2),
        )
    assert_untouched(proto, STEP)


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_single_elements_of_a_split_are_gathers(opset):
    squeeze = "{} = Squeeze<axes=[0]>({})" if opset < 13 else "{} = Squeeze({}, n0)"
    split = "a, b, c = Split<axis=0>(x)" if opset < 18 else "a, b, c = Split<axis=0, num_outputs=3>(x)"
    body = " ".join([split, *(squeeze.format(name * 2, name) for name in "abc"), "y = Sum(aa, bb, cc)"])
    proto = model(body, "float[3,N,4] x", opset=opset, initializers=bounds(0))
    assert_exact(proto, STEP, ["Gather", "Gather", "Gather", "Sum"], {"gather-instead-of-split": 1}, sizes={"N": 2})


@pytest.mark.parametrize(
    ("shape", "rest", "outputs"),
    [
        ("2,1,4", "bb = Exp(b) y = Sum(aa, bb)", "float[1,1,4] y"),
        ("4,1,4", "bb = Transpose(b) y = Sum(a, bb)", "float[*] y"),
        ("2,1,4", "bb = Squeeze(b, n1) y = Sum(aa, bb)", "float[*] y"),
        ("2,1,4", "bb = Squeeze(b, n0) y = Sum(aa, bb)", "float[1,4] y, float[1,1,4] a"),
    ],
)
def test_other_splits_stay(shape, rest, outputs):
    body = f"a, b = Split<axis=0, num_outputs=2>(x) aa = Squeeze(a, n0) {rest}"
    if shape.startswith("4"):
        body = body.replace("aa = Squeeze(a, n0) ", "")
    assert_untouched(model(body, f"float[{shape}] x", outputs, initializers=bounds(0, 1)), STEP)
