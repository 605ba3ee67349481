"""Defaults of inputs that callers override, in number and in size.

Generated models showed it: from IR version 4 on an initializer that is also an input is only a default, but ONNX's type inference takes it
for a constant, so that shapes which follow from it were baked in.
"""

from __future__ import annotations

import numpy as np

from tests.regressions.held import assert_kept, parse


def test_a_default_that_says_where_to_look():
    model = parse(
        "main (float[1,2,2,1] x, int64[1] place) => (float[A,B,C,D] y) <int64[1] place = {3}> "
        "{ s = Shape(x) n = Gather<axis=0>(s, place) y = Expand(x, n) }"
    )
    x = np.ones((1, 2, 2, 1), np.float32)
    assert_kept(model, {"x": x}, {"x": x, "place": np.array([2])})


def test_a_default_that_is_a_shape():
    model = parse(
        "main (float[N] x, int64[2] shape) => (float[A,B] y) <int64[2] shape = {2, -1}> { a = Reshape(x, shape) y = Reshape(a, shape) }"
    )
    x = np.ones(6, np.float32)
    assert_kept(model, {"x": x}, {"x": x, "shape": np.array([3, 2])})


def test_a_default_of_another_size():
    model = parse("main (float[N] x, float[M] w) => (int64[1] y) <float[3] w = {1, 2, 3}> { y = Shape(w) }")
    x = np.ones(3, np.float32)
    assert_kept(model, {"x": x}, {"x": x, "w": np.ones(5, np.float32)})
