"""The testing kit misses guards that are removed from rules: a part of `python -m benchmarks.guards`, on few models."""

from __future__ import annotations

import itertools
import json

import pytest

from benchmarks.guards.court import all_guards, laws_of_the_kit
from benchmarks.guards.equivalents import read_entries, stale_entries
from benchmarks.guards.guard import units
from benchmarks.guards.judging import Trial, judge
from benchmarks.guards.mutants import guards_of
from benchmarks.guards.table import OUTCOMES
from benchmarks.guards.watching import Watch
from benchmarks.measure import ROOT
from graphopt.testing.strategies.bulk import sampled_matching, sampled_near_misses

UNITS = {unit.name: unit for unit in units()}
RECORD = ROOT / "benchmarks" / "results" / "guards.json"
#: Rules, and how many of their guards are missed on so few models, at least.
LEVEL = {
    "eliminate-slice": 3,
    "merge-transposes": 3,
    "resolve-constant-where": 9,
    "shorten-unary-chain": 9,
}
EXAMPLES = 10
#: How many guards of all the record has as caught, at least.
FLOOR = 250


@pytest.mark.parametrize("name", LEVEL)
def test_guards_that_are_removed_are_missed(name):
    unit = UNITS[name]
    assert unit.rule is not None, "passes have no strategy of their own"
    models = itertools.chain(sampled_matching(unit.rule, EXAMPLES), sampled_near_misses(unit.rule, 2 * EXAMPLES))
    guards = guards_of([unit])
    watch = Watch(guards)
    trials = [Trial(unit, model, laws_of_the_kit, watch=watch) for model in models]
    found = [guard.id for guard in guards if judge(guard, lambda _: trials).state == "caught"]
    assert len(found) >= LEVEL[name], f"caught only {found}"


def test_each_argument_that_a_guard_is_equivalent_still_holds():
    known = [guard.id for guard in all_guards()]
    assert [] == stale_entries(read_entries(), known, caught())


def test_the_record_counts_each_guard_once():
    results = json.loads(RECORD.read_text(encoding="utf-8"))["results"]
    assert set(OUTCOMES) == set(results["counts"])
    assert results["guards"] == len(results["each"]) == sum(results["counts"].values())
    assert results["counts"]["caught"] == len(caught()) >= FLOOR


def caught():
    each = json.loads(RECORD.read_text(encoding="utf-8"))["results"]["each"]
    return [guard_id for guard_id, row in each.items() if row["outcome"] == "caught"]
