"""What is nearly an activation stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.fusion.activations import FuseActivations
from tests.transforms.fusion.activations.test_spellings import CLIP, CUBE, ERF
from tests.transforms.harness import assert_untouched, run, transform
from tests.transforms.spelled import spelled

STEP = FuseActivations()
GELU = f"{ERF} m = Mul(x, g) y = Mul(m, #0.5)"


@pytest.mark.parametrize(
    "body",
    [
        "r = Div(x, #1.5) e = Erf(r) g = Add(e, #1) m = Mul(x, g) y = Mul(m, #0.5)",
        "r = Div(x, #1.414) e = Erf(r) g = Add(e, #1) m = Mul(x, g) y = Mul(m, #0.5)",
        "r = Div(x, #1.4142135) e = Erf(r) g = Add(e, #2) m = Mul(x, g) y = Mul(m, #0.5)",
        "r = Div(x, #1.4142135) e = Erf(r) g = Sub(e, #1) m = Mul(x, g) y = Mul(m, #0.5)",
        f"{ERF} m = Mul(x, g) y = Mul(m, #0.4)",
        f"{ERF} y = Mul(x, g)",
        "r = Div(z, #1.4142135) e = Erf(r) g = Add(e, #1) m = Mul(x, g) y = Mul(m, #0.5)",
        CUBE.replace("0.044715", "0.05") + " h = Mul(x, #0.5) y = Mul(h, g)",
        CUBE.replace("#3", "#2") + " h = Mul(x, #0.5) y = Mul(h, g)",
        f"{CLIP} m = Mul(z, c) y = Add(m, #6)",
        f"{CLIP} m = Mul(x, c) y = Div(m, #5)",
        "a = Add(x, #3) c = Clip(a, #0, #7) m = Mul(x, c) y = Div(m, #6)",
        "a = Add(x, #3) c = Clip(a, #-1, #6) m = Mul(x, c) y = Div(m, #6)",
        "h = HardSigmoid <alpha: float = 0.2> (x) y = Mul(x, h)",
        "m = Mul(x, #-0.5) y = Max(x, m)",
        "m = Mul(x, #1.5) y = Max(x, m)",
        "c = Greater(x, #1) m = Mul(x, #0.5) y = Where(c, x, m)",
        "c = Greater(z, #0) m = Mul(x, #0.5) y = Where(c, x, m)",
        "c = GreaterOrEqual(x, #1) y = Where(c, x, #0)",
        "e = Exp(x) a = Add(e, #2) y = Log(a)",
        "s = Softplus(x) c = Greater(x, #5) y = Where(c, x, s)",
        "a = Abs(x) b = Add(a, #2) y = Div(x, b)",
        "c = Greater(x, #0) e = Exp(x) d = Sub(e, #2) y = Where(c, x, d)",
        "c = Greater(x, #0) k = Div(x, #0.5) e = Exp(k) d = Sub(e, #1) m = Mul(d, #2) y = Where(c, x, m)",
        "k = Mul(x, #2) t = Tanh(k) a = Add(t, #1) y = Mul(a, #0.5)",
        "t = Tanh(x) a = Add(t, #1) y = Mul(a, #0.5)",
        "s = Softmax(x) y = Log(s)",
        "e = Elu(x) y = Mul(e, #1.050701)",
        "y = Min(x, #6)",
        "y = Max(x, z)",
    ],
)
def test_other_numbers_and_values_stay(body):
    proto = spelled(body, inputs="float[2,3] z" if "z" in body else "")
    assert_untouched(proto, STEP)


@pytest.mark.parametrize("dtype", ["double", "bfloat16"])
def test_other_element_types_stay(dtype):
    assert_untouched(spelled(GELU, dtype=dtype), STEP)


@pytest.mark.parametrize("more", ["r", "e", "g", "m"])
def test_a_part_that_is_given_out_keeps_the_others(more):
    assert_untouched(spelled(GELU, outputs=f"float[2,3] y, float[2,3] {more}"), STEP)


@pytest.mark.parametrize("more", ["r", "e", "g", "m"])
def test_a_part_with_another_user_keeps_the_others(more):
    assert_untouched(spelled(f"{GELU} k = Exp({more})", outputs="float[2,3] y, float[2,3] k"), STEP)


def test_the_value_itself_may_have_other_users():
    outcome = transform(spelled(f"{GELU} k = Exp(x)", outputs="float[2,3] y, float[2,3] k"), STEP)
    assert {"fuse-gelu": 1} == outcome.applied


def test_a_part_that_a_branch_captures_keeps_the_others():
    branch = "then_branch = t () => (float[2,3] p) {{ p = Neg({0}) }}, else_branch = f () => (float[2,3] q) {{ q = Exp({0}) }}"
    proto = spelled(f"{GELU} k = If(b) <{branch.format('e')}>", inputs="bool b", outputs="float[2,3] y, float[2,3] k")
    assert {} == transform(proto, STEP).applied


def test_inside_a_branch_the_value_may_be_captured():
    inner = GELU.replace("y =", "p =")
    then = f"then_branch = t () => (float[2,3] p) {{ {inner} }}"
    proto = spelled(f"y = If(b) <{then}, else_branch = f () => (float[2,3] q) {{ q = Neg(x) }}>", inputs="bool b")
    assert {"fuse-gelu": 1} == transform(proto, STEP).applied


def test_numbers_that_callers_may_change_stay():
    proto = spelled(GELU)
    proto.graph.input.append(spelled("y = Neg(n0_5)", inputs="float[2,3] x, float n0_5").graph.input[1])
    proto.graph.input[-1].type.tensor_type.shape.SetInParent()
    assert_untouched(proto, STEP)


def test_numbers_with_more_axes_stay():
    """They add an axis to the result."""
    proto = spelled(GELU, numbers=(1, 1, 1), outputs="float[1,2,3] y")
    assert_untouched(proto, STEP)


def test_a_value_of_unknown_rank_needs_plain_numbers():
    assert {"fuse-gelu": 1} == transform(spelled(GELU, shape="*"), STEP).applied
    assert {} == transform(spelled(GELU, shape="*", numbers=(1,)), STEP).applied


@pytest.mark.parametrize("shape", ["0,3", "N,3", ""])
def test_shapes_of_all_kinds(shape):
    outcome = transform(spelled(GELU, shape=shape), STEP)
    assert {"fuse-gelu": 1} == outcome.applied


def test_a_slope_that_broadcasts_the_value_stays():
    body = "c = Greater(x, #0) m = Mul(x, s) y = Where(c, x, m)"
    assert_untouched(spelled(body, shape="1,3", inputs="float[2,3] s", outputs="float[2,3] y"), STEP)


def test_a_slope_may_be_computed():
    body = "c = Greater(x, #0) m = Mul(x, s) y = Where(c, x, m)"
    assert ["PRelu"] == transform(spelled(body, inputs="float[3] s"), STEP).ops


def test_no_not_a_number_is_added():
    """Where the original gives numbers for infinities and the largest numbers, so does the activation."""
    for body in (GELU, f"{CLIP} m = Mul(x, c) y = Div(m, #6)", "e = Exp(x) a = Add(e, #1) y = Log(a)"):
        proto = spelled(body)
        feeds = {"x": np.array([[np.inf, -np.inf, 3e38], [-3e38, 1e30, -1e30]], np.float32)}
        (expected,), (actual,) = run(proto, feeds), run(transform(proto, STEP).after, feeds)
        assert not (np.isnan(actual) & ~np.isnan(expected)).any()
