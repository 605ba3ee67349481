"""Products of one tensor with constant matrices are packed into one, where nodes are saved."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength.parallel_products import PackParallelProducts
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = PackParallelProducts()
RULE = {"pack-products": 1}
RNG = np.random.default_rng(5)


def floats(**shapes):
    return {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


MATRICES = {"u": (4, 3), "v": (4, 3), "w": (4, 5)}
BIASES = {"a": (3,), "b": (3,), "c": (1, 5)}
SUMS = "p = MatMul(x, u) q = MatMul(x, v) r = MatMul(x, w) pa = Add(p, a) qb = Add(b, q) rc = Add(r, c) y = Concat<axis=-1>(pa, qb, rc)"


@pytest.mark.parametrize("opset", [7, 11, 13, 21])
def test_three_projections_with_biases(opset):
    body = SUMS.replace("axis=-1", "axis=2")
    proto = model(body, "float[N,2,4] x", "float[N,2,11] y", opset=opset, initializers=floats(**MATRICES, **BIASES))
    outcome = assert_near(proto, STEP, ["MatMul", "Add", "Split", "Concat"], RULE)
    assert 3 == len(outcome.after.graph.node[2].output)


def test_three_projections_of_which_one_has_no_bias():
    body = SUMS.replace("qb = Add(b, q) ", "").replace("qb", "q")
    given = floats(**MATRICES, a=(3,), c=(5,))
    assert_near(model(body, "float[2,4] x", initializers=given), STEP, ["MatMul", "Add", "Split", "Concat"], RULE)


def test_three_products_without_biases():
    body = "p = MatMul(x, u) q = MatMul(x, v) r = MatMul(x, w) y = Concat<axis=-1>(p, q, r)"
    assert_near(model(body, "float[2,4] x", initializers=floats(**MATRICES)), STEP, ["MatMul", "Split", "Concat"], RULE)


def test_the_packed_product_stands_before_what_read_the_others():
    body = "p = MatMul(x, u) k = Exp(p) q = MatMul(x, v) m = Add(k, q) r = MatMul(x, u2) y = Add(m, r)"
    given = floats(u=(4, 3), v=(4, 3), u2=(4, 3))
    assert_near(model(body, "float[2,4] x", initializers=given), STEP, ["MatMul", "Split", "Exp", "Add", "Add"], RULE)


def test_gemms_with_any_orientation_of_weights():
    body = "p = Gemm(x, u, a) q = Gemm<transB=1>(x, v) r = Gemm(x, w, c) y = Concat<axis=1>(p, q, r)"
    given = floats(u=(4, 3), v=(3, 4), w=(4, 5), a=(3,), c=(1, 5))
    assert_near(model(body, "float[2,4] x", initializers=given), STEP, ["Gemm", "Split", "Concat"], RULE)


@pytest.mark.parametrize(
    ("body", "given"),
    [
        ("p = MatMul(x, u) q = MatMul(x, v) y = Add(p, q)", {"u": (4, 3), "v": (4, 3)}),  # two: nothing is saved
        (
            "p = Gemm<alpha=2.0>(x, u) q = Gemm(x, v) r = Gemm(x, t) y = Sum(p, q, r)",
            {"u": (4, 3), "v": (4, 3), "t": (4, 3)},
        ),
        (
            "p = MatMul(x, u) q = MatMul(x, v) r = MatMul(x, u) y = Sum(p, q, r)",
            {"u": (4, 3), "v": (4, 3)},
        ),  # shared weights
        (
            "p = MatMul(x, u) q = MatMul(x, v) r = MatMul(t, x) y = Sum(p, q, r)",
            {"u": (4, 4), "v": (4, 4), "t": (4, 4)},
        ),
        ("p = MatMul(x, u) q = MatMul(x, v) r = MatMul(x, t) y = Sum(p, q, r)", {"u": (4,), "v": (4, 3), "t": (4, 3)}),
    ],
)
def test_products_that_can_not_be_packed_or_save_nothing_stay(body, given):
    rows = "4" if "MatMul(t, x)" in body else "2"
    assert_untouched(model(body, f"float[{rows},4] x", "float[*] y", initializers=floats(**given)), STEP)


def test_products_of_an_unknown_rank_or_with_weights_given_stay():
    body = "p = MatMul(x, u) q = MatMul(x, v) r = MatMul(x, w) y = Concat<axis=-1>(p, q, r)"
    assert_untouched(model(body, "float[*] x", "float[*] y", initializers=floats(**MATRICES)), STEP)
    given = "float[4,3] u, float[4,3] v, float[4,5] w"
    assert_untouched(model(body, f"float[2,4] x, {given}"), STEP)


def test_biases_that_broadcast_or_others_read_are_not_packed():
    body = "p = MatMul(x, u) q = MatMul(x, v) pa = Add(p, a) qb = Add(q, b) y = Concat<axis=-1>(pa, qb)"
    assert_untouched(model(body, "float[2,4] x", initializers=floats(u=(4, 3), v=(4, 3), a=(2, 3), b=(2, 3))), STEP)
    more = floats(u=(4, 3), v=(4, 3), a=(3,), b=(3,))
    given_out = "float[2,6] y, float[2,3] p, float[2,3] q"
    assert_untouched(model(body, "float[2,4] x", given_out, initializers=more), STEP)


def test_products_inside_a_branch_are_not_packed_with_those_outside():
    branch = "t () => (float[2,3] r) { r = MatMul(x, w) }"
    body = (
        f"p = MatMul(x, u) q = MatMul(x, v) s = If(go) <then_branch = {branch}, "
        "else_branch = e () => (float[2,3] z) { z = Neg(p) }> y = Sum(p, q, s)"
    )
    given = floats(u=(4, 3), v=(4, 3), w=(4, 3))
    assert_untouched(model(body, "float[2,4] x, bool go", initializers=given), STEP)
