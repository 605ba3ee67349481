"""Axes that correspond when a tensor is reshaped, and orders of axes seen from the other side of a reshape."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.ir import SymbolicDim
from graphopt.transforms.movement.alignment import align, lift_order
from tests.transforms.harness import PROPERTY

B, S = SymbolicDim("B"), SymbolicDim("S")


def pairs(old, new):
    return [(list(block.old), list(block.new)) for block in align(old, new)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ((2, 6, 5), (2, 3, 2, 5), [([0], [0]), ([1], [1, 2]), ([2], [3])]),
        ((B, 6, 7, 4), (None, 7, 4), [([0, 1], [0]), ([2], [1]), ([3], [2])]),
        ((B, S, 12), (B, S, 3, 4), [([0], [0]), ([1], [1]), ([2], [2, 3])]),
        ((B, S), (None, 1), [([0, 1], [0, 1])]),
        ((2, 1), (2,), [([0], [0]), ([1], [])]),
        ((2,), (1, 2), [([], [0]), ([0], [1])]),
        ((0, 5), (0, 7), [([0], [0]), ([1], [1])]),
        ((), (), []),
        ((4, 4), (4, 2, 2), [([0], [0]), ([1], [1, 2])]),
        ((2, 6, 2), (2, 3, 4), [([0], [0]), ([1, 2], [1, 2])]),
    ],
)
def test_blocks(old, new, expected):
    assert expected == pairs(old, new)


def test_blocks_that_would_be_torn_apart_have_no_order():
    assert lift_order((1, 0, 2), align((6, 4), (2, 3, 4)), (2, 3, 4)) is None
    assert lift_order((0, 2, 1), align((2, 6), (2, 2, 3)), (2, 2, 3)) is None
    assert (1, 0) == lift_order((2, 0, 1), align((6, 4), (2, 3, 4)), (2, 3, 4))


def test_axes_of_size_1_go_anywhere():
    assert (1, 0) == lift_order((2, 1, 0), align((3, 4), (3, 1, 4)), (3, 1, 4))


@PROPERTY
@given(st.data())
def test_the_lifted_order_moves_the_same_elements(data):
    old = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(old)), max_size=3)))
    ends = [0, *cuts, len(old)]
    new = tuple(int(np.prod(old[a:b])) for a, b in itertools.pairwise(ends))
    order = tuple(data.draw(st.permutations(range(len(new)))))
    array = np.arange(np.prod(old)).reshape(old)
    for one, other in ((old, new), (new, old)):
        moved = tuple(data.draw(st.permutations(range(len(other))))) if other is old else order
        lifted = lift_order(moved, align(one, other), other)
        if lifted is not None:
            expected = array.reshape(other).transpose(moved).reshape(-1)
            assert (expected == array.reshape(one).transpose(lifted).reshape(-1)).all()
        else:
            assert one is new, "joined axes always move together"
