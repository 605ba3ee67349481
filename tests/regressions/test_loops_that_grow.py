"""Loops that carry another shape each time, whatever the file states of their bodies.

Found by looking: the stated shape of what a loop carries was believed, so the shape of a tensor that grows was folded to a constant.
Runtimes never look at the statement.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.regressions.held import assert_kept, parse


@pytest.mark.parametrize("stated", ["float[2]", "float[N]", "float"])
def test_shape_of_what_grows(stated):
    given_back = stated
    model = parse(
        f"""main (float[2] x, int64 n) => (float[A] y, int64[B,C] z) {{
            y, z = Loop(n, , x) <body = b (int64 i, bool c, {stated} v) => (bool d, {given_back} w, int64[1] k)
                {{ d = Identity(c) k = Shape(v) w = Concat<axis=0>(v, v) }}>
        }}"""
    )
    for value in (model.graph.node[0].attribute[0].g.input[2], model.graph.node[0].attribute[0].g.output[1]):
        if stated == "float":
            value.type.tensor_type.ClearField("shape")
    assert_kept(model, {"x": np.ones(2, np.float32), "n": np.array(3)})


def test_shape_of_what_starts_otherwise():
    model = parse(
        """main (float[N] x, int64 n) => (float[A] y, int64[B,C] z) {
            y, z = Loop(n, , x) <body = b (int64 i, bool c, float[2] v) => (bool d, float[2] w, int64[1] k)
                { d = Identity(c) k = Shape(v) w = Neg(v) }>
        }"""
    )
    assert_kept(model, {"x": np.ones(2, np.float32), "n": np.array(3)}, {"x": np.ones(5, np.float32), "n": np.array(3)})


def test_slices_that_are_larger_than_stated():
    model = parse(
        """main (float[T,N] x) => (int64[A,B] z) {
            z = Scan<num_scan_inputs=1, body = b (float[2] v) => (int64[1] k) { k = Shape(v) }>(x)
        }"""
    )
    assert_kept(model, {"x": np.ones((3, 2), np.float32)}, {"x": np.ones((3, 5), np.float32)})
