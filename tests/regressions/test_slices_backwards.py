"""Slices that go backwards to the largest integer: nothing is left of them to the specification, all to ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.numerics import Exact
from tests.regressions.held import assert_kept, parse


@pytest.mark.parametrize("end", [(1 << 31) - 1, (1 << 63) - 1])
@pytest.mark.parametrize("data", ["x", "k"])
def test_end_at_the_largest_integer(end, data):
    model = parse(
        f"main (float[3] x) => (float[N] y, int64[1] z) <int64[1] s = {{-1}}, int64[1] e = {{{end}}}, int64[1] a = {{0}}, "
        f"int64[1] t = {{-1}}, float[3] k = {{1, 2, 3}}> {{ b = Slice({data}, s, e, a, t) y = Neg(b) z = Shape(b) }}"
    )
    # bit for bit at each level: a tolerance goes with a look at declared sizes, of which ONNX Runtime says 0 before it gives 3
    assert_kept(model, {"x": np.array([1, 2, 3], np.float32)}, numerics=Exact())


@pytest.mark.parametrize("position", [3, 4])
def test_axes_or_steps_of_unknown_shape(position):
    """Type inference takes them for absent ones."""
    inputs = ["x", "s", "e", "a", "t"]
    inputs[position] = "given"
    model = parse(
        f"main (float[4,4] x, int64 given) => (int64[2] z) <int64[1] s = {{-1}}, int64[1] e = {{-3}}, int64[1] a = {{0}}, "
        f"int64[1] t = {{-1}}> {{ y = Slice({', '.join(inputs)}) z = Shape(y) }}"
    )
    model.graph.input[1].type.tensor_type.ClearField("shape")
    assert_kept(model, {"x": np.ones((4, 4), np.float32), "given": np.array([1 if position == 3 else -2])})
