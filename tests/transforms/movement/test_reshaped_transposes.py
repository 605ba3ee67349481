"""Transpose nodes between and around nodes that change shapes."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model, transform

STEP = Canonicalize()
KEYS = {"first": np.array([-1, 7, 4], np.int64), "second": np.array([-1, 3, 4, 7], np.int64)}
CHAIN = "a = Reshape(x, first) b = Transpose<perm=[0,2,1]>(a) c = Reshape(b, second) y = Exp(c)"


@pytest.mark.parametrize("shape", ["2,3,7,4", "N,3,7,4"])
def test_transposition_of_keys_as_exporters_spell_it_is_one_transpose(shape):
    proto = model(CHAIN, f"float[{shape}] x", initializers=KEYS)
    outcome = assert_exact(proto, STEP, ["Transpose", "Exp"], {"merge-reshaped-transpose": 1})
    assert [0, 1, 3, 2] == list(outcome.after.graph.node[0].attribute[0].ints)


@pytest.mark.parametrize("opset", [6, 11, 13, 21])
def test_another_shape_behind_keeps_the_reshape(opset):
    body = "a = Reshape(x, first) b = Transpose<perm=[1,0]>(a) c = Reshape(b, second) y = Exp(c)"
    arrays = {"first": np.array([6, 4], np.int64), "second": np.array([2, 2, 6], np.int64)}
    proto = model(body, "float[2,3,4] x", opset=opset, initializers=arrays)
    assert_exact(proto, STEP, ["Transpose", "Reshape", "Exp"], {"merge-reshaped-transpose": 1})


def test_axes_that_are_torn_apart_stay():
    body = "a = Reshape(x, first) b = Transpose<perm=[1,0,2]>(a) c = Reshape(b, second) y = Exp(c)"
    arrays = {"first": np.array([2, 3, 4], np.int64), "second": np.array([3, 8], np.int64)}
    assert_untouched(model(body, "float[6,4] x", initializers=arrays), STEP)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (CHAIN, "float[2,3,4,7] y, float[6,4,7] b"),
        (CHAIN + " z = Exp(b)", "float[2,3,4,7] y, float[6,4,7] z"),
    ],
)
def test_a_transpose_that_others_read_stays(body, outputs):
    assert_untouched(model(body, "float[2,3,7,4] x", outputs, initializers=KEYS), STEP)


def test_a_shared_first_reshape_stays_where_one_transpose_is_enough():
    proto = model(CHAIN, "float[2,3,7,4] x", "float[2,3,4,7] y, float[6,7,4] a", initializers=KEYS)
    assert_exact(proto, STEP, ["Reshape", "Transpose", "Exp"], {"merge-reshaped-transpose": 1})
    other = {"first": np.array([6, 4], np.int64), "second": np.array([2, 2, 6], np.int64)}
    body = "a = Reshape(x, first) b = Transpose<perm=[1,0]>(a) c = Reshape(b, second) y = Exp(c)"
    assert_untouched(model(body, "float[2,3,4] x", "float[2,2,6] y, float[6,4] a", initializers=other), STEP)


def test_targets_that_are_computed_or_of_unknown_shape_stay():
    assert_untouched(model(CHAIN, "float[2,3,7,4] x, int64[4] second", initializers={"first": KEYS["first"]}), STEP)
    assert_untouched(model(CHAIN, "float[*] x", initializers=KEYS), STEP)


def test_inside_a_branch_what_is_captured_stays_outside():
    branch = "t () => (float[2,3,4,7] c) { c = Reshape(b, second) }"
    body = (
        f"a = Reshape(x, first) b = Transpose<perm=[0,2,1]>(a) y = If(go) <then_branch = {branch}, "
        "else_branch = e () => (float[2,3,4,7] d) { d = Exp(z) }>"
    )
    assert_untouched(model(body, "float[2,3,7,4] x, bool go, float[2,3,4,7] z", initializers=KEYS), STEP)


def test_empty_tensors_keep_their_shapes():
    arrays = {"first": np.array([0, 4], np.int64), "second": np.array([4, 0, 3], np.int64)}
    body = "a = Reshape<allowzero=1>(x, first) b = Transpose(a) c = Reshape<allowzero=1>(b, second) y = Exp(c)"
    outcome = transform(model(body, "float[0,3,4] x", "float[4,0,3] y", initializers=arrays), STEP)
    assert [4, 0, 3] == [dim.dim_value for dim in outcome.after.graph.output[0].type.tensor_type.shape.dim]


def test_two_transposes_around_a_reshape_are_one():
    body = "a = Transpose<perm=[0,2,1,3]>(x) b = Reshape(a, to) c = Transpose<perm=[0,2,1]>(b) y = Exp(c)"
    proto = model(body, "float[2,7,3,4] x", initializers={"to": np.array([-1, 7, 4], np.int64)})
    assert_exact(proto, STEP, ["Transpose", "Reshape", "Exp"], {"merge-transpose-across-reshape": 1})


@pytest.mark.parametrize(
    ("shape", "to", "second"), [("2,6,5", [2, 5, 2, 3], "0,2,3,1"), ("2,5,6", [2, 2, 3, 5], "0,3,1,2")]
)
def test_two_transposes_that_undo_each_other_around_a_reshape_go(shape, to, second):
    body = f"a = Transpose<perm=[0,2,1]>(x) b = Reshape(a, to) c = Transpose<perm=[{second}]>(b) y = Exp(c)"
    proto = model(body, f"float[{shape}] x", initializers={"to": np.array(to, np.int64)})
    assert_exact(proto, STEP, ["Reshape", "Exp"], {"merge-transpose-across-reshape": 1})


def test_only_axes_of_size_1_move_beside_a_reshape():
    body = "a = Transpose<perm=[0,2,1,3]>(x) b = Reshape(a, to) y = Exp(b)"
    proto = model(body, "float[N,1,5,4] x", initializers={"to": np.array([-1, 20], np.int64)})
    assert_exact(proto, STEP, ["Reshape", "Exp"], {"reshape-instead-of-transpose": 1, "merge-reshapes": 1})
    assert_untouched(model("a = Transpose<perm=[0,2,1,3]>(x) y = Exp(a)", "float[N,1,5,4] x"), STEP)
    assert_untouched(model(body, "float[N,2,5,4] x", initializers={"to": np.array([-1, 40], np.int64)}), STEP)
