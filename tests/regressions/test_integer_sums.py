"""Sums of large integers: ONNX Runtime computes them as doubles, so they are not folded in another way."""

from __future__ import annotations

from tests.regressions.held import assert_kept, parse


def test_sum_that_no_double_holds():
    model = parse(
        "main () => (int64 y) <int64[2] a = {-9223372036854775808, 5}> { b = Identity(a) y = ReduceSum<keepdims=0>(b) }"
    )
    assert_kept(model, {})
