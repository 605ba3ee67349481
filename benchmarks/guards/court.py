"""Draws models and judges guards in a child process, because some model may crash the runtime or keep it busy for ever."""

from __future__ import annotations

import fnmatch
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.guards.guard import Guard, Unit, units
from benchmarks.guards.judging import Trial, Verdict, judge
from benchmarks.guards.mutants import guards_of
from benchmarks.guards.subjects import KINDS_OF_MODELS, Portion, draw_here, give_up, models_for
from benchmarks.guards.watching import Watch
from graphopt.errors import ExecutionError
from graphopt.passes import Pass, Pipeline
from graphopt.runtime.isolation import ChildEndedError, Worker
from graphopt.testing import GeneratedModel, assert_equivalent, assert_frugal, assert_idempotent

__all__ = ["Census", "Court", "all_guards", "census_here", "held_by", "judge_here", "laws_of_the_kit"]

#: Rules and passes whose models are kept in memory.
_KEPT = 100
#: How many models there are of each kind, and on how many of them the real rule does something.
Census = dict[str, tuple[int, int]]


def laws_of_the_kit(pipeline: Pipeline, model: GeneratedModel) -> None:
    """Hold a pipeline to the laws that `graphopt.testing` checks on a model: the oracle of this benchmark."""
    assert_equivalent(pipeline, model, target="onnxruntime")
    if all(isinstance(item, Pass) and item.idempotent for item in pipeline.items):
        assert_idempotent(pipeline, model, target="onnxruntime")
    assert_frugal(pipeline, model, target="onnxruntime")


@functools.cache
def all_guards() -> tuple[Guard, ...]:
    """Return the guards of all built-in rules and passes."""
    return tuple(guards_of(units()))


def held_by(guard: Guard, rules: str) -> Guard | None:
    """Return a guard with those of its rules and passes whose names match a pattern, `None` if it has none."""
    holders = tuple(unit for unit in guard.holders if fnmatch.fnmatchcase(unit.name, rules))
    return replace(guard, holders=holders) if holders else None


class Court:
    """Judges guards one after the other, in a child process that is replaced when a mutant takes it down.

    Args:
        examples: how many models of each kind to draw for a rule.
        limit_s: seconds for one guard; a mutant that needs more never ends.
        rules: pattern of the names of rules and passes on whose models shared guards are tried.
        work: what is done in the child for the id of a guard.
    """

    def __init__(
        self,
        examples: int,
        limit_s: float,
        rules: str = "*",
        work: Callable[[str, int, str], Verdict] | None = None,
    ) -> None:
        self._examples = examples
        self._limit_s = limit_s
        self._rules = rules
        self._work = judge_here if work is None else work
        self._worker: Worker | None = None

    def draw(self, portion: Portion) -> bool:
        """Draw some models, if they are not there; returns whether that went well."""
        try:
            self._child().call(draw_here, portion, timeout=self._limit_s)
        except ExecutionError:
            self.close()
            give_up(portion)
            return False
        return True

    def census(self, unit: Unit) -> Census:
        """Count the models of a rule or pass, and those on which it does something."""
        return self._child().call(census_here, unit.name, self._examples)

    def verdict(self, guard: Guard) -> Verdict:
        """Return what comes of the mutant without a guard."""
        worker, start = self._child(), time.monotonic()
        try:
            return worker.call(self._work, guard.id, self._examples, self._rules, timeout=self._limit_s)
        except ChildEndedError as err:
            return Verdict("caught", f"crash: {err}")
        except ExecutionError as err:
            if time.monotonic() - start < self._limit_s:
                raise
            self.close()
            return Verdict("caught", f"timeout: {err}")

    def _child(self) -> Worker:
        if self._worker is None or not self._worker.alive:
            self.close()
            self._worker = Worker()
        return self._worker

    def close(self) -> None:
        """End the child process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def judge_here(guard_id: str, examples: int, rules: str) -> Verdict:
    """Return what comes of the mutant without a guard, in this process."""
    (guard,) = [held for guard in all_guards() if guard.id == guard_id and (held := held_by(guard, rules))]
    verdict = judge(guard, lambda unit: _trials(unit.name, examples))
    return replace(verdict, reason=" ".join(verdict.reason.split()))


def census_here(name: str, examples: int) -> Census:
    """Count the models of a rule or pass and those on which it does something, in this process."""
    trials = _trials(name, examples)
    of_kind = {kind: [trial for trial in trials if trial.kind == kind] for kind in KINDS_OF_MODELS}
    return {kind: (len(found), sum(trial.applies for trial in found)) for kind, found in of_kind.items() if found}


@functools.lru_cache(maxsize=_KEPT)
def _trials(name: str, examples: int) -> Sequence[Trial]:
    unit = _units()[name]
    return [Trial(unit, made, laws_of_the_kit, kind, _watch()) for kind, made in models_for(unit, examples)]


@functools.cache
def _watch() -> Watch:
    return Watch(all_guards())


@functools.cache
def _units() -> dict[str, Unit]:
    return {unit.name: unit for unit in units()}
