"""Constants around linear operators go into their weights, unless they broadcast."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.fusion import FuseConvAffine
from tests.transforms.harness import PROPERTY, assert_close, assert_near, assert_untouched, model, run, transform

STEP = FuseConvAffine()
MUL, DIV, ADD = {"fold-multiplication": 1}, {"fold-division": 1}, {"fold-addition": 1}


def normal(*shape, seed=0, dtype=np.float32):
    numbers = np.random.default_rng(seed).normal(size=shape)
    return (numbers + np.sign(numbers)).astype(dtype)


@pytest.mark.parametrize(
    ("body", "applied"),
    [
        ("y = Mul(t, c)", MUL),
        ("y = Mul(c, t)", MUL),
        ("y = Div(t, c)", DIV),
        ("y = Add(t, c)", ADD),
        ("y = Add(c, t)", ADD),
        ("y = Sub(t, c)", ADD),
    ],
)
@pytest.mark.parametrize(
    ("linear", "x", "weights", "shape"),
    [
        ("Conv(x, w, k)", "2,3,7", (4, 3, 3), (1, 4, 1)),
        ("Conv(x, w)", "2,3,7", (4, 3, 3), (4, 1)),
        ("Conv<group=2>(x, w)", "2,6,7,6", (4, 3, 3, 2), (4, 1, 1)),
        ("Conv(x, w, k)", "1,3,4,4,4", (4, 3, 2, 2, 2), (1,)),
        ("ConvTranspose<group=2>(x, w, k)", "2,6,5,6", (6, 2, 3, 2), (1, 4, 1, 1)),
        ("ConvTranspose(x, w)", "2,3,5,6", (3, 4, 3, 2), ()),
        ("Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, k)", "2,3", (4, 3), (4,)),
        ("Gemm<beta=2.0>(x, w, k2)", "2,3", (3, 4), (1, 4)),
        ("Gemm(x, w)", "2,3", (3, 4), (1, 1)),
    ],
)
def test_constants_after(body, applied, linear, x, weights, shape):
    more = {"w": normal(*weights), "k": normal(4, seed=1), "k2": normal(1, 4, seed=1), "c": normal(*shape, seed=2)}
    proto = model(f"t = {linear} {body}", f"float[{x}] x", initializers=more)
    assert_near(proto, STEP, [linear.split("(")[0].split("<")[0]], applied)


@pytest.mark.parametrize(("body", "applied"), [("Mul(t, c)", MUL), ("Mul(c, t)", MUL), ("Div(t, c)", DIV)])
@pytest.mark.parametrize(
    ("x", "shape"), [("3", (4,)), ("2,3", (1, 4)), ("5,2,3", (1, 1, 4)), ("5,2,3", ()), ("*", (4,)), ("*", (1,))]
)
def test_factors_after_matmul(body, applied, x, shape):
    proto = model(
        f"t = MatMul(x, w) y = {body}", f"float[{x}] x", initializers={"w": normal(3, 4), "c": normal(*shape, seed=2)}
    )
    if x != "*":
        assert_near(proto, STEP, ["MatMul"], applied)
        return
    outcome = transform(proto, STEP)
    assert (["MatMul"], applied) == (outcome.ops, outcome.applied)
    feeds = {"x": normal(5, 2, 3)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-6)


@pytest.mark.parametrize(
    ("body", "x", "weights", "constant"),
    [
        ("t = Conv(x, w) y = Add(t, c)", "2,3,7", (4, 3, 3), normal(5)),  # along the last axis
        ("t = Conv(x, w) y = Add(t, c)", "2,3,7", (4, 3, 3), normal(1, 1, 4, 1)),  # of a higher rank
        ("t = Conv(x, w) y = Add(t, c)", "2,3,7", (4, 3, 3), normal(2, 4, 1)),  # along the batch
        ("t = Conv(x, w) y = Add(t, c)", "2,3,7", (1, 3, 3), normal(4, 1)),  # more channels than there are
        ("t = Conv(x, w) y = Add(t, c)", "2,3,6", (4, 3, 3), normal(4)),  # as many columns as channels
        ("t = Conv(x, w) y = Sub(c, t)", "2,3,7", (4, 3, 3), normal(4, 1)),
        ("t = Conv(x, w) y = Div(c, t)", "2,3,7", (4, 3, 3), normal(4, 1)),
        ("t = Conv(x, w) y = Div(t, c)", "2,3,7", (4, 3, 3), np.zeros((4, 1), np.float32)),
        ("t = Conv(x, w) y = Mul(t, c)", "2,3,7", (4, 3, 3), np.full((), np.inf, np.float32)),
        ("t = Conv(x, w) y = Mul(t, c)", "2,3,7", (4, 3, 3), np.full((), 3e38, np.float32)),
        ("t = Gemm(x, w) y = Add(t, c)", "2,3", (3, 4), normal(2, 1)),
        ("t = Gemm(x, w) y = Add(t, c)", "2,3", (3, 4), normal(2, 4)),
        ("t = Gemm(x, w) y = Add(t, c)", "2,3", (3, 4), normal(1, 1, 4)),
        ("t = Gemm(x, w, g) y = Add(t, c)", "2,3", (3, 4), normal(4)),  # [2, 1] + [4] would be larger
        ("t = MatMul(x, w) y = Add(t, c)", "2,3", (3, 4), normal(4)),  # has no place for it
        ("t = MatMul(x, w) y = Mul(t, c)", "3", (3, 4), normal(1, 4)),
        ("t = MatMul(x, w) y = Mul(t, c)", "2,4,3", (3, 4), normal(4, 1)),
        ("t = MatMul(x, w) y = Mul(t, c)", "*", (3, 4), normal(1, 4)),
    ],
)
def test_what_broadcasts_overflows_or_has_no_place_stays(body, x, weights, constant):
    more = {"w": normal(*weights), "c": constant, "g": normal(2, 1)}
    assert_untouched(model(body, f"float[{x}] x", initializers=more), STEP)


def test_what_is_not_constant_stays():
    inputs = "float[1,4,5] x, float[4,4,3] z, float[1] r"
    more = {"w": normal(4, 4, 3), "c": normal(4, 1)}
    assert_untouched(model("t = Conv(x, z) y = Mul(t, c)", inputs, initializers=more), STEP)
    assert_untouched(model("t = Conv(x, w) y = Mul(t, r)", inputs, initializers=more), STEP)
    assert_untouched(model("t = Conv(x, w, r) y = Add(t, c)", "float[1,4,5] x, float[4] r", initializers=more), STEP)


def test_users_and_outputs():
    more = {"w": normal(4, 3, 3), "c": normal(4, 1)}
    body, outputs = "t = Conv(x, w) y = Mul(t, c)", "float[1,4,3] y, float[1,4,3] t"
    assert_untouched(model(body, "float[1,3,5] x", outputs, initializers=more), STEP)
    more["w"] = normal(4, 200, 3)
    shared = model(f"{body} z = Conv(x, w)", "float[1,200,5] x", outputs.replace(" t", " z"), initializers=more)
    assert_untouched(shared, STEP)


def test_an_added_constant_makes_no_copy_of_shared_weights():
    more = {"w": normal(4, 200, 3), "c": normal(4, 1)}
    proto = model(
        "t = Conv(x, w) y = Add(t, c) z = Conv(x, w)",
        "float[1,200,5] x",
        "float[1,4,3] y, float[1,4,3] z",
        initializers=more,
    )
    outcome = assert_near(proto, STEP, ["Conv", "Conv"], ADD)
    assert {"w"} == {node.input[1] for node in outcome.after.graph.node}


def test_half_precision_weights_must_not_vanish():
    more = {"w": np.full((3, 4), 1e-4, np.float16), "c": np.full((), 1e-4, np.float16)}
    assert_untouched(
        model("t = MatMul(x, w) y = Mul(t, c)", "float16[2,3] x", "float16[2,4] y", initializers=more), STEP
    )
    more["c"] = np.full((), 0.5, np.float16)
    proto = model("t = MatMul(x, w) y = Mul(t, c)", "float16[2,3] x", "float16[2,4] y", initializers=more)
    assert_near(proto, STEP, ["MatMul"], MUL, rtol=4e-3)


@pytest.mark.parametrize(
    ("body", "shape"),
    [("Mul(x, c)", (1, 6, 1, 1)), ("Mul(c, x)", (6, 1, 1)), ("Div(x, c)", (1,)), ("Div(x, c)", (6, 1, 1))],
)
@pytest.mark.parametrize(
    "conv", ["Conv<group=2, pads=[1,2,1,0]>(t, w, k)", "Conv<group=2>(t, w)", "Conv<group=2>(t, w, r)"]
)
def test_factors_before_conv(body, shape, conv):
    more = {"w": normal(4, 3, 3, 2), "k": normal(4, seed=1), "c": normal(*shape, seed=2)}
    inputs = "float[2,6,7,6] x" + (", float[4] r" if "r)" in conv else "")
    if "r)" in conv:
        assert_untouched(model(f"t = {body} y = {conv}", inputs, initializers=more), STEP)
    else:
        assert_near(
            model(f"t = {body} y = {conv}", inputs, initializers=more), STEP, ["Conv"], {"fold-scale-before-conv": 1}
        )


@pytest.mark.parametrize(
    ("body", "x", "constant"),
    [
        ("Add(x, c)", "2,6,7", normal(6, 1)),  # pads are zeros, not the constant
        ("Div(c, x)", "2,6,7", normal(6, 1)),
        ("Mul(x, c)", "2,1,7", normal(6, 1)),  # broadcasts the input
        ("Mul(x, c)", "6,7", normal(1, 6, 1)),
        ("Mul(x, c)", "6,6", normal(1, 6, 1)),
        ("Mul(x, c)", "2,C,7", normal(6, 1)),
        ("Mul(x, c)", "2,6,7", normal(7)),
        ("Mul(x, c)", "2,6,7", np.full((), np.nan, np.float32)),
        ("Div(x, c)", "2,6,7", np.zeros((), np.float32)),
    ],
)
def test_other_constants_before_conv_stay(body, x, constant):
    proto = model(f"t = {body} y = Conv(t, w)", f"float[{x}] x", initializers={"w": normal(4, 6, 3), "c": constant})
    assert_untouched(proto, STEP)


def test_before_opset_7_broadcasting_is_stated_otherwise():
    more = {"w": normal(4, 3, 3), "c": normal(4)}
    proto = model("t = Conv(x, w) y = Mul<broadcast=1, axis=1>(t, c)", "float[1,3,5] x", opset=6, initializers=more)
    assert_untouched(proto, STEP)


@PROPERTY
@given(
    op=st.sampled_from(["Conv", "ConvTranspose"]),
    group=st.integers(1, 3),
    wide=st.integers(1, 2),
    deep=st.integers(1, 2),
    kernel=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    steps=st.lists(st.sampled_from(["Mul", "Div", "Add", "Sub"]), min_size=1, max_size=3),
    data=st.data(),
)
def test_any_chain_keeps_its_result(op, group, wide, deep, kernel, steps, data):
    """Shapes of constants are drawn, also ones that must not be folded."""
    inputs, outputs, rank = group * wide, group * deep, len(kernel) + 2
    weights = (outputs, wide, *kernel) if op == "Conv" else (inputs, deep, *kernel)
    more, body, last = {"w": normal(*weights)}, [f"t = {op}<group={group}>(x, w)"], "t"
    for index, step in enumerate(steps):
        sizes = [1, outputs, *[1] * (rank - 2)]
        sizes[1] = data.draw(st.sampled_from([1, outputs]))
        if data.draw(st.integers(0, 4)) == 0:
            sizes[0] = 2
        more[f"c{index}"] = normal(*sizes[data.draw(st.integers(0, rank)) :], seed=index + 1)
        body.append(f"u{index} = {step}({last}, c{index})")
        last = f"u{index}"
    shape = ",".join(["2", str(inputs), *["4"] * len(kernel)])
    proto = model(" ".join([*body, f"y = Neg({last})"]), f"float[{shape}] x", initializers=more)
    outcome = transform(proto, STEP)
    feeds = {"x": normal(2, inputs, *[4] * len(kernel), seed=9)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), 2e-5)


def test_the_last_product_of_a_gelu_stays():
    """Runtimes look for it where the opset has no operator."""
    body = "r = Div(x, root) e = Erf(r) g = Add(e, one) m = Mul(x, g) h = Mul(m, half) y = Conv(h, w)"
    numbers = {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    weights = {"w": np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)}
    assert_untouched(
        model(body, "float[1,3,4,4] x", "float[1,2,4,4] y", opset=17, initializers={**numbers, **weights}),
        FuseConvAffine(),
    )
