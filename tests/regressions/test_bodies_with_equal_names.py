"""Names that bodies of control flow share, when one of them moves out.

A generated model showed it: bodies beside each other may define the same names, so what moves out of one is renamed when another body has
its name. The names were counted only when the first constant had left its body already, so that one kept a name which it must not.
"""

from __future__ import annotations

import numpy as np

from tests.regressions.held import assert_kept, parse


def test_a_constant_of_a_loop_that_runs_once():
    model = parse(
        """main (float[3] x, int64 n) => (float[A] y, float[B] z)
        <int64 one = {1}, bool go = {1}> {
            y = Loop(one, go, x) <body = first (int64 i, bool c, float[3] s) => (bool d, float[3] t)
                <float[3] k = {1, 2, 3}> { d = Identity(c) t = Add(s, k) }>
            z = Loop(n, go, x) <body = second (int64 i, bool c, float[3] s) => (bool d, float[3] t)
                { k = Mul(s, s) d = Identity(c) t = Sub(k, s) }>
        }"""
    )
    assert_kept(model, {"x": np.array([1, 2, 3], np.float32), "n": np.array(2)})
