"""Two linear operators in a row become one where that costs less."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.layout import MergeLinear
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = MergeLinear()
CONVS, MATMUL = {"merge-convolutions": 1}, {"merge-matmul-and-conv": 1}
ZEROS = np.zeros(8, np.float32)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("first", "second", "w", "b", "v"),
    [
        ("Conv(x, w, b)", "Conv(t, v, c)", (8, 4, 1, 1), normal(8), (3, 8, 1, 1)),
        ("Conv(x, w)", "Conv(t, v)", (8, 4, 1, 1), normal(8), (3, 8, 3, 2)),
        ("Conv<strides=[2, 1], pads=[1, 0, 1, 0]>(x, w, b)", "Conv(t, v, c)", (8, 4, 3, 1), normal(8), (3, 8, 1, 1)),
        ("Conv(x, w)", "Conv<pads=[1, 1, 1, 1]>(t, v, c)", (8, 4, 1, 1), normal(8), (3, 8, 3, 3)),
        ("Conv(x, w, b)", "Conv<pads=[1, 1, 1, 1]>(t, v, c)", (8, 4, 1, 1), ZEROS, (3, 8, 3, 3)),
        ("Conv(x, w, b)", "Conv<strides=[2, 2]>(t, v)", (8, 4, 1, 1), normal(8), (3, 8, 2, 2)),
    ],
)
def test_convolutions_merge(first, second, w, b, v):
    constants = {"w": normal(*w, seed=1), "b": b, "v": normal(*v, seed=2), "c": normal(3, seed=3)}
    proto = model(f"t = {first} y = {second}", "float[N,4,7,6] x", initializers=constants)
    assert_near(proto, STEP, ["Conv"], CONVS, rtol=1e-5)


@pytest.mark.parametrize(
    ("first", "second", "w", "v"),
    [
        ("Conv(x, w, b)", "Conv<pads=[1, 1, 1, 1]>(t, v)", (8, 4, 1, 1), (3, 8, 3, 3)),  # pads are zeros, not b
        ("Conv(x, w)", "Conv(t, v)", (8, 4, 3, 1), (3, 8, 1, 3)),  # both look at several places
        ("Conv<group=2>(x, w)", "Conv(t, v)", (8, 2, 1, 1), (3, 8, 1, 1)),
        ("Conv(x, w)", "Conv<group=2>(t, v)", (8, 4, 1, 1), (4, 4, 1, 1)),
        ("Conv(x, w)", "Conv<strides=[2, 2]>(t, v)", (8, 4, 3, 3), (3, 8, 1, 1)),
        ("Conv(x, w)", "Conv(t, v)", (1, 4, 1, 1), (8, 1, 1, 1)),  # the product is larger than its factors
    ],
)
def test_convolutions_that_stay(first, second, w, v):
    constants = {"w": normal(*w), "b": normal(8), "v": normal(*v)}
    assert_untouched(model(f"t = {first} y = {second}", "float[2,4,7,6] x", initializers=constants), STEP)


def test_second_user_and_graph_output_keep_the_first():
    constants = {"w": normal(8, 4, 1, 1), "v": normal(3, 8, 1, 1)}
    body = "t = Conv(x, w) y = Conv(t, v)"
    assert_untouched(model(body, "float[2,4,7,6] x", "float[*] y, float[*] t", initializers=constants), STEP)
    assert_untouched(
        model(f"{body} z = Relu(t)", "float[2,4,7,6] x", "float[*] y, float[*] z", initializers=constants), STEP
    )


BODY = "a = MatMul(x, w) b = Add(a, k) c = Transpose<perm=[0,2,1]>(b) d = Reshape(c, s) y = Conv(d, v, e)"


def constants(shape, **more):
    return {"w": normal(4, 8), "k": normal(8), "s": np.array(shape), "v": normal(5, 8, 1, 1), "e": normal(5), **more}


@pytest.mark.parametrize(("x", "shape"), [("2,6,4", [2, 8, 2, 3]), ("2,6,4", [2, -1, 2, 3]), ("1,6,4", [1, 8, -1, 3])])
def test_projection_before_a_convolution(x, shape):
    proto = model(BODY, f"float[{x}] x", initializers=constants(shape))
    assert_near(proto, STEP, ["MatMul", "Add", "Transpose", "Reshape"], MATMUL)


def test_projections_that_stay():
    mixed = model(BODY, "float[2,6,4] x", initializers=constants([1, 8, 4, 3]))  # the batch goes into places
    assert_untouched(mixed, STEP)
    grouped = BODY.replace("Conv(", "Conv<group=2>(")
    assert_untouched(
        model(grouped, "float[2,6,4] x", initializers=constants([2, 8, 2, 3], v=normal(5, 4, 1, 1)[:4], e=normal(4))),
        STEP,
    )
    followed = BODY.replace("y = Conv", "o = Conv") + " y = Relu(o)"  # a kernel does both
    assert_untouched(model(followed, "float[2,6,4] x", initializers=constants([2, 8, 2, 3])), STEP)
    wide = constants([2, 8, 2, 3], k=normal(6, 8))  # what is added differs from place to place
    assert_untouched(model(BODY, "float[2,6,4] x", initializers=wide), STEP)
