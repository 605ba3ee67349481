"""MatMul and Add on matrices become Gemm; nothing of another rank does."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.fusion import FuseMatmulAdd
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = FuseMatmulAdd()
RULE = {"fuse-matmul-add": 1}
W = {"w": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)}


@pytest.mark.parametrize("c", ["4", "1,4", "2,4", "1", "1,1", "2,1", ""])
@pytest.mark.parametrize("body", ["Add(t, c)", "Add(c, t)"])
def test_addends_that_broadcast_one_way(c, body):
    kind = f"float[{c}] c" if c else "float c"
    proto = model(f"t = MatMul(x, w) y = {body}", f"float[2,3] x, {kind}", initializers=W)
    if kind == "float c":
        proto.graph.input[1].type.tensor_type.shape.SetInParent()
    assert_near(proto, STEP, ["Gemm"], RULE)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 21])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_dynamic_rows(opset, n):
    proto = model("t = MatMul(x, w) y = Add(t, c)", "float[N,3] x, float[4] c", opset=opset, initializers=W)
    assert_near(proto, STEP, ["Gemm"], RULE, sizes={"N": n})


def test_rows_that_are_equal_by_name():
    proto = model("t = MatMul(x, w) y = Add(t, c)", "float[N,3] x, float[N,4] c", initializers=W)
    assert_near(proto, STEP, ["Gemm"], RULE)


@pytest.mark.parametrize(
    ("x", "c"),
    [
        ("float[2,2,3] x", "float[4] c"),
        ("float[3] x", "float[4] c"),
        ("float[*] x", "float[4] c"),
        ("float[1,3] x", "float[2,4] c"),  # the product is broadcast
        ("float[N,3] x", "float[2,4] c"),
        ("float[N,3] x", "float[M,4] c"),
        ("float[2,3] x", "float[1,2,4] c"),
        ("float[2,3] x", "float[*] c"),
    ],
)
def test_other_ranks_and_shapes_stay(x, c):
    assert_untouched(model("t = MatMul(x, w) y = Add(t, c)", f"{x}, {c}", initializers=W), STEP)


def test_unknown_number_of_columns_stays():
    assert_untouched(model("t = MatMul(x, z) y = Add(t, c)", "float[2,3] x, float[3,K] z, float[4] c"), STEP)


def test_integers_stay():
    body = "t = MatMul(x, z) y = Add(t, c)"
    assert_untouched(model(body, "int32[2,3] x, int32[3,4] z, int32[4] c", "int32[2,4] y"), STEP)


@pytest.mark.parametrize(("dtype", "rtol"), [("double", 1e-14), ("float16", 4e-3)])
def test_other_floats(dtype, rtol):
    proto = model("t = MatMul(x, z) y = Add(t, c)", f"{dtype}[2,3] x, {dtype}[3,4] z, {dtype}[4] c", f"{dtype}[2,4] y")
    assert_near(proto, STEP, ["Gemm"], RULE, rtol=rtol)


def test_users_and_outputs():
    body, inputs = "t = MatMul(x, w) y = Add(t, c)", "float[2,3] x, float[4] c"
    assert_untouched(model(body, inputs, "float[2,4] y, float[2,4] t", initializers=W), STEP)
    assert_untouched(model(f"{body} z = Exp(t)", inputs, "float[2,4] y, float[2,4] z", initializers=W), STEP)


@pytest.mark.parametrize("gemm", ["Gemm(x, w)", "Gemm<alpha=0.5, beta=3.0>(x, w)"])
def test_gemm_without_an_addend_takes_one(gemm):
    proto = model(f"t = {gemm} y = Add(t, c)", "float[2,3] x, float[4] c", initializers=W)
    assert_near(proto, STEP, ["Gemm"], {"fuse-gemm-add": 1})
    assert_untouched(model("t = Gemm(x, w, c) y = Add(t, c)", "float[2,3] x, float[4] c", initializers=W), STEP)
    assert_untouched(model(f"t = {gemm} y = Add(t, c)", "float[1,3] x, float[2,4] c", initializers=W), STEP)


@pytest.mark.parametrize(
    ("body", "shapes"),
    [
        ("t = Transpose(x) y = Gemm(t, z)", ("3,2", "3,4")),
        ("t = Transpose<perm=[1,0]>(z) y = Gemm(x, t, c)", ("2,3", "4,3")),
        ("t = Transpose(z) y = Gemm<transB=1>(x, t)", ("2,3", "3,4")),
        ("s = Transpose(x) t = Transpose(z) y = Gemm<transA=1, alpha=2.0>(s, t)", ("2,3", "4,3")),
    ],
)
def test_transposed_factors(body, shapes):
    proto = model(body, f"float[{shapes[0]}] x, float[{shapes[1]}] z, float[4] c")
    assert_near(proto, STEP, ["Gemm"], {"fold-transpose-into-gemm": 1})


def test_a_shared_transpose_is_read_no_more():
    proto = model(
        "t = Transpose(z) y = Gemm(x, t) u = Exp(t)", "float[2,3] x, float[4,3] z", "float[2,4] y, float[3,4] u"
    )
    outcome = assert_near(proto, STEP, ["Transpose", "Gemm", "Exp"], {"fold-transpose-into-gemm": 1})
    assert ["x", "z"] == list(outcome.after.graph.node[1].input)


def test_the_order_of_axes_that_stay_in_place():
    assert_untouched(model("t = Transpose<perm=[0,1]>(x) y = Gemm(t, w)", initializers=W), STEP)


@pytest.mark.parametrize("position", [0, 1])
def test_dequantized_factors_stay(position):
    """Runtimes make one integer operator of what stands there, which a Gemm would hide."""
    factors = ["x", "w"]
    factors[position] = "d"
    body = f"d = DequantizeLinear({'xw'[position]}q, s) t = MatMul({', '.join(factors)}) y = Add(t, c)"
    constants = W | {"s": np.array(0.1, np.float32), "wq": np.ones((3, 4), np.int8)}
    assert_untouched(model(body, "float[2,3] x, int8[2,3] xq, float[4] c", initializers=constants), STEP)
