"""Loops of constants that take for ever are left to those who run the model.

A damaged model showed it: all that a Loop read was constant, so it was folded, with 2**62 trips.
"""

from __future__ import annotations

import pytest

import graphopt
from tests.regressions.held import parse


@pytest.mark.parametrize(("trips", "expected"), [(3, []), (1 << 62, ["Loop"])])
@pytest.mark.parametrize("nested", [False, True])
def test_constant_loops(trips, expected, nested):
    loop = (
        "y = Loop(n, , x) <body = b (int64 i, bool c, float[2] v) => (bool d, float[2] w) "
        "{ d = Identity(c) w = Add(v, x) }>"
    )
    inside = f"If(yes) <then_branch = t () => (float[2] y) {{ {loop} }}, else_branch = e () => (float[2] z) {{ z = Neg(x) }}>"
    model = parse(
        f"main () => (float[2] r) <int64 n = {{{trips}}}, float[2] x = {{1, 2}}, bool yes = {{1}}> "
        f"{{ {'q = ' + inside if nested else loop.replace('y =', 'q =', 1)} r = Exp(q) }}"
    )
    result = graphopt.optimize(model, pipeline="fold-constants", check=False).proto
    ops = [node.op_type for node in result.graph.node if node.op_type != "Identity"]
    assert ops == ([*(["If"] if nested else ["Loop"]), "Exp"] if expected else [])
