"""Expansions before operators that broadcast anyway."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from graphopt.transforms.movement.expansions import reaches
from tests.transforms.harness import assert_exact, assert_same_bits, assert_untouched, feeds_for, model, run, transform

STEP = Canonicalize()
RULE = {"drop-expand-before-broadcast": 1}


@pytest.mark.parametrize("op", ["Add", "Sub", "Div", "Max"])
@pytest.mark.parametrize("first", [True, False])
def test_the_other_operand_has_the_size(op, first):
    operands = "a, z" if first else "z, a"
    proto = model(
        f"a = Expand(x, s) y = {op}({operands})",
        "float[2,1] x, float[1,2,3] z",
        initializers={"s": np.array([1, 2, 3], np.int64)},
    )
    assert_exact(proto, STEP, [op], RULE)


def test_a_computed_shape_of_the_other_operand():
    body = "s = Shape(z) a = Expand(x, s) y = Add(a, z)"
    assert_exact(model(body, "float[M,1] x, float[N,M,3] z"), STEP, ["Add"], RULE, sizes={"M": 4})


def test_a_choice_between_expanded_operands():
    body = "a = Expand(x, s) y = Where(c, a, z)"
    proto = model(body, "float x, bool[2,3] c, float[3] z", initializers={"s": np.array([2, 3], np.int64)})
    assert_exact(proto, STEP, ["Where"], RULE)


@pytest.mark.parametrize(
    ("shapes", "target"),
    [(("2,1", "1,1,3"), [4, 2, 3]), (("1", "1"), [3]), (("N,1", "M,3"), [2, 3]), (("2,1", "3"), [1, 2, 3])],
)
def test_an_expansion_that_nothing_else_makes_stays(shapes, target):
    body = "a = Expand(x, s) y = Add(a, z)"
    inputs = f"float[{shapes[0]}] x, float[{shapes[1]}] z"
    assert_untouched(model(body, inputs, "float[*] y", initializers={"s": np.array(target, np.int64)}), STEP)


def test_other_readers_stay():
    body = "a = Expand(x, s) y = Add(a, z) w = Neg(a)"
    proto = model(
        body,
        "float[2,1] x, float[2,3] z",
        "float[2,3] y, float[2,3] w",
        initializers={"s": np.array([2, 3], np.int64)},
    )
    assert_exact(proto, STEP, ["Expand", "Add", "Neg"], RULE)


def test_shapes_that_reach():
    assert reaches([(2, 1), (2, 3)], (2, 3))
    assert reaches([(), (5,)], (5,))
    assert not reaches([None, (3,)], (2, 3))
    assert not reaches([(1,), ()], (1, 1))


@pytest.mark.parametrize(
    ("shape", "counts", "stays"),
    [("1,3", [2, 1], False), ("2,1", [1, 3], False), ("1,3", [2, 2], True), ("2,3", [1, 1], False)],
)
def test_tiles_of_single_elements(shape, counts, stays):
    other = "float[2,6] z" if stays else "float[2,3] z"
    proto = model("t = Tile(x, n) y = Add(t, z)", f"float[{shape}] x, {other}", initializers={"n": np.array(counts)})
    found = transform(proto, Canonicalize())
    assert (["Tile", "Add"] if stays else ["Add"]) == found.ops
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(found.after, feeds))
