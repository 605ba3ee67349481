"""Steps of Slice that no 32 bits hold.

A generated model showed it: ONNX's type inference follows slices of shapes element by element in steps cut to 32 bits, so that some steps
became 0, and inference took all memory there was.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.regressions.held import assert_kept, parse


@pytest.mark.parametrize("step", [1 << 31, 1 << 32, (1 << 63) - 1, -(1 << 63)])
@pytest.mark.parametrize("form", ["initializer", "node"])
def test_steps_of_a_slice_of_a_shape(step, form):
    start, end = (0, 2) if step > 0 else (-1, -1000)
    stated = f", int64[1] t = {{{step}}}" if form == "initializer" else ""
    node = f"t = Constant<value_ints=[{step}]>() " if form == "node" else ""
    model = parse(
        f"main (float[4,N] x) => (int64[M] y) <int64[1] s = {{{start}}}, int64[1] e = {{{end}}}, int64[1] a = {{0}}{stated}> "
        f"{{ {node} h = Shape(x) y = Slice(h, s, e, a, t) }}"
    )
    assert_kept(model, {"x": np.ones((4, 3), np.float32)})
