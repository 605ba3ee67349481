"""What is there for ONNX Runtime's kernels alone, and plain forms that keep every bit."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.target import Target
from graphopt.transforms.layout import DecomposeLrn, KeepBlockedLayout, SimplifyChannels
from tests.transforms.harness import assert_close, assert_exact, assert_untouched, model, run, transform

ORT = Target("onnxruntime")
SPELT = ["Pow", "Unsqueeze", "Conv", "Squeeze"]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("opset", "size", "beta", "power"),
    [(8, 5, 0.75, ["Sqrt", "Sqrt", "Mul"]), (12, 3, 0.5, ["Sqrt"]), (13, 7, 1.0, []), (21, 1, 0.6, ["Pow"])],
)
def test_lrn_spelt_out(opset, size, beta, power):
    proto = model(f"y = LRN<size={size}, alpha=0.03, beta={beta}, bias=1.5>(x)", "float[N,6,4,3] x", opset=opset)
    outcome = transform(proto, DecomposeLrn(), target=ORT)
    assert [*SPELT, *power, "Div"] == outcome.ops
    feeds = {"x": 20 * normal(2, 6, 4, 3)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-6)


@pytest.mark.parametrize("x", ["float[2,6,H,3]", "float[2,0,4,3]", "double[2,6,4,3]"])
def test_lrn_of_what_may_be_empty_or_is_wide_stays(x):
    proto = model("y = LRN<size=3>(x)", f"{x} x", f"{x} y")
    assert transform(proto, DecomposeLrn(), target=ORT).applied == {}


def test_other_targets_keep_lrn_and_sums():
    assert_untouched(model("y = LRN<size=3>(x)", "float[2,6,4,3] x"), DecomposeLrn())
    assert_untouched(between("t = Add(h, k)"), KeepBlockedLayout())


#: Its last product scales by a half; ONNX Runtime looks for it.
GELU = """
    root = Constant<value_float = 1.4142135> () one = Constant<value_float = 1.0> () half = Constant<value_float = 0.5> ()
    a = Div(h, root) b = Erf(a) d = Add(b, one) e = Mul(h, d) t = Mul(e, half)"""


def between(middle, k=None, x="float[N,4,5,6]"):
    constants = {"k": normal(4, 1, 1) if k is None else k, "v": normal(4, 4, 1, 1), "w": normal(4, 4, 3, 3)}
    return model(
        f"c = Conv(x, v) h = Relu(c) {middle} y = Conv<pads=[1,1,1,1]>(t, w)", f"{x} x", initializers=constants
    )


@pytest.mark.parametrize(
    "middle", ["t = Add(h, k)", "t = Add(k, h)", "t = Sub(h, k)", "t = Mul(h, k)", "t = Div(h, k)"]
)
@pytest.mark.parametrize("k", [normal(4, 1, 1), normal(1), normal(), normal(1, 4, 1, 1)])
def test_arithmetic_between_convolutions_stays_in_the_layout(middle, k):
    proto = between(middle, k)
    outcome = transform(proto, KeepBlockedLayout(), target=ORT)
    assert (outcome.ops, outcome.applied) == (
        ["Conv", "Relu", "BatchNormalization", "Conv"],
        {"keep-affine-blocked": 1},
    )
    feeds = {"x": normal(2, 4, 5, 6, seed=4)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-6)


@pytest.mark.parametrize(
    "proto",
    [
        between("t = Sub(k, h)"),
        between("t = Div(k, h)"),
        between("t = Div(h, k)", np.zeros((4, 1, 1), np.float32)),
        between("t = Add(h, k)", normal(6)),  # along the last axis
        between("t = Add(h, x)"),  # nothing constant
        between("t = Add(x, k)"),  # not from a convolution
        between(GELU),
        model(
            "c = Conv(x, v) y = Add(c, k)", "float[2,4,5,6] x", initializers={"v": normal(4, 4, 1, 1), "k": normal(1)}
        ),
    ],
)
def test_arithmetic_that_stays(proto):
    assert transform(proto, KeepBlockedLayout(), target=ORT).applied == {}


def shuffle(split, join, perm="0, 2, 1, 3, 4", x="float[2,6,4,3]"):
    constants = {"s": np.array(split), "t": np.array(join)}
    return model(
        f"a = Reshape(x, s) b = Transpose<perm=[{perm}]>(a) y = Reshape(b, t)", f"{x} x", initializers=constants
    )


@pytest.mark.parametrize(
    "proto",
    [
        shuffle([2, 2, 3, 4, 3], [2, 6, 4, 3]),
        shuffle([0, 3, 2, 4, 3], [0, 6, 4, 3], x="float[N,6,4,3]"),
        shuffle([2, 6, 1, 12], [2, 6, 12], "0, 2, 1, 3", "float[2,6,12]"),
    ],
)
def test_channel_shuffles_are_gathered(proto):
    assert_exact(proto, SimplifyChannels(), ["Gather"], {"gather-shuffled-channels": 1}, sizes={"N": 2})


@pytest.mark.parametrize(
    "proto",
    [
        shuffle([2, 2, 3, 4, 3], [2, 6, 3, 4], "0, 2, 1, 4, 3"),  # places move too
        shuffle([2, 2, 3, 4, 3], [2, 6, 12]),
        shuffle([2, 2, 2, 6, 3], [2, 4, 6, 3]),  # channels and places are mixed
        shuffle([2, 2, 3, 4, 3], [2, 6, 4, 3], "0, 1, 2, 3, 4"),
    ],
)
def test_other_reorderings_stay(proto):
    assert_untouched(proto, SimplifyChannels())


def test_sums_of_two_are_additions():
    assert_exact(model("y = Sum(x, z)", "float[2,3] x, float[3] z"), SimplifyChannels(), ["Add"], {"add-two": 1})
    assert_untouched(model("y = Sum(x, z, z)", "float[2,3] x, float[3] z"), SimplifyChannels())
    assert_untouched(model("y = Sum(x)", "float[2,3] x"), SimplifyChannels())
