"""The turns of a short Loop, one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.loops import UnrollLoops
from tests.transforms.whole_graph import optimize, parse

X = {"x": np.array([[-1.5, 0.0, 2.0]], np.float32), "go": np.array(True)}


def loop(
    *,
    trips: str = "int64 n = {3}",
    condition: str = "",
    goes_on: str = "d = Identity (c)",
    body: str = "e = Cast <to = 1> (i)  t = Add (s, e)  o = Mul (s, k)",
    opset: int = 17,
):
    return parse(f"""
        <ir_version: 8, opset_import: ["": {opset}]>
        g (float[1, 3] x, bool go) => (float[1, 3] y, float[q, 1, 3] z) <{trips}> {{
            y, z = Loop (n, {condition}, x) <body = b (int64 i, bool c, float[1, 3] s) => (bool d, float[1, 3] t, float[1, 3] o)
                <float[1] k = {{2}}, bool always = {{1}}> {{
                {goes_on}
                {body}
            }}>
        }}""")


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
@pytest.mark.parametrize("goes_on", ["d = Identity (c)", "d = Identity (always)"])
def test_turns_stand_one_after_the_other(opset, goes_on):
    found = optimize(loop(opset=opset, goes_on=goes_on), UnrollLoops(), X)
    assert "Loop" not in found.ops
    assert 3 == found.ops.count("Add")
    assert 3 == found.ops.count("Mul")
    assert 3 == found.ops.count("Unsqueeze")
    assert 1 == found.ops.count("Concat")
    assert {"loops": 1} == dict(found.result.stats)


def test_state_that_is_handed_through_is_the_initial_value():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y, float[1, 3] u) <int64 n = {2}> {
            y, u = Loop (n, , x, x) <body = b (int64 i, bool c, float[1, 3] s, float[1, 3] r) => (bool c, float[1, 3] r, float[1, 3] s) {
            }>
        }""")
    found = optimize(model, UnrollLoops())
    assert "Loop" not in found.ops


@pytest.mark.parametrize(
    "change",
    [
        {"condition": "go"},
        {"goes_on": "a = Less (s, k)  r = Cast <to = 7> (a)  m = ReduceMax <keepdims = 0> (r)  d = Cast <to = 9> (m)"},
        {"goes_on": "d = Identity (go)"},
        {"trips": "int64 n = {17}"},
        {"trips": "int64 n = {1}"},  # what simplify-loop does
        {"trips": "int64 n = {0}"},
        {"body": "  ".join(f"e{i} = Exp (s)" for i in range(20)) + "  t = Add (s, e1)  o = Mul (s, k)"},
    ],
)
def test_other_loops_stay(change):
    assert not optimize(loop(**change), UnrollLoops(), X).result.changed


def test_limits_are_options():
    assert optimize(loop(trips="int64 n = {17}"), UnrollLoops(max_trips=17, max_nodes=100), X).result.changed
    assert not optimize(loop(), UnrollLoops(max_trips=2), X).result.changed
    assert not optimize(loop(), UnrollLoops(max_nodes=10), X).result.changed


def test_trip_count_that_is_not_constant_stays():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, int64 n) => (float[1, 3] y) {
            y = Loop (n, , x) <body = b (int64 i, bool c, float[1, 3] s) => (bool d, float[1, 3] t) { d = Identity (c)  t = Exp (s) }>
        }""")
    assert not optimize(model, UnrollLoops()).result.changed


def test_inner_loops_first():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y) <int64 n = {2}> {
            y = Loop (n, , x) <body = b (int64 i, bool c, float[1, 3] s) => (bool d, float[1, 3] t) {
                d = Identity (c)
                t = Loop (n, , s) <body = b2 (int64 i2, bool c2, float[1, 3] s2) => (bool d2, float[1, 3] t2) {
                    d2 = Identity (c2)  t2 = Sin (s2)
                }>
            }>
        }""")
    found = optimize(model, UnrollLoops(), {"x": X["x"]})
    assert 4 == found.ops.count("Sin")
    assert {"loops": 2} == dict(found.result.stats)
