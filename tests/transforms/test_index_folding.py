"""Gathers of each element in its place vanish with their indices; gathers that are nearly that stay."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.passes import RewritePass
from graphopt.transforms.index_folding import GatherEachElement, GatherEachPosition
from tests.transforms.harness import assert_exact, assert_untouched, model

CONSTANTS = {
    "zero": np.array(0),
    "one": np.array(1),
    "two": np.array(2),
    "front": np.array([0]),
    "back": np.array([1]),
    "last": np.array([-1]),
    "around": np.array([1, 2]),
    "outer": np.array([0, 1]),
    "twice": np.array([2, 1]),
}


class EachInItsPlace(RewritePass):
    """Both rules."""

    name = "each-in-its-place"
    rules = (GatherEachPosition(), GatherEachElement())


RUN = EachInItsPlace()
COUNT = "s = Shape(x) n = Gather(s, one) "
GRID = (
    "s = Shape(x) m = Gather(s, zero) n = Gather(s, one) r = Range(zero, m, one) c = Range(zero, n, one) "
    "u = Unsqueeze(r, around) v = Unsqueeze(c, outer) t = Add(u, v) h = Shape(t) d = Expand(u, h) e = Expand(v, h) "
    "p = Unsqueeze(d, last) q = Unsqueeze(e, last) "
)


def of(body: str, inputs: str = "float[b,s] x", opset: int = 17):
    return model(body, inputs, opset=opset, initializers=CONSTANTS)


@pytest.mark.parametrize("sizes", [{"b": 2, "s": 3}, {"b": 0, "s": 3}, {"b": 2, "s": 0}, {"b": 1, "s": 1}])
@pytest.mark.parametrize(
    ("body", "name"),
    [
        (COUNT + "i = Range(zero, n, one) g = Gather<axis=1>(x, i) y = Neg(g)", "gather-each-position"),
        (
            COUNT + "i = Range(zero, n, one) j = Unsqueeze(i, front) g = Gather<axis=-1>(x, j) y = Neg(g)",
            "gather-each-position",
        ),
        (
            COUNT
            + "m = Gather(s, zero) r = Range(zero, m, one) c = Unsqueeze(r, back) w = Mul(c, n) i = Range(zero, n, one) "
            "p = Add(w, i) f = Reshape(x, last) g = Gather(f, p) y = Neg(g)",
            "gather-each-position",
        ),
        (GRID + "w = Concat<axis=-1>(p, q) g = GatherND(x, w) y = Neg(g)", "gather-each-element"),
    ],
    ids=["positions", "positions of higher rank", "flat positions", "elements"],
)
def test_what_takes_each_element_in_its_place_vanishes(body, name, sizes):
    kept = ["Unsqueeze", "Neg"] if "Unsqueeze(i" in body or "GatherND" in body else ["Neg"]
    assert_exact(of(body), RUN, kept, {name: 1}, sizes=sizes)


@pytest.mark.parametrize(
    "body",
    [
        COUNT + "i = Range(one, n, one) g = Gather<axis=1>(x, i) y = Neg(g)",
        COUNT + "i = Range(zero, n, two) g = Gather<axis=1>(x, i) y = Neg(g)",
        COUNT + "i = Range(zero, n, one) g = Gather<axis=0>(x, i) y = Neg(g)",
        COUNT
        + "i = Range(zero, n, one) j = Unsqueeze(i, front) k = Expand(j, twice) g = Gather<axis=1>(x, k) y = Neg(g)",
        COUNT + "i = Range(zero, n, one) j = Mul(i, i) g = Gather<axis=1>(x, j) y = Neg(g)",
        GRID + "w = Concat<axis=-1>(q, p) g = GatherND(x, w) y = Neg(g)",
        GRID + "w = Concat<axis=-1>(p, p) g = GatherND(x, w) y = Neg(g)",
        GRID + "g = GatherND(x, p) y = Neg(g)",
        COUNT
        + "m = Gather(s, zero) r = Range(zero, m, one) i = Range(zero, n, one) c = Unsqueeze(i, back) w = Mul(c, m) "
        "p = Add(w, r) f = Reshape(x, last) g = Gather(f, p) y = Neg(g)",
    ],
    ids=[
        "from the second on",
        "every second",
        "of another axis",
        "twice",
        "squares",
        "transposed",
        "diagonal",
        "rows",
        "flat, by columns",
    ],
)
def test_what_takes_others_stays(body):
    assert_untouched(of(body), RUN)


def test_a_length_of_one_name_that_is_another_axis_is_the_same_length():
    body = COUNT + "i = Range(zero, n, one) g = Gather<axis=1>(z, i) y = Neg(g)"
    assert_exact(
        of(body, "float[b,s] x, float[4,s] z"), RUN, ["Neg"], {"gather-each-position": 1}, sizes={"b": 2, "s": 3}
    )
    assert_untouched(of(body, "float[b,s] x, float[4,t] z"), RUN)


def test_a_captured_tensor_in_a_branch():
    body = (
        COUNT + "y = If(c) <then_branch = t () => (float[p,q] g) { i = Range(zero, n, one) g = Gather<axis=1>(x, i) }, "
        "else_branch = e () => (float[p,q] h) { h = Neg(x) }>"
    )
    outcome = assert_exact(
        of(body, "float[b,s] x, bool c"), RUN, ["If"], {"gather-each-position": 1}, sizes={"b": 2, "s": 3}
    )
    assert outcome.after.graph.node[0].op_type == "If"
