"""Where that always chooses the same side."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()
INPUTS = "float[2,3] x, float[2,3] z, bool[2,3] c"


@pytest.mark.parametrize(
    "condition", [True, np.ones((2, 3), bool), np.ones((1, 3), bool), False, np.zeros((2, 1), bool)]
)
def test_constant_conditions(condition):
    proto = model("a = Where(k, x, z) y = Exp(a)", INPUTS, initializers={"k": np.array(condition)})
    outcome = assert_exact(proto, STEP, ["Exp"], {"resolve-constant-where": 1})
    assert ["x" if np.all(condition) else "z"] == list(outcome.after.graph.node[0].input)


@pytest.mark.parametrize(
    "condition",
    [np.array([[True], [False]]), np.ones((1, 2, 3), bool), np.zeros((0, 2, 3), bool), np.zeros((0, 1, 1), bool)],
)
def test_conditions_that_vary_or_broadcast_stay(condition):
    assert_untouched(model("y = Where(k, x, z)", INPUTS, initializers={"k": condition}), STEP)


def test_the_other_side_may_broadcast():
    true = {"k": np.array(True)}
    assert_untouched(model("y = Where(k, x, z)", "float[1,3] x, float[2,3] z", initializers=true), STEP)
    assert_untouched(model("y = Where(k, x, z)", "float[N,3] x, float[2,3] z", initializers=true), STEP)
    assert_untouched(model("y = Where(k, x, z)", "float[2,3] x, float[*] z", initializers=true), STEP)
    proto = model("a = Where(k, x, z) y = Exp(a)", "float[2,3] x, float[3] z", initializers=true)
    assert_exact(proto, STEP, ["Exp"], {"resolve-constant-where": 1})


def test_equal_sides():
    assert_exact(model("a = Where(c, x, x) y = Exp(a)", INPUTS), STEP, ["Exp"], {"resolve-equal-where": 1})
    assert_untouched(model("y = Where(c, x, x)", "float[2,3] x, bool[4,2,3] c"), STEP)
    assert_untouched(model("y = Where(c, x, z)", INPUTS), STEP)


def test_a_condition_that_is_turned_round_changes_the_sides():
    proto = model("d = Not(c) y = Where(d, a, b)", "bool[2,3] c, float[2,3] a, float[3] b")
    assert_exact(proto, STEP, ["Where"], {"turn-where": 1})
    outputs = "float[3] y, bool[3] d"
    assert_untouched(model("d = Not(c) y = Where(d, a, b)", "bool[3] c, float[3] a, float[3] b", outputs), STEP)


@pytest.mark.parametrize(
    ("op", "opposite"),
    [
        ("Less", "GreaterOrEqual"),
        ("Greater", "LessOrEqual"),
        ("LessOrEqual", "Greater"),
        ("GreaterOrEqual", "Less"),
    ],
)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_comparisons_of_integers_are_turned_round(op, opposite, dtype):
    proto = model(f"c = {op}(a, b) y = Not(c)", f"{dtype}[2,3] a, {dtype}[3] b", "bool[2,3] y")
    assert_exact(proto, STEP, [opposite], {"turn-comparison": 1})
    assert_untouched(model(f"c = {op}(a, b) y = Not(c)", "float[2,3] a, float[3] b", "bool[2,3] y"), STEP)


def test_what_is_not_zero():
    zero = {"z": np.array(0, np.int64)}
    proto = model("c = Equal(x, z) y = Not(c)", "int64[9] x", "bool[9] y", initializers=zero)
    assert_exact(proto, STEP, ["Cast"], {"cast-what-is-not-zero": 1})
    no = {"z": np.array(False)}
    proto = model("c = Equal(z, x) d = Not(c) y = Where(d, a, b)", "bool[3] x, float[3] a, float[3] b", initializers=no)
    assert_exact(proto, STEP, ["Where"], {"cast-what-is-not-zero": 1})


@pytest.mark.parametrize(
    ("dtype", "constant"),
    [("int64", np.array([[0], [0]], np.int64)), ("int64", np.array(1, np.int64)), ("float", np.array(0, np.float32))],
)
def test_other_comparisons_with_constants_stay(dtype, constant):
    outputs = "bool[2,3] y" if constant.ndim else "bool[3] y"
    assert_untouched(model("c = Equal(x, z) y = Not(c)", f"{dtype}[3] x", outputs, initializers={"z": constant}), STEP)


def test_constants_that_are_chosen_among_are_cast_before():
    more = {"a": np.array([1.0, 2.0], np.float32), "b": np.array(0, np.float32)}
    proto = model("w = Where(c, a, b) y = Cast<to=7>(w)", "bool[3,2] c", "int64[3,2] y", initializers=more)
    assert_exact(proto, STEP, ["Where"], {"cast-choices": 1})


@pytest.mark.parametrize(("a", "to"), [(0.5, 7), (np.nan, 7), (3e38, 6), (-1.0, 2), (np.inf, 7), (16777217, 1)])
def test_constants_that_the_other_type_does_not_hold_stay(a, to):
    dtype = np.int64 if isinstance(a, int) else np.float32
    more = {"a": np.array(a, dtype), "b": np.array(0, dtype)}
    output = {1: "float", 2: "uint8", 6: "int32", 7: "int64"}[to]
    body = f"w = Where(c, a, b) y = Cast<to={to}>(w)"
    assert_untouched(model(body, "bool[3,2] c", f"{output}[3,2] y", initializers=more), STEP)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("w = Where(c, a, b) y = Where(c, w, d)", "choose-once"),
        ("w = Where(c, a, b) y = Where(c, d, w)", "choose-other-once"),
    ],
)
def test_one_condition_twice(body, rule):
    proto = model(body, "bool[2,3] c, float[2,3] a, float[2,3] b, float[3] d", "float[2,3] y")
    assert_exact(proto, STEP, ["Where"], {rule: 1})


def test_one_condition_twice_may_need_what_is_never_chosen():
    body = "w = Where(c, a, b) y = Where(c, w, d)"
    assert_untouched(model(body, "bool[3] c, float[3] a, float[2,3] b, float[3] d", "float[2,3] y"), STEP)
    body = "w = Where(e, a, b) y = Where(c, w, d)"
    inputs = "bool[2,3] c, bool[2,3] e, float[2,3] a, float[2,3] b, float[2,3] d"
    assert_untouched(model(body, inputs, "float[2,3] y"), STEP)
