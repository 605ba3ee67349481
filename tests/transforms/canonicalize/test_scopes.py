"""Canonical forms inside subgraphs and function bodies, across captured values, and without knowledge of types."""

from __future__ import annotations

import numpy as np

from graphopt.transforms.canonicalize import Canonicalize, CanonicalizeAlgebra
from tests.transforms.harness import assert_same_bits, feeds_for, model, run, transform

STEP = Canonicalize()


def branches(then, otherwise, before="", **more):
    then_branch = f"then_branch = t () => (float[2,3] p) {{ {then} }}"
    body = f"{before} y = If (c) <{then_branch}, else_branch = e () => (float[2,3] q) {{ {otherwise} }}>"
    return model(body, "float[2,3] x, bool c", "float[2,3] y", **more)


def check(proto, applied):
    outcome = transform(proto, STEP)
    assert applied == outcome.applied
    for condition in (True, False):
        feeds = feeds_for(proto) | {"c": np.array(condition)}
        assert_same_bits(run(proto, feeds), run(outcome.after, feeds))
    return outcome


def test_both_branches_are_rewritten():
    proto = branches(
        "a = Neg(x) b = Neg(a) p = Exp(b)", "d = Identity(x) q = Mul(d, one)", initializers={"one": np.float32(1)}
    )
    outcome = check(proto, {"shorten-unary-chain": 1, "eliminate-identity": 1, "drop-neutral-operand": 1})
    inner = [[node.op for node in graph.nodes] for graph in outcome.ir.graph.walk_graphs()][1:]
    assert [["Exp"], ["Identity"]] == inner  # an output of a branch can't take the name of a captured value


def test_a_captured_value_is_read_instead_of_what_undoes_it():
    outcome = check(branches("b = Neg(n) p = Exp(b)", "q = Exp(n)", "n = Neg(x)"), {"shorten-unary-chain": 1})
    assert ["Neg", "If", "Exp", "Exp"] == [node.op for node in outcome.ir.graph.walk()]


def test_an_outer_node_read_by_a_branch_is_not_merged_into_it():
    """The Clip outside has one use, which is inside: it would be computed elsewhere."""
    constants = {"z": np.float32(0), "m": np.float32(-1), "s": np.float32(6)}
    proto = branches("p = Clip(n, z, s)", "q = Exp(x)", "n = Clip(x, m, s)", initializers=constants)
    check(proto, {})


def test_a_captured_use_counts():
    proto = branches(
        "p = Exp(a)",
        "q = Exp(x)",
        "a = Clip(x, m, s) b = Relu(a)",
        initializers={"m": np.float32(-1), "s": np.float32(6)},
    )
    proto.graph.output.append(model("b = Exp(x)", outputs="float[2,3] b").graph.output[0])
    check(proto, {})


def test_identity_outside_is_seen_through_by_the_branch():
    check(branches("p = Exp(i)", "q = Neg(i)", "i = Identity(x)"), {"eliminate-identity": 1})


def test_function_bodies_are_rewritten():
    functions = '<domain: "local", opset_import: ["" : 21]> twice (u) => (v) { a = Identity(u) b = Neg(a) d = Neg(b) v = Exp(d) }'
    proto = model("y = local.twice(x)", functions=functions, imports=', "local" : 1')
    outcome = transform(proto, STEP)
    assert {"eliminate-identity": 1, "shorten-unary-chain": 1} == outcome.applied
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


def test_attributes_of_the_function_are_not_guessed():
    """Each node has an attribute that only the caller states."""
    functions = (
        '<domain: "local", opset_import: ["" : 21]> f <p, t, a> (u) => (v) '
        "{ b = Transpose<perm: ints = @p>(u) d = Transpose<perm: ints = @p>(b) e = Cast<to: int = @t>(d) v = Concat<axis: int = @a>(e) }"
    )
    proto = model("y = local.f<p=[1,0], t=1, a=0>(x)", functions=functions, imports=', "local" : 1')
    outcome = transform(proto, STEP)
    assert {} == outcome.applied
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


def test_custom_operators_of_the_same_name_are_not_meant():
    proto = model(
        "a = other.Identity(x) b = other.Neg(a) d = other.Neg(b) y = other.Mul(d, one)",
        imports=', "other" : 1',
        initializers={"one": np.float32(1)},
    )
    assert {} == transform(proto, STEP).applied
    assert {} == transform(proto, CanonicalizeAlgebra()).applied
