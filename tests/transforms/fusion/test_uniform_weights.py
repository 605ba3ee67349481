"""Weights that are one number everywhere, made by ConstantOfShape, take a BatchNormalization in and stay made."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.fusion import FuseConvBatchNorm
from tests.transforms.harness import assert_close, assert_near, assert_untouched, model, run, transform

STEP = FuseConvBatchNorm()
STATISTICS = "s = ConstantOfShape<value = float[1] {0.5}>(n) v = ConstantOfShape<value = float[1] {2.0}>(n)"
KERNEL = "w = ConstantOfShape<value = float[1] {0.02}>(k)"
NORM = "y = BatchNormalization(c, s, s, s, v)"


def made(body, x="float[2,3,7,6] x", kernel=(4, 3, 3, 2), channels=4, outputs="float[*] y", **more):
    shapes = {"k": np.array(kernel, np.int64), "n": np.array([channels], np.int64)}
    return model(f"{STATISTICS} {KERNEL} {body}", x, outputs, initializers={**shapes, **more})


@pytest.mark.parametrize(
    ("body", "kernel", "op"),
    [
        ("c = Conv(x, w)", (4, 3, 3, 2), "Conv"),
        ("c = Conv<pads = [1,1,1,1]>(x, w, v)", (4, 3, 3, 2), "Conv"),
        ("c = Conv<group = 3>(x, w)", (6, 1, 3, 2), "Conv"),
        ("c = ConvTranspose<strides = [2,2]>(x, w, v)", (3, 4, 3, 2), "ConvTranspose"),
    ],
)
def test_made_weights_take_the_normalization_in(body, kernel, op):
    """Both weights are made of other numbers, nothing else is left."""
    channels = kernel[1] if op == "ConvTranspose" else kernel[0]
    proto = made(f"{body} {NORM}", kernel=kernel, channels=channels)
    assert_near(proto, STEP, ["ConstantOfShape", "ConstantOfShape", op], {"fold-uniform-batch-norm": 1})


def test_a_small_constant_of_one_number_counts_as_made():
    """What ConstantOfShape gives is folded early where it is small."""
    proto = made(f"c = Conv(x, w, b) {NORM}", b=np.full(4, 0.25, np.float32))
    assert_near(proto, STEP, ["ConstantOfShape", "ConstantOfShape", "Conv"], {"fold-uniform-batch-norm": 1})


@pytest.mark.parametrize("affine", ["Mul(d, m)", "Mul(m, d)", "Add(d, m)", "Add(m, d)"])
@pytest.mark.parametrize("before", ["d = BatchNormalization(x, s, s, s, v)", "d = Conv(x, w, v)"])
def test_a_made_operand_is_taken_in_as_well(affine, before):
    """As Caffe's Scale layers come: a made vector that is reshaped to the channels."""
    axes = np.array([1, 2], np.int64)
    proto = made(f"{before} t = ConstantOfShape<value = float[1] {{3.0}}>(n) m = Unsqueeze(t, axes) y = {affine}",
                 "float[2,4,7,6] x", (4, 4, 3, 2), axes=axes)  # fmt: skip
    outcome = transform(proto, STEP)
    assert {"fold-uniform-affine": 1} == outcome.applied
    assert not {"Mul", "Add", "Unsqueeze"} & set(outcome.ops)
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 4, 7, 6)).astype(np.float32)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), rtol=1e-5)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("c = Conv(x, w) y = BatchNormalization(c, s, s, s, q)", "the variance differs by channel"),
        ("c = Conv(x, q4) y = BatchNormalization(c, s, s, s, v)", "the kernel is stored"),
        (f"c = Conv(x, w) {NORM} z = Neg(c)", "the result is read by somebody else"),
        (f"c = Conv(x, w) {NORM} z = Conv(x, w)", "the kernel is read by somebody else"),
        (f"c = Conv(x, w, q) {NORM}", "the bias differs by channel"),
        ("c = Conv(x, w) u = Neg(s) t = Neg(v) y = BatchNormalization(c, s, s, s, t)", "the variance is computed"),
        ("u = ConstantOfShape<value = float[1] {-3.0}>(n) c = Conv(x, w) y = BatchNormalization(c, s, s, s, u)",
         "the variance has no root"),
        ("u = ConstantOfShape<value = float[1] {3e38}>(n) z = ConstantOfShape(n) c = Conv(x, w) y = BatchNormalization(c, u, s, s, z)",
         "the kernel would be infinite"),
    ],
)  # fmt: skip
def test_what_is_not_one_number_stays(body, why):
    """Near misses: each differs from the first case by one thing."""
    assert why
    more = {"q": np.array([1, 2, 3, 4], np.float32), "q4": np.ones((4, 3, 3, 2), np.float32)}
    outputs = "float[*] y, float[*] z" if "z =" in body else "float[*] y"
    assert_untouched(made(body, outputs=outputs, **more), STEP)
