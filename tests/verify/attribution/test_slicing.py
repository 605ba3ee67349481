"""Values in groups that fit into memory."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from graphopt.verify.attribution.slicing import slices

SIZES = st.lists(st.none() | st.integers(0, 400), max_size=60)


@given(SIZES, st.integers(1, 500))
def test_groups_respect_the_budget(sizes: list[int | None], budget: int) -> None:
    """All of a group fits, unless it is a single value; each value is in one group, in order."""
    found = slices(sizes, budget)
    assert list(range(len(sizes))) == [place for group in found for place in group]
    for group in found:
        assert len(group) == 1 or sum(sizes[place] or 0 for place in group) <= budget
        assert len(group) == 1 or all(sizes[place] is not None for place in group)


@given(SIZES.map(lambda sizes: [size or 0 for size in sizes]), st.integers(1, 500))
def test_no_group_could_take_the_next_value_too(sizes: list[int], budget: int) -> None:
    """As few runs as consecutive values need."""
    found = slices(sizes, budget)
    for group, after in pairwise(found):
        assert sum(sizes[place] for place in group) + sizes[after.start] > budget


def test_a_value_of_unknown_size_is_alone() -> None:
    """Nobody knows whether another one would fit beside it."""
    assert [range(1), range(1, 2), range(2, 4)] == slices([1, None, 0, 1], 100)
