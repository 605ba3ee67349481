"""Constant operands that change nothing; the sign of zero and shapes decide."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.testing import assert_no_rewrite, assert_rewrites
from graphopt.transforms.canonicalize import Canonicalize, CanonicalizeAlgebra
from graphopt.transforms.canonicalize.neutral import ALGEBRA_RULES, RULES
from tests.transforms.harness import assert_exact, assert_near, assert_untouched, model

STEP, ALGEBRA = Canonicalize(), CanonicalizeAlgebra()
RULE = {"drop-neutral-operand": 1}


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("Mul(x, c)", 1),
        ("Mul(c, x)", 1),
        ("Div(x, c)", 1),
        ("Pow(x, c)", 1),
        ("Sub(x, c)", 0.0),
        ("Add(x, c)", -0.0),
        ("Add(c, x)", -0.0),
    ],
)
@pytest.mark.parametrize("dtype", ["float", "double", "float16"])
def test_floats(body, number, dtype):
    constants = {"c": np.array(number, {"float": np.float32}.get(dtype, np.dtype(dtype) if dtype != "float" else None))}
    proto = model(f"a = {body} y = Neg(a)", f"{dtype}[20] x", f"{dtype}[20] y", initializers=constants)
    assert_exact(proto, STEP, ["Neg"], RULE)


@pytest.mark.parametrize(
    ("body", "number"), [("Mul(x, c)", 1), ("Div(x, c)", 1), ("Sub(x, c)", 0), ("Add(x, c)", 0), ("Add(c, x)", 0)]
)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers(body, number, dtype):
    proto = model(
        f"a = {body} y = Neg(a)", f"{dtype}[20] x", f"{dtype}[20] y", initializers={"c": np.array(number, dtype)}
    )
    assert_exact(proto, STEP, ["Neg"], RULE)


@pytest.mark.parametrize(("op", "number"), [("And", True), ("Or", False), ("Xor", False)])
def test_booleans(op, number):
    constants = {"c": np.array(number)}
    for body in (f"{op}(x, c)", f"{op}(c, x)"):
        assert_exact(
            model(f"a = {body} y = Not(a)", "bool[4] x", "bool[4] y", initializers=constants), STEP, ["Not"], RULE
        )
    constants = {"c": np.array(not number)}
    assert_untouched(model(f"y = {op}(x, c)", "bool[4] x", "bool[4] y", initializers=constants), STEP)


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("Mul(x, c)", 2),
        ("Div(c, x)", 1),
        ("Sub(c, x)", 0.0),
        ("Pow(c, x)", 1),
        ("Add(x, c)", 0.0),
        ("Sub(x, c)", -0.0),
        ("Mul(x, c)", np.nan),
    ],
)
def test_what_changes_something_stays(body, number):
    assert_untouched(model(f"y = {body}", initializers={"c": np.float32(number)}), STEP)


def test_power_of_an_integer_stays():
    """Runtimes go through floating point, which does not hold every int64."""
    assert_untouched(model("y = Pow(x, c)", "int64[4] x", "int64[4] y", initializers={"c": np.int64(1)}), STEP)


@pytest.mark.parametrize(
    ("shape", "constant", "gone"),
    [
        ("2,3", (), True),
        ("2,3", (1, 1), True),
        ("2,3", (3,), True),
        ("2,3", (2, 3), True),
        ("N,3", (1, 3), True),
        ("*", (), True),
        ("N,3", (2, 3), False),
        ("2,3", (1, 2, 3), False),
        ("1,3", (2, 3), False),
        ("2,3", (1, 1, 1), False),
        ("*", (1,), False),
        ("1,3", (0, 3), False),
        ("0,3", (1, 3), True),
    ],
)
def test_the_constant_must_not_broadcast(shape, constant, gone):
    proto = model("a = Mul(x, c) y = Exp(a)", f"float[{shape}] x", initializers={"c": np.ones(constant, np.float32)})
    if not gone:
        assert_untouched(proto, STEP)
    elif shape == "*":
        assert_near(proto, STEP, ["Exp"], RULE)
    else:
        assert_exact(proto, STEP, ["Exp"], RULE)


@pytest.mark.parametrize("opset", [7, 13, 14])
def test_opsets(opset):
    proto = model("a = Mul(x, c) y = Exp(a)", opset=opset, initializers={"c": np.float32(1)})
    assert_exact(proto, STEP, ["Exp"], RULE)


def test_before_opset_7_broadcasting_is_stated_otherwise():
    proto = model("y = Mul<broadcast=1>(x, c)", opset=6, initializers={"c": np.ones(1, np.float32)})
    assert_untouched(proto, STEP)


def test_an_initializer_that_callers_may_override_is_not_constant():
    proto = model("y = Mul(x, c)", "float[2,3] x, float c", initializers={"c": np.float32(1)})
    assert_untouched(proto, STEP)
    before = model(
        "a = Mul(x, c) y = Exp(a)", "float[2,3] x, float c", initializers={"c": np.float32(1)}, ir_version=3, opset=8
    )
    assert_exact(before, STEP, ["Exp"], RULE)


@pytest.mark.parametrize("body", ["Add(x, p)", "Add(p, x)", "Sub(x, p)", "Sub(x, n)"])
def test_algebra_ignores_the_sign_of_zero(body):
    constants = {"p": np.zeros(3, np.float32), "n": -np.zeros(3, np.float32)}
    assert_near(
        model(f"a = {body} y = Exp(a)", initializers=constants), ALGEBRA, ["Exp"], {"drop-zero-term": 1}, rtol=0
    )


def test_algebra_keeps_shapes():
    assert_untouched(model("y = Add(x, c)", "float[1,3] x", initializers={"c": np.zeros((2, 3), np.float32)}), ALGEBRA)


@pytest.mark.parametrize("opset", [13, 17, 23])
def test_scale_and_offset_of_a_spelt_out_normalization_stay_where_there_is_no_operator_for_it(opset):
    """ONNX Runtime fuses a layer normalization that ends with Mul and Add, whatever their numbers are."""
    proto = model(
        "s = Sqrt(v) d = Div(x, s) m = Mul(d, one) a = Add(m, zero) y = Neg(a)",
        "float[2,4] x, float[2,1] v",
        opset=opset,
        initializers={"one": np.ones(4, np.float32), "zero": np.zeros(4, np.float32)},
    )
    if opset < 23:
        assert_no_rewrite((*RULES, *ALGEBRA_RULES), proto)
    else:
        assert_rewrites((*RULES, *ALGEBRA_RULES), proto, {"drop-neutral-operand": 1, "drop-zero-term": 1})
