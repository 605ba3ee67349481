"""Masks of nothing and guards against NaN that can not be go from attention that stays spelt out."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.fusion.attention import FuseAttention
from tests.transforms.harness import assert_exact, assert_near, assert_untouched, model

CORE = "z = MatMul(q, k) s = Mul(z, c) w = Add(s, m) p = Softmax<axis = -1>(w) i = IsNaN(p) g = Where(i, zero, p) y = MatMul(g, v)"
INPUTS = "float[b,2,s,4] q, float[b,2,4,l] k, float[b,2,l,4] v"
NUMBERS = {"c": np.float32(0.5), "zero": np.float32(0)}
SIZES = {"b": 2, "s": 3, "l": 5}


def made(body, inputs=INPUTS, outputs="float[*] y", **constants):
    return model(body, inputs, outputs, opset=17, initializers={**NUMBERS, **constants})


def chosen(low):
    return "m = Where(f, zero, low) " + CORE, f"{INPUTS}, bool[b,1,s,l] f", {"low": np.float32(low)}


def test_a_guard_behind_finite_masks_goes():
    body, inputs, constants = chosen(-3.4e38)
    ops = ["Where", "MatMul", "Mul", "Add", "Softmax", "MatMul"]
    assert_near(made(body, inputs, **constants), FuseAttention(), ops, {"drop-softmax-guard": 1}, sizes=SIZES)


@pytest.mark.parametrize("low", [-np.inf])
def test_a_guard_behind_masks_of_minus_infinity_stays(low):
    body, inputs, constants = chosen(low)
    assert_untouched(made(body, inputs, **constants), FuseAttention())


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (CORE, "float[*] y"),
        (
            CORE.replace("Where(i, zero, p)", "Where(i, c, p)").replace(
                "w = Add(s, m) p = Softmax<axis = -1>(w)", "p = Softmax<axis = -1>(s)"
            ),
            "float[*] y",
        ),
        (
            CORE.replace("w = Add(s, m) p = Softmax<axis = -1>(w)", "p = Softmax<axis = -1>(s)"),
            "float[*] y, float[*] g",
        ),
    ],
)
def test_other_guards_stay(body, outputs):
    inputs = f"{INPUTS}, float[b,1,s,l] m" if "m)" in body else INPUTS
    assert_untouched(made(body, inputs, outputs), FuseAttention())


NOTHING = "f = Expand(truth, size) m = Where(f, zero, low) w = Add(m, s) y = Softmax<axis = -1>(w)"


@pytest.mark.parametrize("size", [[1, 1, 3, 5], [2, 1, 1, 5], [1, 5]])
def test_masks_of_nothing_go(size):
    proto = model(
        NOTHING,
        "float[2,2,3,5] s",
        opset=17,
        initializers={
            "truth": np.array(True),
            "size": np.array(size),
            "zero": np.float32(0),
            "low": np.float32(-np.inf),
        },
    )
    assert_exact(proto, FuseAttention(), ["Softmax"], {"drop-mask-of-nothing": 1})


@pytest.mark.parametrize(
    ("shape", "size", "truth"),
    [
        ("1,2,3,5", [2, 1, 3, 5], True),
        ("2,2,3,1", [3, 5], True),
        ("2,2,3,5", [3, 5], False),
        ("b,2,3,5", [2, 2, 3, 5], True),
    ],
)
def test_masks_that_enlarge_or_choose_stay(shape, size, truth):
    proto = model(
        NOTHING,
        f"float[{shape}] s",
        opset=17,
        initializers={"truth": np.array(truth), "size": np.array(size), "zero": np.float32(0), "low": np.float32(-9)},
    )
    assert_untouched(proto, FuseAttention())
