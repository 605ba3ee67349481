"""A pass that keeps numbers but does work twice breaks one law only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from onnx.parser import parse_model

from graphopt.ir import Value
from graphopt.passes import RewritePass
from graphopt.rewriting import Match, NoMatch, Rewriter, any_, op, rewrite
from graphopt.testing import GeneratedModel, LawBroken, assert_equivalent, assert_frugal, check_pass

HEAD = '<ir_version: 8, opset_import: ["": 17]> g '
FEEDS = {"x": np.arange(12, dtype=np.float32).reshape(3, 4)}
SHARED = f"{HEAD} (float[n,4] x) => (float[n,4] y, float[n,4] z) {{ a = Exp(x) y = Neg(a) z = Relu(a) }}"
ALONE = f"{HEAD} (float[n,4] x) => (float[n,4] y) {{ a = Exp(x) y = Neg(a) }}"


@rewrite(op.Neg(op.Exp(any_("x"), shared=True)))
def swap_neg(m: Match, rw: Rewriter) -> Value | NoMatch:
    """Neg(Exp(x)) -> Neg(Exp(x)), with nodes of its own."""
    if m["x"].producer is not None:
        return NoMatch("done")
    return rw.new("Neg", rw.new("Exp", rw.new("Identity", m["x"])))


class Swap(RewritePass):
    """Does nothing of use."""

    name = "swap-neg"
    rules = (swap_neg,)


def drawn(text: str) -> GeneratedModel:
    return GeneratedModel(parse_model(text), (FEEDS,))


def test_work_that_is_done_twice_is_told():
    assert_equivalent(Swap, drawn(SHARED))
    with pytest.raises(
        LawBroken, match=r"48 floating-point operations are left, expected no more than 36 \(Exp \+12\)"
    ) as caught:
        assert_frugal(Swap, drawn(SHARED))
    assert "frugal" == caught.value.law
    assert "swap-neg" in str(caught.value.application)


def test_as_much_work_as_before_is_fine():
    found = assert_frugal(Swap, drawn(ALONE))
    assert (True, 1, "") == (found.changed, found.compared, found.skipped)


def test_work_that_is_not_known_is_not_judged():
    unknown = f"{HEAD} (float[n,4] x) => (float[n,4] y, float[m] z) {{ a = Exp(x) y = Neg(a) z = Compress(a, c) }}"
    text = unknown.replace("{ a", "<bool[3] c = {1,1,0}> { a").replace(
        "z = Compress(a, c)", "b = Compress(a, c) z = Abs(b)"
    )
    assert "the work that the model does is not known" == assert_frugal(Swap, drawn(text)).skipped
    assert "the work that the model does is not known" == assert_frugal(Swap, ALONE, feeds=()).skipped


def test_the_law_is_one_of_check_pass_when_it_is_asked_for():
    models = st.just(drawn(SHARED))
    assert check_pass(Swap, models=models, laws=["equivalent"], transformations=[]).changed
    with pytest.raises(LawBroken, match="frugal"):
        check_pass(Swap, models=models, laws=["frugal"], transformations=[])
