"""What a body computes alike in each turn is computed before it."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.loops import HoistLoopInvariants
from tests.transforms.whole_graph import optimize, parse

X = {"x": np.array([[-1.5, 0.0, 2.0]], np.float32), "w": np.eye(3, dtype=np.float32)}


def loop(inner: str, *, trips: str = "int64 n = {3}", condition: str = "", result: str = "h"):
    """A loop that multiplies its state with what ``inner`` makes of ``w``."""
    return parse(f"""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, float[3, 3] w) => (float[1, 3] y) <{trips}> {{
            y = Loop (n, {condition}, x) <body = b (int64 i, bool c, float[1, 3] s) => (bool d, float[1, 3] t)
                <float[1] k = {{2}}> {{
                d = Identity (c)
                {inner}
                t = MatMul (s, {result})
            }}>
        }}""")


def test_node_that_reads_only_from_around_moves():
    found = optimize(loop("h = Tanh (w)"), HoistLoopInvariants(), X)
    assert ["Tanh", "Loop"] == found.ops
    assert {"nodes": 1} == dict(found.result.stats)


def test_chain_moves_with_its_constants():
    found = optimize(loop("e = Mul (w, k)  h = Tanh (e)"), HoistLoopInvariants(), X)
    assert ["Mul", "Tanh", "Loop"] == found.ops


@pytest.mark.parametrize(
    "inner",
    [
        "h = Mul (w, s)",  # changes with each turn
        "e = Cast <to = 1> (i)  h = Add (w, e)",
        "h = RandomNormalLike (w)",
        "h = Dropout (w)",
        "h = Identity (w)",  # gains nothing
    ],
)
def test_what_changes_is_random_or_free_stays(inner):
    assert not optimize(loop(inner), HoistLoopInvariants()).result.changed


@pytest.mark.parametrize("trips", ["int64 n = {0}", "int64 n = {-1}"])
def test_what_can_fail_stays_where_the_body_may_not_run(trips):
    assert not optimize(loop("h = Mul (w, k)", trips=trips), HoistLoopInvariants(), X).result.changed
    assert ["Tanh", "Loop"] == optimize(loop("h = Tanh (w)", trips=trips), HoistLoopInvariants(), X).ops


def test_result_that_the_body_gives_out_stays():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, float[3, 3] w) => (float[1, 3] y, float[3, 3, 3] z) <int64 n = {3}> {
            y, z = Loop (n, , x) <body = b (int64 i, bool c, float[1, 3] s) => (bool d, float[1, 3] t, float[3, 3] h) {
                d = Identity (c)  h = Tanh (w)  t = MatMul (s, h)
            }>
        }""")
    assert not optimize(model, HoistLoopInvariants(), X).result.changed


def test_nested_loops_give_everything_out_in_one_run():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, float[3, 3] w) => (float[1, 3] y) <int64 n = {2}> {
            y = Loop (n, , x) <body = b (int64 i, bool c, float[1, 3] s) => (bool d, float[1, 3] t) {
                d = Identity (c)
                t = Loop (n, , s) <body = b2 (int64 i2, bool c2, float[1, 3] s2) => (bool d2, float[1, 3] t2) {
                    d2 = Identity (c2)  e = Tanh (w)  f = Exp (s)  h = MatMul (f, e)  t2 = Add (s2, h)
                }>
            }>
        }""")
    found = optimize(model, HoistLoopInvariants(), X)
    assert ["Tanh", "Loop"] == found.ops
    (outer,) = (node for node in found.model.graph.nodes if node.op == "Loop")
    assert ["Identity", "Exp", "MatMul", "Loop"] == [node.op for node in outer.subgraphs[0].nodes]


def test_names_that_another_body_has_too_stay_apart():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, float[3, 3] w) => (float[1, 3] y) <int64 n = {3}> {
            u = Loop (n, , x) <body = b (int64 i, bool c, float[1, 3] s) => (bool d, float[1, 3] t) {
                d = Identity (c)  h = Tanh (w)  t = MatMul (s, h)
            }>
            y = Loop (n, , u) <body = b (int64 i, bool c, float[1, 3] s) => (bool d, float[1, 3] t) {
                d = Identity (c)  h = Sin (w)  t = MatMul (s, h)
            }>
        }""")
    assert ["Tanh", "Loop", "Sin", "Loop"] == optimize(model, HoistLoopInvariants(), X).ops


@pytest.mark.parametrize(("length", "moves"), [("4", True), ("n", False)])
def test_scan_runs_if_its_length_says_so(length, moves):
    model = parse(f"""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, float[3, 3] w, float[{length}, 3] v) => (float[1, 3] y, float[{length}, 3] z) {{
            y, z = Scan (x, v) <
                num_scan_inputs = 1,
                body = b (float[1, 3] s, float[3] e) => (float[1, 3] t, float[3] o) <float[1] k = {{2}}> {{
                    h = Mul (w, k)  t = MatMul (s, h)  o = Add (e, e)
                }}
            >
        }}""")
    found = optimize(model, HoistLoopInvariants(), X | {"v": np.ones((4, 3), np.float32)})
    assert moves == found.result.changed
