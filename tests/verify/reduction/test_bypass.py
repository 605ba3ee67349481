"""Nodes are taken out of the middle of what they are part of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphopt.verify.reduction.shrinkers import BypassNodes, BypassNodesInside
from tests.verify.reduction.searching import fails_when, has_ops, model_of, numbers, ops, searched


def test_nodes_between_two_that_are_needed_go(tmp_path: Path) -> None:
    """Cutting can't do that: the second must read what the first gives, by some way."""
    text = "g (float[2] x) => (float[2] y) { a = Exp(x) b = Neg(a) c = Abs(b) d = Sqrt(c) y = Log(d) }"

    def linked(model) -> bool:
        nodes = {node.op: node for node in model.graph.nodes}
        return "Log" in nodes and "Exp" in nodes and nodes["Log"].inputs[0].producer is not None

    search = searched(tmp_path, model_of(text), BypassNodes(), fails_when(linked), [{"x": numbers(2)}])
    assert ["Exp", "Log"] == ops(search.case.model)


def test_value_computed_earlier_stands_in_where_no_input_has_the_type(tmp_path: Path) -> None:
    """The sum of a matrix has another type than the matrix; a result of the same type was there before."""
    text = """g (float[2,2] x) => (float[2] y) <int64[1] one = {1}> {
        a = ReduceMax<axes=[1], keepdims=0>(x) b = ReduceSum<keepdims=0>(x, one) c = Add(a, b) y = Neg(c) }"""
    search = searched(tmp_path, model_of(text), BypassNodes(), has_ops("Add", "ReduceMax"), [{"x": numbers(2, 2)}])
    assert ["ReduceMax", "Add"] == ops(search.case.model)


def test_output_moves_to_the_value_that_stands_in(tmp_path: Path) -> None:
    """When the last node goes, what it read is given out."""
    text = "g (float[2] x) => (float[2] y) { a = Exp(x) y = Neg(a) }"
    search = searched(tmp_path, model_of(text), BypassNodes(), has_ops("Exp"), [{"x": numbers(2)}])
    assert (["Exp"], ["a"]) == (ops(search.case.model), [value.name for value in search.case.model.graph.outputs])


@pytest.mark.parametrize("needed", ["Sin", "Cos"])
def test_nodes_in_branches_go(tmp_path: Path, needed: str) -> None:
    """In each branch on its own."""
    text = """g (bool c, float[2] x) => (float[2] y) { y = If(c) <
        then_branch = t () => (float[2] p) { p1 = Sin(x) p2 = Neg(p1) p = Abs(p2) },
        else_branch = e () => (float[2] q) { q1 = Cos(x) q2 = Exp(q1) q = Floor(q2) }> }"""
    check = fails_when(lambda model: any(node.op == needed for node in model.graph.walk()))
    search = searched(tmp_path, model_of(text), BypassNodesInside(), check, [{"c": np.array(True), "x": numbers(2)}])
    inner = [node.op for node in search.case.model.graph.walk() if node.op != "If"]
    assert needed in inner
    assert len(inner) <= 2


def test_nodes_in_functions_go_and_callers_still_fit(tmp_path: Path) -> None:
    """The function gives as many outputs as before."""
    text = """g (float[2] x) => (float[2] y) { y = own.f(x) }
    <domain: "own", opset_import: ["": 17]> f (a) => (d) { b = Exp(a) c = Neg(b) d = Abs(c) }"""
    check = fails_when(lambda m: any(n.op == "Neg" for f in m.functions.values() for n in f.graph.nodes))
    search = searched(tmp_path, model_of(text), BypassNodesInside(), check, [{"x": numbers(2)}])
    (function,) = search.case.model.functions.values()
    assert (["Neg"], 1) == ([node.op for node in function.graph.nodes], len(function.graph.outputs))
