"""The passes that prune as it is asked for, and those that recover, as pipelines: their text reproduces a result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from graphopt.compiler.pruning.amounts import Amount, Kind
from graphopt.compiler.pruning.units import Unit
from graphopt.errors import PipelineError
from graphopt.ir import Model
from graphopt.passes import PassRegistry, Pipeline, build_pass, suggestion
from graphopt.transforms.pruning import PruneMagnitude

__all__ = ["Levels", "Steps"]

#: The part of each unit that goes, by the unit's name; what is not there stays whole.
Levels = Mapping[str, float]
_PASSES: Final[Mapping[Kind, str]] = {"channels": "prune-channels", "magnitude": "prune-magnitude", "n-m": "prune-n-m"}
_RECONSTRUCT, _MASKED, _NORM = "reconstruct-layers", "recover-masked", "reestimate-batch-norm"
#: Part of the weights above which they become zero in so many steps.
_AT_ONCE: Final = 0.6
_STEPS: Final = 3
_RECOVERING: Final[Mapping[Kind, Sequence[str]]] = {
    "channels": (_RECONSTRUCT,),
    "magnitude": (_MASKED,),
    "n-m": (_MASKED,),
    "plan": (_RECONSTRUCT, _MASKED),
}


@dataclass(frozen=True)
class Steps:
    """Makes pipelines.

    Attributes:
        amount: what goes.
        registry: passes by name.
        importance: criterion for channels.
        scope: of magnitudes.
        include: weights or nodes that are pruned, all if empty.
        exclude: those that are not.
        round_to: multiples in which channels are left, ``None`` for those of the target.
        min_channels: that are left at least.
        options: of passes, by pass and option; they go before all others.
    """

    amount: Amount
    registry: PassRegistry
    importance: str = "l2"
    scope: str = "global"
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    round_to: int | None = None
    min_channels: int = 1
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def check_options(self) -> None:
        """See that options are of passes that may run, and make sense.

        Raises:
            PipelineError: if not.
        """
        kind = self.amount.kind
        known = (*([_PASSES[kind]] if kind in _PASSES else []), *_RECOVERING[kind], _NORM)
        for name, options in self.options.items():
            if name not in known:
                raise PipelineError(
                    f"options are given for {name!r}, which does not run{suggestion(name, known) or ';'} passes: {', '.join(known)}"
                )
            build_pass(self.registry[name], options)

    def stated(self, value: float | None = None) -> Pipeline:
        """What prunes by the amount that is stated.

        Args:
            value: instead of the amount's.
        """
        amount = self.amount
        number = amount.value if value is None else value
        if amount.kind == "channels":
            return self._built({amount.measure: number, "include": tuple(self.include)})
        if amount.kind == "magnitude":
            return self._built({"sparsity": number, "scope": self.scope, "include": tuple(self.include)})
        return self._built({"include": tuple(self.include)})

    def leveled(self, units: Iterable[Unit], levels: Levels) -> Pipeline:
        """What takes a part of its own from each unit.

        Args:
            units: all of them.
            levels: the part that goes.
        """
        stated = [(unit, levels[unit.name]) for unit in units if levels.get(unit.name)]
        if not stated:
            return Pipeline(())
        if self.amount.kind == "channels":
            return self._built({"parts": tuple(f"{name}={part:g}" for unit, part in stated for name in unit.weights)})
        names = {
            part: [name for unit, mine in stated if mine == part for name in unit.weights] for _unit, part in stated
        }
        if self.amount.kind == "n-m":
            return self._built({"include": tuple(names[1.0])})
        pipeline = Pipeline(())
        for part, include in sorted(names.items()):
            pipeline += self._built({"sparsity": part, "scope": "tensor", "include": tuple(include)})
        return pipeline

    def in_steps(self, pipeline: Pipeline) -> Pipeline:
        """The same where most weights become zero in a few steps, with recovery between: that loses less than one."""
        return Pipeline.of(
            *(
                replace(item, steps=_STEPS)
                if isinstance(item, PruneMagnitude) and item.sparsity > _AT_ONCE and item.steps == 1
                else item
                for item in pipeline.passes()
            )
        )

    def recovering(self, model: Model) -> Pipeline:
        """What makes up for what was lost.

        Args:
            model: that is pruned; where BatchNormalization is left in it, its statistics are found anew.
        """
        names = list(_RECOVERING[self.amount.kind])
        if any(node.op == "BatchNormalization" for node in model.graph.nodes):
            names.append(_NORM)
        return Pipeline.of(*(build_pass(self.registry[name], self.options.get(name, {})) for name in names))

    def _built(self, options: Mapping[str, object]) -> Pipeline:
        name = _PASSES[self.amount.kind]
        found = {**options, "exclude": tuple(self.exclude)}
        if self.amount.kind == "channels":
            found |= {
                "criterion": self.importance,
                "round_to": self.round_to,
                "min_channels": self.min_channels,
            }
        elif self.amount.kind == "n-m":
            found |= {"n": self.amount.n, "m": self.amount.m}
        return Pipeline.of(build_pass(self.registry[name], {**found, **self.options.get(name, {})}))
