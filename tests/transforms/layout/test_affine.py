"""What is added and scaled before a convolution goes into it where nothing is padded, and becomes one BatchNormalization elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.layout import FuseAffineConv
from tests.transforms.harness import assert_close, assert_near, assert_untouched, model, run, transform

STEP = FuseAffineConv()
SHIFT = {"fold-shift-into-conv": 1}


def normal(*shape, seed=0):
    numbers = np.random.default_rng(seed).normal(size=shape)
    return (numbers + np.sign(numbers)).astype(np.float32)


@pytest.mark.parametrize("body", ["t = Add(x, c)", "t = Add(c, x)", "t = Sub(x, c)"])
@pytest.mark.parametrize(
    ("conv", "weights", "shape"),
    [
        ("Conv(t, w, b)", (3, 4, 2, 2), (4, 1, 1)),
        ("Conv(t, w)", (3, 4, 1, 1), ()),
        ("Conv<group=2, strides=[2, 1]>(t, w)", (6, 2, 3, 1), (1, 4, 1, 1)),
        ('Conv<auto_pad="VALID">(t, w, b)', (3, 4, 2, 2), (1,)),
    ],
)
def test_shifts_go_into_convolutions_that_pad_nothing(body, conv, weights, shape):
    constants = {"w": normal(*weights), "c": normal(*shape, seed=1), "b": normal(weights[0], seed=2)}
    assert_near(model(f"{body} y = {conv}", "float[N,4,5,6] x", initializers=constants), STEP, ["Conv"], SHIFT)


def test_factor_and_shift_become_a_normalization_before_pads_and_go_into_the_weights_without():
    constants = {"k": normal(1), "c": normal(4, 1, 1, seed=1), "w": normal(3, 4, 3, 3, seed=2)}
    padded = model(
        "s = Mul(x, k) t = Add(s, c) y = Conv<pads=[1,1,1,1]>(t, w)", "float[N,4,5,6] x", initializers=constants
    )
    assert_near(padded, STEP, ["BatchNormalization", "Conv"], {"fuse-scale-and-shift": 1})
    plain = model("s = Mul(k, x) t = Sub(s, c) y = Conv(t, w)", "float[N,4,5,6] x", initializers=constants)
    outcome = transform(plain, STEP)
    assert outcome.ops[-1] == "Conv"
    assert "Add" not in outcome.ops
    feeds = {"x": normal(2, 4, 5, 6, seed=5)}
    assert_close(run(plain, feeds), run(outcome.after, feeds), 1e-5)


@pytest.mark.parametrize(
    "pool", ["GlobalAveragePool(t)", "AveragePool<kernel_shape=[2, 2]>(t)", "MaxPool<kernel_shape=[2, 2]>(t)"]
)
def test_factor_and_shift_become_a_normalization_before_pooling(pool):
    constants = {"k": normal(1), "c": normal(1, seed=1)}
    proto = model(f"s = Mul(x, k) t = Add(s, c) y = {pool}", "float[N,4,5,6] x", initializers=constants)
    assert_near(proto, STEP, ["BatchNormalization", pool.split("(")[0].split("<")[0]], {"fuse-scale-and-shift": 1})


def test_normalization_takes_in_what_is_before_it():
    constants = {name: np.abs(normal(4, seed=seed)) for seed, name in enumerate(("s", "b", "m", "v"))}
    for before in ("Mul(x, c)", "Add(x, c)"):
        proto = model(
            f"t = {before} y = BatchNormalization(t, s, b, m, v)",
            "float[N,4,5,6] x",
            initializers={**constants, "c": normal(4, 1, 1, seed=9)},
        )
        assert_near(proto, STEP, ["BatchNormalization"], {"fold-affine-into-batch-norm": 1})


@pytest.mark.parametrize("behind", ["Mul(t, c)", "Mul(c, t)", "Add(t, c)", "Add(c, t)", "Sub(t, c)"])
def test_normalization_takes_in_what_is_behind_it(behind):
    """As Caffe's Scale layers come where no convolution is before them."""
    constants = {name: np.abs(normal(4, seed=seed)) for seed, name in enumerate(("s", "b", "m", "v"))}
    constants["c"] = normal(4, 1, 1, seed=9)
    body = f"t = BatchNormalization(x, s, b, m, v) y = {behind}"
    proto = model(body, "float[N,4,5,6] x", initializers=constants)
    assert_near(proto, STEP, ["BatchNormalization"], {"fold-affine-behind-batch-norm": 1})
    for other, c in ((body, normal(6)), (body, normal(2, 4, 1, 1)), (f"{body} u = Neg(t)", normal(4, 1, 1))):
        outputs = "float[*] y, float[*] u" if " u = " in other else "float[*] y"
        assert_untouched(model(other, "float[2,4,5,6] x", outputs, initializers=constants | {"c": c}), STEP)


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("t = Add(x, c) y = Conv<pads=[1,1,1,1]>(t, w)", {"c": normal(4, 1, 1)}),  # pads see zeros, not c
        ('t = Add(x, c) y = Conv<auto_pad="SAME_UPPER">(t, w)', {"c": normal(1)}),
        ("t = Add(x, c) y = Conv(t, w)", {"c": normal(6)}),  # along the last axis
        ("t = Add(x, c) y = Conv(t, w)", {"c": normal(2, 4, 1, 1)}),  # along the batch
        ("t = Sub(c, x) y = Conv(t, w)", {"c": normal(4, 1, 1)}),
        ("t = Add(x, c) y = Conv(t, w)", {"c": np.full((4, 1, 1), np.inf, np.float32)}),
        ("t = Add(x, c) u = Neg(t) y = Conv(t, w)", {"c": normal(4, 1, 1)}),  # a second user, kept below
        ("s = Mul(x, k) t = Add(s, c) y = Neg(t)", {"k": normal(1), "c": normal(4, 1, 1)}),  # no convolution
    ],
)
def test_what_stays(body, constants):
    outputs = "float[*] y, float[*] u" if " u = " in body else "float[*] y"
    proto = model(body, "float[2,4,5,6] x", outputs, initializers={"w": normal(3, 4, 3, 3), **constants})
    assert_untouched(proto, STEP)


def test_graph_output_and_unknown_channels_stay():
    constants = {"w": normal(3, 4, 3, 3), "c": normal(4, 1, 1), "k": normal(1)}
    assert_untouched(
        model("t = Add(x, c) y = Conv(t, w)", "float[2,4,5,6] x", "float[*] y, float[*] t", initializers=constants),
        STEP,
    )
    assert_untouched(
        model("s = Mul(x, k) t = Add(s, c) y = Conv<pads=[1,1,1,1]>(t, w)", "float[N,C,5,6] x", initializers=constants),
        STEP,
    )
    assert_untouched(model("t = Add(x, c) y = Conv(t, w)", "float[N,C,5,6] x", initializers=constants), STEP)


def test_training_and_statistics_that_have_no_root_stay():
    names = ("s", "b", "m", "v")
    constants = {name: np.abs(normal(4, seed=seed)) for seed, name in enumerate(names)} | {"w": normal(3, 4, 1, 1)}
    body = "t = BatchNormalization(x, s, b, m, v) y = Conv(t, w)"
    assert_near(
        model(body, "float[2,4,5,6] x", initializers=constants), STEP, ["Conv"], {"fold-batch-norm-into-next-conv": 1}
    )
    assert_untouched(model(body, "float[2,4,5,6] x", initializers=constants | {"v": -constants["v"]}), STEP)
    training = body.replace("BatchNormalization(", "BatchNormalization<training_mode=1>(").replace("t =", "t, p, q =")
    assert_untouched(model(training, "float[2,4,5,6] x", initializers=constants), STEP)
