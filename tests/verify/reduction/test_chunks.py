"""Which of many things are needed, in few questions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.verify.reduction import minimize, simplify


@given(st.integers(0, 60).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, max(0, count - 1))))))
def test_what_is_needed_is_found_in_order(case: tuple[int, set[int]]) -> None:
    """Exactly that, whatever it is."""
    count, needed = case[0], case[1] & set(range(case[0]))
    assert sorted(needed) == minimize(range(count), lambda part: needed <= set(part))


@pytest.mark.parametrize("needed", [{500}, {0, 999}, {3, 400, 401, 990}])
def test_a_thousand_things_need_few_questions(needed: set[int]) -> None:
    """About two for each thing that is needed and each halving."""
    asked: list[int] = []

    def holds(part: list[int]) -> bool:
        asked.append(len(part))
        return needed <= set(part)

    assert sorted(needed) == minimize(range(1000), holds)
    assert len(asked) <= 10 + 3 * (len(needed) + 1) * math.log2(1000)


def test_result_can_spare_nothing_even_if_parts_depend_on_each_other() -> None:
    """5 alone fails; 3 is needed only where 4 is: single things are tried until none can go."""

    def holds(part: list[int]) -> bool:
        return 5 in part and (4 not in part or 3 in part)

    assert [5] == minimize(range(8), holds)


def test_all_that_is_there_is_never_asked_about() -> None:
    """It holds, as the caller knows."""
    assert ["a", "b"] == minimize(["a", "b"], lambda part: len(part) == 2)
    assert [] == minimize(["a", "b"], lambda part: True)


@given(st.sets(st.integers(0, 39)))
def test_all_but_the_stubborn_are_changed(stubborn: set[int]) -> None:
    """Each once, however they are grouped."""
    changed: list[int] = []

    def attempt(group: list[int]) -> bool:
        if stubborn & set(group):
            return False
        changed.extend(group)
        return True

    assert 40 - len(stubborn) == simplify(range(40), attempt)
    assert sorted(set(range(40)) - stubborn) == changed
