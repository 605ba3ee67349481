"""Divisions of integers that have no result: they are an error when the model runs, and must not become a number when it is optimized."""

from __future__ import annotations

import pytest

import graphopt
from tests.regressions.held import parse


@pytest.mark.parametrize("op", ["Div", "Mod"])
@pytest.mark.parametrize("dtype", ["int32", "int64", "int8", "uint8"])
@pytest.mark.parametrize("level", ["O1", "O3"])
def test_division_by_a_constant_zero_stays(op, dtype, level):
    model = parse(
        f"main () => ({dtype}[2] y) <{dtype}[2] a = {{5, 1}}, {dtype}[2] b = {{0, 2}}> {{ y = {op}(a, b) }}", opset=14
    )
    result = graphopt.optimize(model, level=level, check=False).proto
    assert [node.op_type for node in result.graph.node] == [op]


def test_what_follows_a_division_by_zero_stays():
    model = parse(
        "main () => (float[2] y) <int64[2] a = {5, 1}, int64[2] b = {0, 2}> { c = Div(a, b) d = Cast<to=1>(c) y = Exp(d) }"
    )
    result = graphopt.optimize(model, level="O1", check=False).proto
    assert [node.op_type for node in result.graph.node] == ["Div", "Cast", "Exp"]


def test_a_divisor_that_only_a_runtime_knows():
    model = parse(
        "main () => (int64[2] y) <float[2] a = {0.25, 0.5}, int64[2] b = {4, 2}> "
        "{ c = Sin(a) d = Cast<to=7>(c) y = Div(b, d) }"
    )
    result = graphopt.optimize(model, level="O1", check=False).proto
    assert [node.op_type for node in result.graph.node] == ["Div"]
