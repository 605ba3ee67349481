"""Axes that are said to be the same lose the same elements, whatever is removed; what can't be brought to one form is frozen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.analysis.dim_groups.extents import ONE, Extent, Extents, Leaf, Product, Sum, product_of, sum_of
from graphopt.analysis.dim_groups.indices import kept_mask, per_leaf, places_per_leaf, stands_twice
from graphopt.ir import SymbolicDim

SIZES = (2, 3, 4, 6, 8, 12)


@st.composite
def axes(draw, extents, known, size):
    """An axis of a size, made of known leaves and new ones."""
    kind = draw(st.sampled_from(["known", "leaf", "product", "sum"])) if size > 1 else "leaf"
    if kind == "known":
        found = [extent for extent in known if extent.size == size]
        if found:
            return draw(st.sampled_from(found))
    if kind == "product" and any(size % factor == 0 for factor in range(2, size)):
        factor = draw(st.sampled_from([factor for factor in range(2, size) if size % factor == 0]))
        return product_of(draw(axes(extents, known, factor)), draw(axes(extents, known, size // factor)))
    if kind == "sum":
        first = draw(st.integers(1, size - 1))
        return sum_of(draw(axes(extents, known, first)), draw(axes(extents, known, size - first)))
    new = extents.leaf(size)
    known.append(new)
    return new


def drawn_removal(extents, known, rng):
    """Some indices of each leaf that is not frozen."""
    leaves = {leaf: None for extent in known for leaf in extents.leaves(extent)}
    return {leaf: rng.random(leaf.size) < 0.5 for leaf in leaves if not extents.reasons(leaf)}


def full(mask, size):
    return np.ones(size, bool) if mask is None else mask


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.data())
def test_axes_that_are_one_lose_the_same_elements(data):
    """After any statements, for any removal from leaves that are not frozen."""
    extents = Extents()
    known: list[Extent] = []
    stated: list[tuple[Extent, Extent]] = []
    for _ in range(data.draw(st.integers(1, 6))):
        size = data.draw(st.sampled_from(SIZES))
        one, other = data.draw(axes(extents, known, size)), data.draw(axes(extents, known, size))
        extents.unify(one, other, "here")
        stated.append((one, other))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    removal = drawn_removal(extents, known, rng)
    for one, other in stated:
        left, right = (full(kept_mask(extents, extent, removal), extent.size) for extent in (one, other))
        np.testing.assert_array_equal(left, right)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.data())
def test_reshapes_keep_the_order_of_elements(data):
    """Factors before and after hold the same elements: their masks agree when they are multiplied out."""
    extents = Extents()
    known: list[Extent] = []
    total = data.draw(st.sampled_from([12, 24, 36, 48]))
    lists = []
    for _ in range(2):
        left, found = total, []
        while left > 1:
            factor = data.draw(st.sampled_from([size for size in range(2, left + 1) if left % size == 0]))
            found.append(data.draw(axes(extents, known, factor)))
            left //= factor
        lists.append(found)
    extents.match_products(lists[0], lists[1], "here")
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    removal = drawn_removal(extents, known, rng)
    masks = [full(kept_mask(extents, Product(tuple(found)), removal), total) for found in lists]
    np.testing.assert_array_equal(*masks)


def forms(extents, extent):
    """The leaves of an axis as sizes, spelled out."""
    found = extents.resolve(extent)
    if isinstance(found, Leaf):
        return found.size
    inner = [forms(extents, item) for item in (found.factors if isinstance(found, Product) else found.parts)]
    return ("*" if isinstance(found, Product) else "+", *inner)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((12,), (3, 4), ("*", 3, 4)),
        ((6, 4), (3, 8), ("*", 3, 2, 4)),
        ((2, 6), (4, 3), ("*", 2, 2, 3)),
    ],
)
def test_products_are_taken_apart_as_far_as_both_need(one, other, expected):
    extents = Extents()
    lists = [[extents.leaf(size) for size in sizes] for sizes in (one, other)]
    extents.match_products(lists[0], lists[1], "here")
    assert expected == ("*", *(forms(extents, factor) for factor in extents.factors(Product(tuple(lists[0])))))
    assert not any(extents.reasons(leaf) for leaf in extents.leaves(Product(tuple(lists[0]))))


@pytest.mark.parametrize(("one", "other"), [((3, 4), (4, 3)), ((5, 6), (6, 5)), ((2, 15), (5, 6))])
def test_products_without_a_common_form_are_frozen(one, other):
    extents = Extents()
    lists = [[extents.leaf(size) for size in sizes] for sizes in (one, other)]
    extents.match_products(lists[0], lists[1], "here")
    assert [{"a Reshape takes it apart in a way that can't be followed": "here"}] == [
        extents.reasons(leaf) for leaf in dict.fromkeys(extents.leaves(lists[0][-1]))
    ]


def test_a_packed_projection_has_one_head_size():
    """Concat of three parts, reshaped to [3, heads, size], has the same heads in each part."""
    extents = Extents()
    parts = [extents.leaf(8) for _ in range(3)]
    heads, size = extents.leaf(2), extents.leaf(4)
    extents.match_products([sum_of(*parts)], [extents.leaf(3), heads, size], "here")
    for part in parts:
        assert [extents.resolve(heads), extents.resolve(size)] == extents.factors(part)


def test_reasons_go_down_to_what_a_leaf_becomes():
    extents = Extents()
    whole, first, second = extents.leaf(6), extents.leaf(2), extents.leaf(4)
    extents.freeze(whole, "because", "here")
    extents.unify(whole, sum_of(first, second), "there")
    assert [{"because": "here"}] * 2 == [extents.reasons(leaf) for leaf in (first, second)]


@pytest.mark.parametrize(
    ("one", "other"), [(4, 6), (None, None), (0, 0), (SymbolicDim("a"), SymbolicDim("b")), (SymbolicDim("a"), 3)]
)
def test_sizes_that_are_not_known_to_be_equal_freeze_both(one, other):
    extents = Extents()
    left, right = extents.leaf(one), extents.leaf(other)
    extents.unify(left, right, "here")
    assert all(extents.reasons(leaf) for leaf in (left, right))


def test_dynamic_sizes_are_factors_too():
    """[batch, heads, length] to [batch * heads, length] and back."""
    batch = SymbolicDim("batch")
    extents = Extents()
    b, heads, length = extents.leaf(batch), extents.leaf(4), extents.leaf(SymbolicDim("length"))
    joined = extents.leaf(batch * 4)
    extents.match_products([b, heads, length], [joined, extents.leaf(SymbolicDim("length"))], "here")
    assert [extents.resolve(b), extents.resolve(heads)] == extents.factors(joined)
    assert not extents.reasons(heads)


def test_a_leaf_is_no_part_of_itself():
    extents = Extents()
    leaf = extents.leaf(6)
    extents.unify(sum_of(leaf, extents.leaf(6)), product_of(leaf, extents.leaf(2)), "here")
    left = [part for part in extents.leaves(leaf) if part.size != 1]
    assert left, "it ends"


def test_masks_and_sums_of_an_axis():
    """A product of heads and sizes after a part that is whole."""
    extents = Extents()
    heads, size, other = Leaf(2), Leaf(3), Leaf(2)
    axis = sum_of(other, product_of(heads, size))
    removal = {size: np.array([True, False, True])}
    np.testing.assert_array_equal(np.array([1, 1, 1, 0, 1, 1, 0, 1], bool), kept_mask(extents, axis, removal))
    assert kept_mask(extents, other, removal) is None
    sums = per_leaf(extents, axis, np.arange(8.0))
    assert {heads: [2 + 3 + 4, 5 + 6 + 7], size: [2 + 5, 3 + 6, 4 + 7], other: [0, 1]} == {
        leaf: numbers.tolist() for leaf, numbers in sums.items()
    }
    assert {heads: 3, size: 2, other: 1} == places_per_leaf(extents, axis)


def test_flattened_outer_products_are_found():
    extents = Extents()
    leaf, other = Leaf(3), Leaf(2)
    assert {leaf} == stands_twice(extents, product_of(leaf, other, leaf))
    assert not stands_twice(extents, sum_of(leaf, other, leaf)), "twice side by side is fine"


def test_what_is_of_size_one_is_nothing():
    assert ONE is product_of(ONE, Leaf(1))
    assert 1 == ONE.size == math.prod(())
    assert isinstance(sum_of(), Sum)
