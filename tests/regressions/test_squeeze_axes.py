"""Axes of Squeeze and Unsqueeze that ONNX's type inference reads otherwise than runtimes do.

Generated models showed it: before opset 11, inference finds only sorted axes that are not negative, so ``Squeeze[2, 1]`` seemed to keep an
axis, and nodes after it were removed as doing nothing. From opset 13 on, an empty list of axes is none of them to the specification and
to inference, and all of them to ONNX Runtime.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.regressions.held import assert_kept, parse

X = np.arange(6, dtype=np.float32).reshape(3, 1, 2)


@pytest.mark.parametrize("axes", ["2, 1", "1, 2"])
def test_unsorted_axes_of_an_old_squeeze(axes):
    model = parse(
        f"main (float[3,1,2] x) => (float[A,B] y) {{ a = Unsqueeze<axes=[2]>(x) y = Squeeze<axes=[{axes}]>(a) }}",
        opset=8,
    )
    assert_kept(model, {"x": X})


@pytest.mark.parametrize("axes", ["-1", "0, -1", "-1, 0"])
def test_negative_axes_of_an_old_unsqueeze(axes):
    """ONNX Runtime takes them before opset 11, too, where the specification has none."""
    model = parse(
        f"main (float[3,1,2] x) => (float y) {{ a = Unsqueeze<axes=[{axes}]>(x) y = ReduceSum<keepdims=0>(a) }}",
        opset=10,
    )
    assert_kept(model, {"x": X})


def test_empty_axes_of_a_squeeze():
    model = parse(
        "main (float[3,1,2] x) => (float[A,B,C] y) <int64[0] none = {}, int64[1] zero = {0}> "
        "{ a = Squeeze(x, none) b = Unsqueeze(a, zero) y = Transpose<perm=[2, 0, 1]>(b) }"
    )
    assert_kept(model, {"x": X})


def test_empty_axes_of_a_squeeze_of_a_constant():
    model = parse(
        "main (float[3,2] x) => (float[A,B] y) <int64[0] none = {}, float[1,2] c = {1, 2}> { a = Squeeze(c, none) y = Add(x, a) }"
    )
    assert_kept(model, {"x": X.reshape(3, 2)})


def test_empty_axes_of_a_squeeze_of_a_shape():
    model = parse(
        "main (float[6] x) => (int64 y) <int64[0] none = {}> { s = Shape(x) t = Squeeze(s, none) y = Add(t, t) }"
    )
    assert_kept(model, {"x": X.reshape(6)})


def test_empty_axes_from_a_constant_node():
    model = parse(
        "main (float[3,1,2] x) => (float[A,B] y) { none = Constant<value = int64[0] {}>() a = Squeeze(x, none) y = Squeeze(a, none) }"
    )
    assert_kept(model, {"x": X})
