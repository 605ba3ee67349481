"""Fresh names, and where things came from."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.ir import Lineage, NameScope


@settings(deadline=None)
@given(st.lists(st.sampled_from(["w", "w_1", "w_2", "", "x"]), max_size=40))
def test_fresh_names_are_new(bases):
    scope = NameScope()
    scope.reserve("w_2")
    given_out = [scope.fresh(base) for base in bases]
    assert len({*given_out, "w_2"}) == len(given_out) + 1
    assert all(given_out)


def test_first_fresh_name_is_the_one_asked_for():
    scope = NameScope()
    assert [scope.fresh("w") for _ in range(3)] == ["w", "w_1", "w_2"]
    assert scope.fresh("") == "value"
    assert "w_2" in scope


def test_copy_of_a_scope_is_independent():
    scope = NameScope()
    scope.fresh("w")
    twin = scope.copy()
    assert twin.fresh("w") == "w_1"
    assert scope.fresh("w") == "w_1"


def test_lineage_keeps_the_order_of_first_merge():
    a, b, c = Lineage(("a",)), Lineage(("b",)), Lineage(("c", "a"))
    assert Lineage.merge([b, a, c]).names() == ("b", "a", "c")
    assert Lineage.merge([a, a]) is a
    assert Lineage.merge([]).names() == ()


def test_lineage_of_many_merges_is_collected_without_recursion():
    merged = Lineage(("n0",))
    for index in range(1, 20_000):
        merged = Lineage.merge([merged, Lineage((f"n{index}",))])
    assert merged.names() == tuple(f"n{index}" for index in range(20_000))


def test_shared_lineages_are_collected_once():
    lineage = Lineage(("a",))
    for _ in range(60):
        lineage = Lineage.merge([Lineage.merge([lineage, Lineage(("b",))]), Lineage.merge([lineage, Lineage(("c",))])])
    assert set(lineage.names()) == {"a", "b", "c"}
