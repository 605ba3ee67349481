"""Integers that leave 64 bits: sizes cast to 8 or 16 bits wrap around, powers of integers are computed in floating point."""

from __future__ import annotations

import numpy as np
import pytest

from tests.regressions.held import assert_kept, parse


@pytest.mark.parametrize(("code", "size"), [(2, 264), (3, 260)])
def test_a_size_that_wraps_around(code, size):
    """A Reshape whose target went through a narrow type is not a Reshape to the input's own shape."""
    model = parse(
        "main (float[N,4] x) => (float[A,B] y) <int64[1] zero = {0}, int64[1] rest = {-1}> "
        f"{{ s = Shape(x) u = Cast<to={code}>(s) v = Cast<to=7>(u) n = Gather(v, zero) t = Concat<axis=0>(n, rest) "
        "y = Reshape(x, t) }"
    )
    assert_kept(model, {"x": np.arange(size * 4, dtype=np.float32).reshape(size, 4)})


def test_an_integer_to_the_power_of_one():
    model = parse("main (int64[N] x) => (int64[N] y) <float one = {1}> { y = Pow(x, one) }")
    assert_kept(model, {"x": np.array([(1 << 60) + 1, 3], np.int64)})
