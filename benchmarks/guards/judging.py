"""Whether the testing kit turns red on a rule without one of its guards.

A mutant is run beside the real pass on the same models. Where both give structurally equal results there is nothing to see; where they
differ the kit is asked, and it counts only if it is content with the real pass on that model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.guards.guard import Guard, Unit
from benchmarks.guards.watching import Seen, Watch, kept_from_applying
from graphopt.analysis.cost import cost_of_graph
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler import Environment
from graphopt.errors import ExecutionError, GraphoptError
from graphopt.ir import Model, clone_model, structural_hash
from graphopt.passes import Pass, PassManager, Pipeline
from graphopt.testing import GeneratedModel

__all__ = ["Oracle", "State", "Trial", "Verdict", "judge"]

#: Raises if a pass does something wrong on a model.
Oracle = Callable[[Pipeline, GeneratedModel], None]
State = Literal["caught", "reached", "never"]

#: After so many models on which a mutant does something else and nobody minds, the rest is not looked at.
_PATIENCE = 40
#: What runs before rules, because it is initializers that they know as constants; functions have none of their own.
_CONSTANTS = "constants-to-initializers"
#: What a pass needs to have run before it, to have anything to do.
_BEFORE = {"legalize-onnx": "fuse-conv-activation", "legalize-onnxruntime": "fuse-conv-activation"}
_TARGET = "onnxruntime"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a mutant.

    Attributes:
        state: `"caught"` by the kit, `"reached"` when it did something else and nobody minded, `"never"` when it never did.
        reason: what the kit said, or what else is to be said.
        seen: models that it was run on.
        changed: models on which it did something else than the real pass.
    """

    state: State
    reason: str = ""
    seen: int = 0
    changed: int = 0


class Trial:
    """A rule or pass on one model, and whether mutants do the same.

    Args:
        unit: the rule or pass.
        made: the model.
        oracle: what judges.
        kind: of the model, for statistics.
        watch: has the real passes whose conditions tell what they come to.
    """

    def __init__(
        self, unit: Unit, made: GeneratedModel, oracle: Oracle, kind: str = "", watch: Watch | None = None
    ) -> None:
        self._watch = watch
        self._seen: Seen | None = None
        self._unit = unit
        self.made = made
        self.kind = kind
        self._oracle = oracle

    @property
    def applies(self) -> bool:
        """Return whether the real rule or pass does anything."""
        return self._real is not None and self._hash != structural_hash(self._typed)

    def needs(self, guard: Guard) -> bool:
        """Return whether the mutant without a guard may do anything else than the real rule or pass."""
        return self._real is not None and (self._seen is None or kept_from_applying(guard, self._seen))

    def differs(self, mutant: type[Pass]) -> Model | Exception | None:
        """Return what a mutant does other than the real pass: the model it leaves or the error it ends with; `None` if nothing."""
        if self._real is None:
            return None
        try:
            found = self._run(mutant)
            return None if structural_hash(found) == self._hash else found
        except Exception as err:  # noqa: BLE001  whatever a mutant ends with is what it does
            return err

    def complaint(self, mutant: type[Pass]) -> str:
        """Return what the kit has against a mutant, `""` for nothing or when it has something against the real pass too."""
        found = self._ask(mutant)
        return found if found and not self._own_fault else ""

    def costs_more(self, found: Model) -> bool:
        """Return whether a result has more arithmetic or larger constants than both the original and what the real pass makes of it."""
        if self._real is None:
            return False
        (flops, nbytes), before, real = _cost(found), _cost(self._typed), _cost(self._real)
        return flops > max(before[0], real[0]) or nbytes > max(before[1], real[1]) + 1024

    @functools.cached_property
    def _own_fault(self) -> bool:
        return bool(self._ask(self._unit.real))

    def _ask(self, item: type[Pass]) -> str:
        try:
            self._oracle(Pipeline((*_passes_before(self._unit), item())), self.made)
        except ExecutionError:  # the original does not run here, so nothing can be said
            return ""
        except Exception as err:  # noqa: BLE001  a test turns red on any
            return f"{type(err).__name__}: {err}".split("\n", 1)[0][:300]
        return ""

    @functools.cached_property
    def _typed(self) -> Model:
        """The model with its types, and with what runs before the pass."""
        model = self.made.ir
        ctx = _environment().context(_environment().backend(_TARGET))
        PassManager(_passes_before(self._unit)).run(model, ctx)
        ctx.types.infer_model(model)
        return model

    @functools.cached_property
    def _real(self) -> Model | None:
        """What the real pass makes of the model; `None` if it fails."""
        if self._watch is None:
            return self._run_or_fail(self._unit.real)
        watched = self._watch.real(self._unit)
        self._seen = self._watch.start()
        found = self._run_or_fail(watched)
        self._watch.start()
        return found

    def _run_or_fail(self, item: type[Pass]) -> Model | None:
        try:
            return self._run(item)
        except GraphoptError:
            return None

    @functools.cached_property
    def _hash(self) -> bytes:
        assert self._real is not None, "asked only where the real pass works"
        return structural_hash(self._real)

    def _run(self, item: type[Pass]) -> Model:
        model = clone_model(self._typed)
        ctx = _environment().context(_environment().backend(_TARGET))
        ctx.typed = model
        PassManager([item()]).run(model, ctx)
        return model


def judge(guard: Guard, trials: Callable[[Unit], Sequence[Trial]]) -> Verdict:
    """Return whether the kit misses a guard, at the first model of any rule that has it on which it does.

    Args:
        guard: the guard.
        trials: the models of a rule or pass.
    """
    seen = changed = dear = 0
    for unit in guard.holders:
        mutant: type[Pass] | None = None
        content = 0
        for trial in trials(unit):
            seen += 1
            if not trial.needs(guard):
                continue
            mutant = guard.mutant(unit) if mutant is None else mutant
            found = trial.differs(mutant)
            if found is None:
                continue
            changed += 1
            complaint = trial.complaint(mutant)
            if complaint:
                return Verdict("caught", complaint, seen, changed)
            dear += isinstance(found, Model) and trial.costs_more(found)
            content += 1
            if content >= _PATIENCE:
                break
    reason = f"costs more on {dear}" if dear else ""
    return Verdict("reached" if changed else "never", reason, seen, changed)


@functools.cache
def _environment() -> Environment:
    return Environment(builtin_plugins(discover=False))


def _passes_before(unit: Unit) -> tuple[Pass, ...]:
    names = [] if unit.rule is None else [_CONSTANTS, _BEFORE.get(unit.pass_class.name, "")]
    return tuple(_environment().plugins.passes[name]() for name in names if name)


def _cost(model: Model) -> tuple[int, int]:
    """Operations (those that are known) and bytes of constants."""
    flops = cost_of_graph(model).flops
    return flops if isinstance(flops, int) else 0, model.constant_bytes
