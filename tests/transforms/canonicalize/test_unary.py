"""Chains of elementwise operators of one input."""

from __future__ import annotations

import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()
RULE = "shorten-unary-chain"


@pytest.mark.parametrize(
    ("body", "ops", "count"),
    [
        ("a = Neg(x) b = Neg(a) y = Exp(b)", ["Exp"], 1),
        ("a = Neg(x) b = Neg(a) c = Neg(b) y = Exp(c)", ["Neg", "Exp"], 1),
        ("a = Abs(x) y = Abs(a)", ["Abs"], 1),
        ("a = Relu(x) b = Relu(a) y = Relu(b)", ["Relu"], 2),
        ("a = Sign(x) y = Sign(a)", ["Sign"], 1),
        ("a = Floor(x) y = Floor(a)", ["Floor"], 1),
        ("a = Round(x) y = Ceil(a)", ["Round"], 1),
        ("a = Ceil(x) b = Round(a) y = Floor(b)", ["Ceil"], 2),
        ("a = Neg(x) y = Abs(a)", ["Abs"], 1),
    ],
)
def test_chains_get_shorter(body, ops, count):
    assert_exact(model(body, "float[40] x", "float[40] y"), STEP, ops, {RULE: count})


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "double"])
def test_smallest_integers_survive(dtype):
    proto = model("a = Neg(x) b = Neg(a) c = Abs(b) d = Abs(c) y = Identity(d)", f"{dtype}[20] x", f"{dtype}[20] y")
    assert_exact(proto, STEP, ["Abs"], {RULE: 2, "eliminate-identity": 1})


def test_double_negation_of_bool():
    assert_exact(model("a = Not(x) b = Not(a) y = Not(b)", "bool[5] x", "bool[5] y"), STEP, ["Not"], {RULE: 1})


@pytest.mark.parametrize(
    "body",
    [
        "a = Sigmoid(x) y = Sigmoid(a)",
        "a = Abs(x) y = Neg(a)",
        "a = Reciprocal(x) y = Reciprocal(a)",
        "a = Sqrt(x) y = Abs(a)",
    ],
)
def test_other_chains_stay(body):
    assert_untouched(model(body), STEP)


def test_shared_and_given_out_inner_node():
    proto = model("a = Relu(x) b = Relu(a) y = Exp(b)", outputs="float[2,3] y, float[2,3] a")
    assert_exact(proto, STEP, ["Relu", "Exp"], {RULE: 1})
    proto = model("a = Neg(x) b = Neg(a)  y = Exp(b)", outputs="float[2,3] y, float[2,3] a")
    assert_exact(proto, STEP, ["Neg", "Exp"], {RULE: 1})


def test_both_outputs_keep_their_names():
    proto = model("a = Relu(x) y = Relu(a)", outputs="float[2,3] y, float[2,3] a")
    assert_exact(proto, STEP, ["Relu", "Identity"], {RULE: 1})
