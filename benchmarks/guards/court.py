"""Judges guards in a child process, because a model that a mutant makes may crash the runtime or keep it busy for ever."""

from __future__ import annotations

import fnmatch
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.guards.guard import Guard, Unit, units
from benchmarks.guards.judging import Trial, Verdict, judge
from benchmarks.guards.mutants import guards_of
from graphopt.errors import ExecutionError
from graphopt.passes import Pipeline
from graphopt.runtime.isolation import ChildEnded, Worker
from graphopt.testing import GeneratedModel, assert_equivalent, assert_idempotent

__all__ = ["Court", "all_guards", "held_by", "judge_here", "laws_of_the_kit"]

#: Rules and passes whose models are kept in memory.
_KEPT = 40


def laws_of_the_kit(pipeline: Pipeline, model: GeneratedModel) -> None:
    """Hold a pipeline to the laws that `graphopt.testing` checks on a model: the oracle of this benchmark."""
    assert_equivalent(pipeline, model, target="onnxruntime")
    assert_idempotent(pipeline, model, target="onnxruntime")


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

    def verdict(self, guard: Guard) -> Verdict:
        """Return what comes of the mutant without a guard."""
        if self._worker is None or not self._worker.alive:
            self.close()
            self._worker = Worker()
        start = time.monotonic()
        try:
            return self._worker.call(self._work, guard.id, self._examples, self._rules, timeout=self._limit_s)
        except ChildEnded as err:
            return Verdict("caught", f"crash: {err}")
        except ExecutionError as err:
            if time.monotonic() - start < self._limit_s:
                raise
            self.close()
            return Verdict("caught", f"timeout: {err}")

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


@functools.lru_cache(maxsize=_KEPT)
def _trials(name: str, examples: int) -> Sequence[Trial]:
    from benchmarks.guards.subjects import models_for  # lazily: nothing else here needs hypothesis

    unit = _units()[name]
    return [Trial(unit, made, laws_of_the_kit) for made in models_for(unit, examples)]


@functools.cache
def _units() -> dict[str, Unit]:
    return {unit.name: unit for unit in units()}
