"""A factor of one part of a packed product goes into the columns that the part comes from."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import Array
from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = ReduceStrength()
RULE = {"move-factor-into-weights": 1}
RNG = np.random.default_rng(4)
GIVEN: dict[str, Array] = {
    "w": RNG.normal(size=(4, 12)).astype(np.float32),
    "t": RNG.normal(size=12).astype(np.float32),
    "c": np.array(0.25, np.float32),
    "to": np.array([2, 5, 3, 2, 2], np.int64),
    "i0": np.array(0, np.int64),
    "i1": np.array(1, np.int64),
    "m1": np.array(-1, np.int64),
    "parts": np.array([3, 4, 5], np.int64),
}
FRONT = "a = MatMul(x, w) b = Add(t, a) r = Reshape(b, to) p = Transpose<perm=[2,0,3,1,4]>(r)"
FRONT_OPS = ["MatMul", "Add", "Reshape", "Transpose"]


def proto(body, outputs="float[*] y", **more):
    given = {name: array for name, array in (GIVEN | more).items() if f"{name})" in body or f"{name}," in body}
    return model(body, "float[2,5,4] x", outputs, initializers=given)


@pytest.mark.parametrize("which", ["i0", "i1", "m1"])
def test_queries_of_a_packed_product_taken_by_gather(which):
    others = [name for name in ("i0", "i1", "m1") if name != which]
    body = f"{FRONT} q = Gather(p, {which}) k = Gather(p, {others[0]}) v = Gather(p, {others[1]}) s = Mul(q, c) y = Sum(s, k, v)"
    assert_near(proto(body), STEP, [*FRONT_OPS, "Gather", "Gather", "Gather", "Sum"], RULE)


def test_one_part_of_a_split():
    body = "a = MatMul(x, w) b = Add(a, t) q, k, v = Split<axis=-1>(b, parts) y = Div(k, c) z = Concat<axis=2>(q, v)"
    outputs = "float[2,5,4] y, float[2,5,8] z"
    assert_near(proto(body, outputs), STEP, ["MatMul", "Add", "Split", "Concat"], RULE)


def test_parts_of_a_gemm_and_of_a_convolution():
    body = "a = Gemm(g, w, t) q, k, v = Split<axis=1>(a, parts) y = Mul(k, c) z = Concat<axis=1>(q, v)"
    given = {name: GIVEN[name] for name in ("w", "t", "parts", "c")}
    one = model(body, "float[3,4] g", "float[3,4] y, float[3,8] z", initializers=given)
    assert_near(one, STEP, ["Gemm", "Split", "Concat"], RULE)
    body = "a = Conv(x, f, t) q, k, v = Split<axis=1>(a, parts) y = Mul(v, c) z = Concat<axis=1>(q, k)"
    given["f"] = RNG.normal(size=(12, 2, 3)).astype(np.float32)
    del given["w"]
    other = model(body, "float[1,2,5] x", "float[1,5,3] y, float[1,7,3] z", initializers=given)
    assert_near(other, STEP, ["Conv", "Split", "Concat"], RULE)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (
            f"{FRONT} q = Gather(p, i0) k = Gather(p, i0) s = Mul(q, c) y = Add(s, k)",
            "float[*] y",
        ),  # the part is read twice
        (f"{FRONT} q = Gather(p, i0) s = Mul(q, c) y = Exp(s)", "float[*] y, float[3,2,2,5,2] p"),  # all is given out
        (f"{FRONT} q = Gather(p, i0) s = Mul(q, c) k = Exp(p) y = Add(s, k)", "float[*] y"),  # all is read
        (
            f"{FRONT} q = Gather(p, i0) k = Gather<axis=1>(p, i0) s = Mul(q, c) y = Add(s, k)",
            "float[*] y",
        ),  # another axis
        (
            f"{FRONT} q = Gather<axis=1>(p, i0) k = Gather<axis=1>(p, i1) s = Mul(q, c) y = Add(s, k)",
            "float[*] y",
        ),  # of the batch
        (
            "a = MatMul(x, w) b = Exp(a) q, k, v = Split<axis=-1>(b, parts) y = Div(k, c)",
            "float[2,5,4] y",
        ),  # not linear
        (
            "a = MatMul(x, w) q, k, v = Split<axis=-1>(a, parts) y = Div(k, c) z = Exp(a)",
            "float[2,5,4] y, float[2,5,12] z",
        ),
    ],
)
def test_parts_that_others_read_or_that_are_no_columns_stay(body, outputs):
    assert_untouched(proto(body, outputs), STEP)
