"""What conditions of the real passes come to, so that mutants are run only where they may do something else."""

from __future__ import annotations

import functools

import pytest

from benchmarks.guards.court import laws_of_the_kit
from benchmarks.guards.guard import units
from benchmarks.guards.judging import Trial, judge
from benchmarks.guards.mutants import guards_of
from benchmarks.guards.watching import Watch, kept_from_applying
from tests.benchmarks.guards.test_judging import KEPT, MOVED, TRANSPOSE

UNITS = {unit.name: unit for unit in units()}
TRANSPOSES = UNITS["eliminate-transpose"]
GUARDS = {guard.id: guard for guard in guards_of([TRANSPOSES])}


def trial(model, watch):
    return Trial(TRANSPOSES, model, laws_of_the_kit, watch=watch)


def test_a_mutant_is_needed_where_its_condition_kept_the_rule_from_applying():
    watch, guard = Watch(GUARDS.values()), GUARDS[TRANSPOSE]
    assert [False, True] == [trial(model, watch).needs(guard) for model in (KEPT, MOVED)]


def test_guards_of_patterns_are_always_tried():
    watch, guard = Watch(GUARDS.values()), GUARDS["eliminate-transpose: scope: Transpose: no references"]
    assert guard.condition is None
    assert trial(KEPT, watch).needs(guard)
    assert kept_from_applying(guard, {})


def test_a_watched_pass_does_what_the_real_one_does():
    watch = Watch(GUARDS.values())
    assert watch.real(TRANSPOSES) is watch.real(TRANSPOSES)
    for model in (KEPT, MOVED):
        assert trial(model, watch).differs(TRANSPOSES.real) is None
        assert trial(model, watch).applies is (model is KEPT)


@pytest.mark.parametrize("models", [[KEPT], [KEPT, MOVED], [MOVED, MOVED]])
def test_verdicts_are_the_same_with_and_without_a_watch(models):
    trials = {given: [trial(model, given) for model in models] for given in (Watch(GUARDS.values()), None)}
    for guard in GUARDS.values():
        with_watch, without = (judge(guard, functools.partial(_of_any, found)) for found in trials.values())
        assert without == with_watch


def _of_any(trials, unit):
    return trials
