"""Symbolic dimensions: the algebra against plain integers, the canonical form, the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.ir import SymbolicDim, dim_max, dim_min, dim_product
from graphopt.ir.cursor import Cursor
from graphopt.ir.literals import dim_text
from graphopt.ir.type_parser import parse_type
from graphopt.ir.types import DType, TensorType

NAMES = ("a", "b", "a-b", "min", "!")
OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "+": (lambda a, b: a + b, lambda a, b: a + b),
    "-": (lambda a, b: a - b, lambda a, b: a - b),
    "*": (lambda a, b: a * b, lambda a, b: a * b),
    "//": (lambda a, b: a // b, lambda a, b: a // b),
    "min": (dim_min, min),
    "max": (dim_max, max),
}
leaves = st.integers(-4, 9) | st.sampled_from(NAMES).map(SymbolicDim)
#: Trees of (operator, left, right), to be evaluated in both worlds.
trees = st.recursive(leaves, lambda inner: st.tuples(st.sampled_from(sorted(OPERATIONS)), inner, inner), max_leaves=8)
sizes = st.fixed_dictionaries({name: st.integers(0, 50) for name in NAMES})


def symbolic(tree):
    if not isinstance(tree, tuple):
        return tree
    op, left, right = tree
    return OPERATIONS[op][0](symbolic(left), symbolic(right))


def number(tree, at):
    if isinstance(tree, SymbolicDim):
        return at[tree.name]
    if not isinstance(tree, tuple):
        return tree
    op, left, right = tree
    return OPERATIONS[op][1](number(left, at), number(right, at))


def value_of(dim, at):
    return dim.evaluate(at) if isinstance(dim, SymbolicDim) else dim


@settings(deadline=None, max_examples=300)
@given(trees, sizes)
def test_expression_evaluates_to_what_integers_give(tree, at):
    try:
        dim, expected = symbolic(tree), number(tree, at)
    except ZeroDivisionError:
        return
    assert value_of(dim, at) == expected


polynomials = st.recursive(leaves, lambda inner: st.tuples(st.sampled_from("+-*"), inner, inner), max_leaves=6)


@settings(deadline=None, max_examples=200)
@given(polynomials, polynomials, polynomials)
def test_equal_polynomials_are_equal_and_hash_alike(p, q, r):
    a, b, c = symbolic(p), symbolic(q), symbolic(r)
    pairs = [
        (a + b, b + a),
        (a * b, b * a),
        ((a + b) * c, a * c + b * c),
        ((a + b) + c, a + (b + c)),
        (a - b, -(b - a)),
    ]
    for left, right in pairs:
        assert left == right
        assert hash(left) == hash(right)
        assert str(left) == str(right)
    assert a - a == 0


@settings(deadline=None, max_examples=300)
@given(trees)
def test_text_of_a_dimension_parses_back(tree):
    try:
        dim = symbolic(tree)
    except ZeroDivisionError:
        return
    parsed = parse_type(Cursor(f"float[{dim_text(dim)}]", "test"))
    assert parsed == TensorType(DType.FLOAT, (dim,))


@settings(deadline=None, max_examples=200)
@given(trees, sizes)
def test_text_means_the_same_in_python(tree, at):
    try:
        dim = symbolic(tree)
    except ZeroDivisionError:
        return
    if isinstance(dim, SymbolicDim):
        names = {name: f"s{index}" for index, name in enumerate(NAMES)}
        scope = {names[name]: size for name, size in at.items()} | {"min": min, "max": max}
        try:
            found = eval(dim.format(names.__getitem__), {"__builtins__": {}}, scope)
        except ZeroDivisionError:
            return
        assert found == dim.evaluate(at)


def test_symbols_of_names_that_look_like_expressions_stay_apart():
    a, b = SymbolicDim("a"), SymbolicDim("b")
    assert (a - b) // 2 + SymbolicDim("a-b") // 2 == SymbolicDim("a-b") // 2 + (a - b) // 2
    assert (a - b) // 2 != SymbolicDim("a-b") // 2
    difference = a - b
    assert isinstance(difference, SymbolicDim)
    assert difference.symbols() == {"a", "b"}
    assert SymbolicDim("a-b").symbols() == {"a-b"}


def test_division_that_leaves_nothing_is_carried_out():
    h = SymbolicDim("h")
    assert (h * 4 + 8) // 4 == h + 2
    assert 0 // h == 0
    assert (h % 1) == 0
    with pytest.raises(ZeroDivisionError, match="divided by zero"):
        h // 0


def test_certain_extremes_are_taken():
    h = SymbolicDim("h")
    assert dim_max(h, h + 1) == h + 1
    assert dim_min(h, h - 3) == h - 3
    assert dim_max(h, 4) == dim_max(4, h)


def test_product_is_unknown_unless_an_axis_is_empty():
    h = SymbolicDim("h")
    assert dim_product((2, h, 3)) == h * 6
    assert dim_product((None, 2)) is None
    assert dim_product((None, 0)) == 0
    assert dim_product(()) == 1


def test_name_is_that_of_plain_symbols_only():
    h = SymbolicDim("h")
    assert h.name == "h"
    assert [dim.name for dim in (h * 2, h * h, h + 1) if isinstance(dim, SymbolicDim)] == [None, None, None]
    assert ((h + 1) - 1) == h


def test_strides_of_layers_one_after_the_other_are_one_stride():
    """Three convolutions of stride 2 with padding 1 divide by 8, rounded up, as one says who computes the size at once."""
    h = SymbolicDim("h")
    thrice = ((h + 1) // 2 + 1) // 2
    thrice = (thrice + 1) // 2
    assert (h + 7) // 8 == thrice
    assert (h - 1) // 8 + 1 == thrice
    assert isinstance(thrice, SymbolicDim)
    assert [-(-size // 8) for size in range(40)] == [thrice.evaluate({"h": size}) for size in range(40)]
