"""Concat and Split: nested, empty, undone."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model, transform

STEP = Canonicalize()
TWO = "float[2,3] x, float[2,3] z"


@pytest.mark.parametrize(
    ("body", "ops", "applied"),
    [
        ("a = Concat<axis=1>(x, z) y = Concat<axis=1>(a, x)", ["Concat"], {"flatten-concat": 1}),
        (
            "a = Concat<axis=1>(x, z) b = Concat<axis=-1>(z, a) y = Concat<axis=1>(b, x)",
            ["Concat"],
            {"flatten-concat": 1},
        ),
        ("a = Concat<axis=0>(x, z) y = Concat<axis=0>(a, a)", ["Concat", "Concat"], {}),
        ("a = Concat<axis=0>(x, z) y = Concat<axis=1>(a, a)", ["Concat", "Concat"], {}),
        ("a = Concat<axis=0>(x, z) b = Concat<axis=0>(z, x) y = Concat<axis=1>(a, b)", ["Concat"] * 3, {}),
        ("a = Concat<axis=1>(x, e) y = Exp(a)", ["Exp"], {"flatten-concat": 1}),
        ("y = Concat<axis=1>(x, e, z, e)", ["Concat"], {"flatten-concat": 1}),
        ("a = Concat<axis=1>(e, e) y = Exp(a)", ["Exp"], {"flatten-concat": 1}),
    ],
)
def test_concats(body, ops, applied):
    proto = model(body, TWO, initializers={"e": np.zeros((2, 0), np.float32)})
    assert_exact(proto, STEP, ops, applied)


def test_an_output_between_is_not_absorbed():
    proto = model("a = Concat<axis=1>(x, z) y = Concat<axis=1>(a, x)", TWO, "float[2,9] y, float[2,6] a")
    assert_untouched(proto, STEP)


def test_an_empty_tensor_of_another_rank_is_left_alone():
    """Inference can't tell the rank of what an unknown operator gives."""
    proto = model(
        "a = other.Thing(x) y = Concat<axis=0>(a, e)",
        imports=', "other" : 1',
        initializers={"e": np.zeros(0, np.float32)},
    )
    assert_untouched(proto, STEP)


def test_a_long_chain_is_one_rewrite():
    """Nested Concat nodes are collected from the outermost one, not pair by pair."""
    count = 1000
    body = " ".join(f"c{i} = Concat<axis=0>({'x' if i == 0 else f'c{i - 1}'}, x)" for i in range(count))
    outcome = transform(model(f"{body} y = Exp(c{count - 1})", "float[1] x", f"float[{count + 1}] y"), STEP)
    assert (["Concat", "Exp"], {"flatten-concat": 1}) == (outcome.ops, outcome.applied)
    assert count + 1 == len(outcome.after.graph.node[0].input)


@pytest.mark.parametrize(
    ("body", "ops", "applied"),
    [
        ("a, b = Split<axis=1>(x, p) c = Concat<axis=1>(a, b) y = Exp(c)", ["Exp"], {"eliminate-concat-of-split": 1}),
        ("a, b = Split<axis=1>(x, p) c = Concat<axis=-1>(a, b) y = Exp(c)", ["Exp"], {"eliminate-concat-of-split": 1}),
        ("a, b = Split<axis=1>(x, p) y = Concat<axis=1>(b, a)", ["Split", "Concat"], {}),
        ("a, b = Split<axis=1>(x, p) y = Concat<axis=0>(a, a)", ["Slice", "Concat"], {"slice-instead-of-split": 1}),
        ("a, b = Split<axis=1>(x, p) y = Concat<axis=1>(a, b, a)", ["Split", "Concat"], {}),
        (
            "a = Concat<axis=1>(x, z) b, c = Split<axis=-1>(a, q) y = Add(b, c)",
            ["Add"],
            {"eliminate-split-of-concat": 1},
        ),
        (
            "a = Concat<axis=1>(x, z) b, c = Split<axis=1>(a, r) y = Concat<axis=1>(c, b)",
            ["Concat", "Split", "Concat"],
            {},
        ),
        ("a = Split<axis=0>(x, w) y = Exp(a)", ["Exp"], {"eliminate-split": 1}),
    ],
)
def test_splits(body, ops, applied):
    sizes = {"p": [1, 2], "q": [3, 3], "r": [2, 4], "w": [2]}
    proto = model(body, TWO, initializers={name: np.array(numbers, np.int64) for name, numbers in sizes.items()})
    assert_exact(proto, STEP, ops, applied)


@pytest.mark.parametrize("opset", [7, 11, 12, 18])
def test_splits_of_all_opsets(opset):
    more = ", num_outputs=3" if opset >= 18 else ""
    proto = model(f"a, b, c = Split<axis=1{more}>(x) d = Concat<axis=1>(a, b, c) y = Exp(d)", opset=opset)
    assert_exact(proto, STEP, ["Exp"], {"eliminate-concat-of-split": 1})


def test_split_keeps_outputs_that_others_read():
    proto = model(
        "a, b = Split<axis=1>(x, p) c = Concat<axis=1>(a, b) y = Exp(c)",
        outputs="float[2,3] y, float[2,1] a",
        initializers={"p": np.array([1, 2])},
    )
    assert_exact(proto, STEP, ["Slice", "Exp"], {"eliminate-concat-of-split": 1, "slice-instead-of-split": 1})
