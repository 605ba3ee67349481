"""``If(size == 1, Squeeze, as it is)``: the squeezing branch, where any other size fails further down."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.control_flow import SimplifyIf
from tests.transforms.whole_graph import assert_same_bits, optimize, parse

X = {"x": np.arange(10, dtype=np.float32).reshape(2, 5, 1)}


def model(
    *,
    tail: str = "u = Unsqueeze (z, zero)  y = Conv (u, w)",
    axis: int = -1,
    squeezed: int = 2,
    one: int = 1,
    other: str = "q = Identity (a)",
    rank: str = "float[n, 5, k]",
    outputs: str = "float[p, q, r] y",
):
    """The condition is about ``axis``, the branch squeezes ``squeezed``."""
    return parse(f"""
        <ir_version: 8, opset_import: ["": 17]>
        g ({rank} x) => ({outputs})
        <int64[1] place = {{{axis}}}, int64[1] axes = {{{squeezed}}}, int64[1] one = {{{one}}}, int64[1] zero = {{0}}, int64 two = {{2}},
         float[1, 2, 1] w = {{1, 2}}, float[1, 1, 1, 1] w4 = {{1}}> {{
            a = Relu (x)
            s = Shape (a)
            size = Gather (s, place)
            c = Equal (size, one)
            z = If (c) <
                then_branch = t () => (float[pn, pm] p) {{ p = Squeeze (a, axes) }},
                else_branch = f () => (float[qn, qm, qk] q) {{ {other} }}
            >
            {tail}
        }}""")


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize("squeezed", [-1, 2])
def test_rank_that_fails_further_down_decides(axis, squeezed):
    given = model(axis=axis, squeezed=squeezed)
    found = optimize(given, SimplifyIf(), X)
    assert "If" not in found.ops
    assert "Squeeze" in found.ops
    assert_same_bits(given, found.proto, X)


def test_what_failed_before_fails_still():
    found = optimize(model(), SimplifyIf())
    feeds = {"x": np.ones((2, 5, 3), np.float32)}
    for proto in (model(), found.proto):
        with pytest.raises(Exception, match=r"Squeeze|Conv|[Dd]imension|shape"):
            assert_same_bits(proto, proto, feeds)


@pytest.mark.parametrize(
    "consumer",
    [
        "e = Exp (z)  y = Unsqueeze (e, zero)",  # nothing refuses a rank
        "u = Unsqueeze (z, zero)  y = Conv (u, w4)",  # it is the other rank that would pass
        "u = Unsqueeze (z, zero)  y = Transpose (u)",  # any rank has a reverse
    ],
)
def test_nothing_is_decided_without_a_contradiction(consumer):
    assert not optimize(model(tail=consumer, outputs="float y"), SimplifyIf()).result.changed


@pytest.mark.parametrize(
    "change",
    [
        {"squeezed": 0},  # another axis than the condition is about
        {"one": 2},
        {"other": "q = Neg (a)"},
        {"other": "q = Identity (x)"},  # another value than the one that is measured
        {"rank": "float"},  # nobody knows what the rank would be
    ],
)
def test_other_conditions_and_branches_stay(change):
    assert not optimize(model(**change), SimplifyIf()).result.changed


def test_ranks_are_followed_into_what_they_choose():
    """As scripted recurrent layers do it: the rank decides whether a batch axis is added, and the layer takes one rank only."""
    tail = """
            s2 = Shape (z)
            r = Size (s2)
            is2 = Equal (r, two)
            not2 = Not (is2)
            v = If (not2) <
                then_branch = t2 () => (float[mb, mn, mm] m) { m = Unsqueeze (z, zero) },
                else_branch = f2 () => (float[mo, mp] m2) { m2 = Identity (z) }
            >
            u = Unsqueeze (v, zero)
            y = Conv (u, w)"""
    given = model(tail=tail)
    found = optimize(given, SimplifyIf(), X)
    assert 1 == found.ops.count("If")  # the other one goes when its condition is known
    assert_same_bits(given, found.proto, X)


def test_contradiction_in_a_branch_that_may_not_run_proves_nothing():
    tail = """
            d = ReduceMax <keepdims = 0> (x)
            e = Cast <to = 9> (d)
            y = If (e) <
                then_branch = t2 () => (float m) { m = Transpose <perm = [1, 0]> (z) },
                else_branch = f2 () => (float[mo, mp] m2) { m2 = Identity (z) }
            >"""
    assert not optimize(model(tail=tail, outputs="float y"), SimplifyIf()).result.changed
