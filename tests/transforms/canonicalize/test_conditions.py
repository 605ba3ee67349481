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
