"""Sequences and optionals of which is known what is in them."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.testing import assert_no_rewrite, assert_rewrites
from graphopt.transforms.canonicalize import Canonicalize
from graphopt.transforms.canonicalize.sequences import RULES
from tests.transforms.harness import model

SIZES = {
    "parts": np.array(2),
    "listed": np.array([1, 2, 3]),
    "wrong": np.array([1, 2]),
    "at": np.array(1),
    "out": np.array(7),
}


def of(body: str, inputs: str = "float[6,4] x", outputs: str = "float[*] y", opset: int = 17):
    used = {name: array for name, array in SIZES.items() if f" {name})" in body or f", {name}" in body}
    return model(body, inputs, outputs, opset=opset, initializers=used)


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
@pytest.mark.parametrize(
    "split", ["(x, parts)", "(x, listed)", "<keepdims = 0>(x)", "<keepdims = 1>(x)", "<axis = -1>(x, parts)"]
)
def test_elements_of_a_split(split, opset):
    assert_rewrites(
        RULES, of(f"s = SplitToSequence{split} y = SequenceAt(s, at)", opset=opset), {"resolve-sequence-at": 1}
    )


def test_all_elements_of_a_split_become_one_split():
    body = "s = SplitToSequence(x, listed) a = SequenceAt(s, at) n = SequenceLength(s) y = Neg(a)"
    assert_rewrites(
        Canonicalize, of(body, outputs="float[*] y, int64 n"), {"resolve-sequence-at": 1, "resolve-sequence-length": 1}
    )


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("s = SplitToSequence(x, parts) y = SequenceAt(s, at)", "float[n,4] x"),  # how many there are is not known
        ("s = SplitToSequence(x, parts) y = SequenceAt(s, out)", "float[6,4] x"),  # fails, and has to
        ("s = SplitToSequence(x, wrong) y = SequenceAt(s, at)", "float[6,4] x"),  # fails, and has to
        ("s = SplitToSequence(x, parts) y = SequenceAt(s, i)", "float[6,4] x, int64 i"),
        ("s = SplitToSequence(x, p) y = SequenceAt(s, at)", "float[6,4] x, int64 p"),
        ("s = Identity(q) y = SequenceAt(s, at)", "seq(float[6,4]) q"),
    ],
)
def test_unknown_elements_stay(body, inputs):
    assert_no_rewrite(RULES, of(body, inputs))


@pytest.mark.parametrize(
    ("body", "rewrites"),
    [
        ("s = SplitToSequence(x, parts) y = ConcatFromSequence<axis = 0>(s)", 1),
        ("s = SplitToSequence<axis = 1>(x) y = ConcatFromSequence<axis = -1>(s)", 1),
        ("s = SequenceConstruct(x, x) y = ConcatFromSequence<axis = 1>(s)", 1),
        ("s = SplitToSequence(x, parts) y = ConcatFromSequence<axis = 1>(s)", 0),
        ("s = SplitToSequence<keepdims = 0>(x) y = ConcatFromSequence<axis = 0>(s)", 0),
        ("s = SequenceConstruct(x, x) y = ConcatFromSequence<axis = 0, new_axis = 1>(s)", 0),
    ],
)
def test_joined_sequences(body, rewrites):
    if rewrites:
        assert_rewrites(RULES, of(body), {"resolve-concat-from-sequence": rewrites})
    else:
        assert_no_rewrite(RULES, of(body))


def test_optional_that_may_be_absent_stays():
    assert_no_rewrite(RULES, of("y = OptionalHasElement(o)", "optional(float[6,4]) o", "bool y"))
