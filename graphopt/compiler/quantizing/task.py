"""What a search is about: trials, layers, the budget; and what is asked of candidates wherever one is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from graphopt.compiler.quantizing.accuracy import improve
from graphopt.compiler.quantizing.budget import DEFAULT_SQNR, Budget
from graphopt.compiler.quantizing.candidates import Candidate, Trials
from graphopt.compiler.quantizing.found import Found
from graphopt.compiler.quantizing.layers import Layer
from graphopt.compiler.quantizing.plan import TABLE, Plan, Settings
from graphopt.compiler.quantizing.request import QuantizeRequest
from graphopt.compiler.quantizing.result import Effect
from graphopt.compiler.quantizing.sensitivity import Known, Repair, repair
from graphopt.ir import Model
from graphopt.passes import PassRegistry

__all__ = ["Improved", "Task"]

#: Part of the time that is stated for measuring, besides, for what layers lose alone.
_SENSITIVITY: Final = 0.7
_SQNR: Final = "sqnr"


@dataclass(frozen=True)
class Improved:
    """Trials on a model that is easier to quantize, how layers are made there, and what each pass brought."""

    trials: Trials
    settings: Settings
    effects: list[Effect]


@dataclass(frozen=True)
class Task:
    """A search.

    Attributes:
        trials: on the prepared model.
        layers: that can be quantized and are not left out.
        request: what is asked for.
        budget: what must hold.
        registry: passes by name.
        again: makes trials on a changed model, with data that is looked at anew.
        has_data: whether ranges can be found.
        known: what layers do alone.
    """

    trials: Trials
    layers: Sequence[Layer]
    request: QuantizeRequest
    budget: Budget
    registry: PassRegistry
    again: Callable[[Model], Trials]
    has_data: bool
    known: Known = field(default_factory=Known)

    @property
    def settings(self) -> Settings:
        """How layers are made, without passes for accuracy."""
        request = self.request
        return Settings(
            qoperator=request.form == "qoperator",
            weight_dtype=request.weight_dtype,
            block=request.block,
            options=request.options,
        )

    def is_more_than_tables(self, plan: Plan) -> bool:
        """Whether a plan quantizes any layer but tables, which cost nothing and save no time."""
        return bool(set(plan.quantized) - {layer.name for layer in self.layers if layer.op == TABLE})

    def improved(self, plan: Plan) -> Improved:
        """Trials and settings with the passes for accuracy that help a plan."""
        wanted = self.request.accuracy_passes()
        enough = self.budget.least if self.budget.kind.name == _SQNR else DEFAULT_SQNR
        return Improved(*improve(self.trials, plan, self.settings, wanted, self.registry, self.again, enough))

    def holds(self, candidate: Candidate) -> bool:
        """Whether a candidate keeps within the budget, by so much that other data will most likely not change that."""
        value = candidate.cautious.get(self.budget.kind.name)
        return value is not None and self.budget.holds(value)

    def repaired(self, trials: Trials, made: Candidate, found: Found) -> Repair:
        """What is left of a candidate when the worst layers are floats."""
        return repair(
            trials,
            made,
            self.budget,
            known=self.known,
            gains=gains_of(made.plan, found),
            seconds=self.request.seconds * _SENSITIVITY,
        )

    def adopt(self, better: Improved, found: Found) -> None:
        """Note what was made more accurate, and by what."""
        made = better.trials.make("float", Plan({}), Settings(), note=False).made
        found.effects, found.model = better.effects, better.trials.model
        found.floats = "" if made is None else made.path

    def unmet(self, made: Candidate, fixed: Repair) -> str:
        """What to say of a budget that can't be met."""
        name, kind = self.budget.kind.name, self.budget.kind
        values = [point.values[name] for point in fixed.curve if name in point.values and not point.kept]
        reached = made.values.get(name, float("nan"))
        quantized = list(values[:-1] or values)
        best = (min if kind.smaller_is_better else max)(quantized, default=reached)
        return (
            f"the budget can't be met: {self.budget.text} is asked for, the best with any layer quantized has "
            f"{kind.text(best)}; allow more, or choose another form or calibrator"
        )


def gains_of(plan: Plan, found: Found) -> dict[str, float]:
    """Seconds that each layer saves by the form that it has in a plan, where they are known."""
    floats: Mapping[str, float] = found.times.get("float", {})
    return {
        name: floats[name] - found.times[form][name]
        for name, form in plan.forms.items()
        if form in found.times and name in floats and name in found.times[form]
    }
