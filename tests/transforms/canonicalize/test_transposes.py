"""Transpose nodes that move nothing, and chains of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import PROPERTY, assert_exact, assert_untouched, feeds_for, model, run, transform

STEP = Canonicalize()


@pytest.mark.parametrize(
    ("body", "ops", "applied"),
    [
        ("a = Transpose<perm=[0,1,2]>(x) y = Exp(a)", ["Exp"], {"eliminate-transpose": 1}),
        ("a = Transpose(x) b = Transpose(a) y = Exp(b)", ["Exp"], {"merge-transposes": 1}),
        ("a = Transpose<perm=[1,0,2]>(x) b = Transpose<perm=[1,0,2]>(a) y = Exp(b)", ["Exp"], {"merge-transposes": 1}),
        ("a = Transpose<perm=[1,2,0]>(x) y = Transpose<perm=[1,0,2]>(a)", ["Transpose"], {"merge-transposes": 1}),
        ("a = Transpose(x) y = Transpose<perm=[1,0,2]>(a)", ["Transpose"], {"merge-transposes": 1}),
    ],
)
def test_transposes(body, ops, applied):
    assert_exact(model(body, "float[2,3,4] x"), STEP, ops, applied)


def test_default_order_of_a_vector_is_the_identity():
    assert_exact(model("a = Transpose(x) y = Exp(a)", "float[3] x"), STEP, ["Exp"], {"eliminate-transpose": 1})


def test_default_order_of_unknown_rank_stays():
    assert_untouched(model("y = Transpose(x)", "float[*] x"), STEP)


def test_two_default_orders_of_unknown_rank_go():
    assert ["Exp"] == transform(model("a = Transpose(x) b = Transpose(a) y = Exp(b)", "float[*] x"), STEP).ops


def test_shared_inner_transpose_is_merged_only_if_it_can_die():
    body = "a = Transpose<perm=[1,2,0]>(x) y = Transpose<perm=[1,0,2]>(a) z = {}(a)"
    outputs = "float[4,3,2] y, float[?,?,?] z".replace("?", "N")
    assert_untouched(model(body.format("Exp"), "float[2,3,4] x", "float[4,3,2] y, float[3,4,2] z"), STEP)
    outcome = transform(model(body.format("Transpose<perm=[0,2,1]>"), "float[2,3,4] x", outputs), STEP)
    assert ["Transpose", "Transpose"] == outcome.ops
    assert {"x"} == {node.input[0] for node in outcome.after.graph.node}


def test_inverse_of_a_shared_transpose_goes():
    proto = model("a = Transpose(x) b = Transpose(a) y = Exp(b)", outputs="float[2,3] y, float[3,2] a")
    assert_exact(proto, STEP, ["Transpose", "Exp"], {"merge-transposes": 1})


PERMUTATIONS = st.integers(1, 4).flatmap(
    lambda rank: st.tuples(
        st.lists(st.permutations(range(rank)), min_size=1, max_size=4),
        st.lists(st.integers(0, 3), min_size=rank, max_size=rank),
    )
)


@PROPERTY
@given(PERMUTATIONS)
def test_any_chain_is_one_transpose_at_most(drawn):
    """Also of empty tensors and axes of size 1."""
    permutations, shape = drawn
    names = ["x", *(f"t{index}" for index in range(len(permutations)))]
    body = " ".join(
        f"{names[i + 1]} = Transpose<perm={list(order)}>({names[i]})" for i, order in enumerate(permutations)
    )
    proto = model(f"{body} y = Exp({names[-1]})", f"float[{','.join(map(str, shape))}] x")
    outcome = transform(proto, STEP)
    assert outcome.ops in (["Exp"], ["Transpose", "Exp"])
    feeds = feeds_for(proto)
    assert run(proto, feeds)[0].tobytes() == run(outcome.after, feeds)[0].tobytes()
