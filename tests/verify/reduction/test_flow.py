"""Control flow and functions are flattened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphopt.verify.reduction.shrinkers import FlattenIf, FlattenLoop, InlineCalls
from tests.verify.reduction.searching import array_of, fails_when, has_ops, input_of, model_of, numbers, ops, searched

NESTED = """g (bool c, float[2] x) => (float[2] y) { y = If(c) <
    then_branch = t () => (float[2] p) { p = If(c) <
        then_branch = t1 () => (float[2] r) { r = Sin(x) },
        else_branch = e1 () => (float[2] s) { s = Cos(x) }> },
    else_branch = e () => (float[2] q) { q = Tan(x) }> }"""


@pytest.mark.parametrize("needed", ["Sin", "Cos", "Tan"])
def test_branch_with_the_failure_takes_the_place_of_if(tmp_path: Path, needed: str) -> None:
    """At any depth; the condition goes."""
    check = fails_when(lambda model: any(node.op == needed for node in model.graph.walk()))
    search = searched(tmp_path, model_of(NESTED), FlattenIf(), check, [{"c": np.array(True), "x": numbers(2)}])
    assert [needed] == ops(search.case.model)


def test_failure_that_needs_the_if_keeps_it(tmp_path: Path) -> None:
    """The inner one goes all the same."""
    search = searched(tmp_path, model_of(NESTED), FlattenIf(), has_ops("If"), [{"c": np.array(True), "x": numbers(2)}])
    assert (["If"], 3) == (ops(search.case.model), search.case.node_count)


LOOP = """g (float[2] x) => (float[2] y, float[k,2] all) <int64 n = {5}, bool go = {1}> { y, all = Loop(n, go, x) <
    body = b (int64 i, bool on, float[2] v) => (bool on2, float[2] w, float[2] out) {
        on2 = Identity(on) w = Sin(v) out = Neg(w) }> }"""


def test_loop_becomes_one_iteration(tmp_path: Path) -> None:
    """The body stands in its place, what it collected has a new axis."""
    search = searched(tmp_path, model_of(LOOP), FlattenLoop(), fails_when(_has("Sin")), [{"x": numbers(2)}])
    assert ("Loop" not in ops(search.case.model), True) == (True, "Sin" in ops(search.case.model))


def test_loop_that_is_needed_runs_once(tmp_path: Path) -> None:
    """It has one trip then."""
    search = searched(tmp_path, model_of(LOOP), FlattenLoop(), has_ops("Loop"), [{"x": numbers(2)}])
    (loop,) = (node for node in search.case.model.graph.nodes if node.op == "Loop")
    assert 1 == int(array_of(input_of(loop)))


def test_calls_are_inlined_or_stay_one_by_one(tmp_path: Path) -> None:
    """A failure at one function keeps the call of that, and the other goes."""
    text = """g (float[2] x) => (float[2] y) { a = own.f(x) y = own.h(a) }
    <domain: "own", opset_import: ["": 17]> f (a) => (b) { b = Exp(a) }
    <domain: "own", opset_import: ["": 17]> h (a) => (b) { b = Neg(a) }"""
    feeds = [{"x": numbers(2)}]
    everything = searched(tmp_path, model_of(text), InlineCalls(), fails_when(_has("Neg")), feeds).case.model
    assert (["Exp", "Neg"], {}) == (ops(everything), everything.functions)
    one = searched(tmp_path, model_of(text), InlineCalls(), has_ops("own::h"), feeds).case.model
    assert ["Exp", "own::h"] == ops(one)


def _has(op: str):
    return lambda model: any(node.op == op for graph in model.graphs() for node in graph.nodes)
