"""The testing kit misses guards that are removed from rules: a part of `python -m benchmarks.guards`, on few models."""

from __future__ import annotations

import pytest

from benchmarks.guards.court import laws_of_the_kit
from benchmarks.guards.guard import units
from benchmarks.guards.judging import Trial, judge
from benchmarks.guards.mutants import guards_of
from benchmarks.guards.subjects import collect
from graphopt.testing.strategies import graphs_matching, near_misses

UNITS = {unit.name: unit for unit in units()}
#: Rules, and how many of their guards are missed on so few models, at least.
LEVEL = {
    "eliminate-cast": 1,
    "eliminate-transpose": 1,
    "resolve-constant-where": 6,
    "shorten-unary-chain": 6,
}
EXAMPLES = 10


@pytest.mark.parametrize("name", LEVEL)
def test_guards_that_are_removed_are_missed(name):
    unit = UNITS[name]
    assert unit.rule is not None, "passes have no strategy of their own"
    models = [*collect(graphs_matching(unit.rule), EXAMPLES), *collect(near_misses(unit.rule), 2 * EXAMPLES)]
    trials = [Trial(unit, model, laws_of_the_kit) for model in models]
    verdicts = {guard.id: judge(guard, lambda _: trials) for guard in guards_of([unit])}
    caught = [guard_id for guard_id, verdict in verdicts.items() if verdict.state == "caught"]
    assert len(caught) >= LEVEL[name], f"caught only {caught}"
