"""Ranges that a user states: inputs are drawn inside of them, and brought ones must be."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.errors import ExecutionError
from graphopt.ir import DType, SymbolicDim, TensorType
from graphopt.runtime import ValueSpec
from graphopt.verify.hints import InputHint
from graphopt.verify.sizes import find_symbols
from graphopt.verify.user_inputs import check_limits

X = TensorType(DType.FLOAT, (SymbolicDim("batch"), SymbolicDim("seq"), None))
HINTS = [InputHint("x", X)]


@pytest.mark.parametrize(
    ("limits", "name", "expected"),
    [
        ({"batch": (1, 2)}, "batch", {1, 2}),
        ({"seq": (100, 120)}, "seq", {100, 110, 120, *range(101, 120)}),
        ({"seq": (0, 0)}, "seq", {0}),
        ({"x.2": (7, None)}, "x.2", set(range(7, 4096))),
        ({"seq": (5000, 9000)}, "seq", set(range(5000, 9001))),
    ],
)
def test_sizes_are_drawn_inside_of_limits(limits, name, expected):
    symbols = find_symbols(HINTS, limits=limits)
    drawn = {sizes[name] for sizes in symbols.assignments(np.random.default_rng(0), 60)}
    varied = {
        sizes[name]
        for base in symbols.assignments(np.random.default_rng(0), 1)
        for _, sizes in symbols.variations(base)
    }
    assert drawn
    assert drawn | varied <= expected
    assert len(drawn | varied) >= min(2, len(expected)), "several sizes, where there are several"


def test_likely_sizes_are_tried_first_where_they_are_allowed():
    free, bound = find_symbols(HINTS), find_symbols(HINTS, limits={"seq": (1, 512)})
    assert free.candidates["seq"][0] == bound.candidates["seq"][0]
    assert free.candidates["batch"] == bound.candidates["batch"]
    assert 512 in bound.candidates["seq"]


def test_dimensions_that_follow_from_others_have_limits_too():
    kind = TensorType(DType.FLOAT, (SymbolicDim("past"), SymbolicDim("past + 1")))
    symbols = find_symbols([InputHint("x", kind)], limits={"past + 1": (4, 6)})
    found = list(symbols.assignments(np.random.default_rng(0), 60))
    assert found
    assert all(4 <= symbols.shape_of("x", sizes)[1] <= 6 for sizes in found)


@pytest.mark.parametrize(
    ("shape", "axis", "limit"), [((3, 2, 1), 0, r"1\.\.2"), ((1, 9, 1), 1, r"\.\.8"), ((1, 1, 3), 2, r"4\.\.")]
)
def test_brought_inputs_are_held_to_limits(shape, axis, limit):
    limits = {"batch": (1, 2), "seq": (0, 8), "x.2": (4, None)}
    with pytest.raises(
        ExecutionError, match=rf"input 'x' has size {shape[axis]} along axis {axis}, outside of \d*{limit}"
    ):
        check_limits({"x": np.zeros(shape, np.float32)}, [ValueSpec("x", X)], limits)
    check_limits({"x": np.zeros((2, 8, 4), np.float32)}, [ValueSpec("x", X)], limits)
    check_limits({"x": np.zeros(shape, np.float32)}, [ValueSpec("x", X)], {})
