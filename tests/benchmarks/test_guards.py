"""The testing kit misses guards that are removed from rules: a part of `python -m benchmarks.guards`, on few models."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.guards.court import laws_of_the_kit
from benchmarks.guards.guard import units
from benchmarks.guards.judging import Trial, judge
from benchmarks.guards.mutants import guards_of
from benchmarks.guards.watching import Watch
from benchmarks.measure import ROOT
from graphopt.testing.strategies.bulk import sampled_matching, sampled_near_misses

UNITS = {unit.name: unit for unit in units()}
RECORD = ROOT / "benchmarks" / "results" / "guards.json"
#: Rules, and how many of their guards are missed on so few models, at least.
LEVEL = {
    "eliminate-cast": 1,
    "eliminate-transpose": 1,
    "resolve-constant-where": 6,
    "shorten-unary-chain": 6,
}
EXAMPLES = 12


@pytest.mark.parametrize("name", LEVEL)
def test_guards_that_are_removed_are_missed(name):
    unit = UNITS[name]
    assert unit.rule is not None, "passes have no strategy of their own"
    models = itertools.chain(sampled_matching(unit.rule, EXAMPLES), sampled_near_misses(unit.rule, 2 * EXAMPLES))
    guards = guards_of([unit])
    watch = Watch(guards)
    trials = [Trial(unit, model, laws_of_the_kit, watch=watch) for model in models]
    caught = [guard.id for guard in guards if judge(guard, lambda _: trials).state == "caught"]
    assert len(caught) >= LEVEL[name], f"caught only {caught}"
