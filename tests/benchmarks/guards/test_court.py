"""Judgement in a child process: crashes and mutants without end are caught, mistakes of the benchmark are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.guards.court import Court, all_guards, held_by
from benchmarks.guards.judging import Verdict
from graphopt.errors import ExecutionError
from tests.benchmarks.guards.endings import crash, fail, fine, hang

GUARD = all_guards()[0]


@contextmanager
def court(work: Callable[[str, int, str], Verdict], limit_s: float = 60) -> Iterator[Court]:
    found = Court(7, limit_s, "fold-*", work)
    try:
        yield found
    finally:
        found.close()


def test_a_verdict_comes_from_the_child():
    with court(fine) as judges:
        assert [Verdict("reached", f"{GUARD.id} fold-*", 7)] * 2 == [judges.verdict(GUARD) for _ in range(2)]


def test_a_mutant_that_takes_the_process_down_is_caught():
    with court(crash) as judges:
        found = [judges.verdict(GUARD) for _ in range(2)]
    assert ["caught"] * 2 == [verdict.state for verdict in found]
    assert all("SIGABRT" in verdict.reason for verdict in found)


def test_a_mutant_that_never_ends_is_caught():
    with court(hang, limit_s=3) as judges:
        found = judges.verdict(GUARD)
    assert "caught" == found.state
    assert found.reason.startswith("timeout: ")


def test_a_mistake_of_the_benchmark_is_no_verdict():
    with court(fail) as judges, pytest.raises(ExecutionError, match="RuntimeError in a child process: a mistake"):
        judges.verdict(GUARD)


def test_a_pattern_chooses_the_rules_that_shared_guards_are_tried_on():
    (guard,) = [item for item in all_guards() if item.id == "shared: constant: constant_ints: not value.is_constant"]
    found = held_by(guard, "eliminate-t*")
    assert found is not None
    assert ["eliminate-tile"] == [unit.name for unit in found.holders]
    assert held_by(guard, "simplify-*") is None
