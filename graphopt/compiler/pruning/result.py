"""What pruning gives: the model, ways to save it and what was decided, and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.compiler.result import Optimized, OptimizeReport, plain_number, plain_numbers
from graphopt.errors import PruningError

if TYPE_CHECKING:
    import os

    from graphopt.backends.base import Backend
    from graphopt.compiler.pruning.counting import Size
    from graphopt.compiler.pruning.sensitivity import Curve
    from graphopt.compiler.pruning.trade import Attempt
    from graphopt.compiler.pruning.units import Frozen
    from graphopt.ir import Model
    from graphopt.passes import PruningPlan

__all__ = ["PruneReport", "Pruned", "PrunedLayer"]


@dataclass(frozen=True)
class PrunedLayer:
    """What became of a layer.

    Attributes:
        name: of its node.
        op: its operator.
        weight: name of its weights.
        share: of the operations of the model before, in [0, 1].
        before: shape of its weights.
        after: the same in the result.
        flops: part of its operations that is left.
        sparsity: part of the weights that are left which is zero.
        pruned_db: SQNR of its output once the model was pruned, errors before it included, ``None`` where not known.
        recovered_db: the same in the result.
    """

    name: str
    op: str
    weight: str
    share: float
    before: tuple[int, ...]
    after: tuple[int, ...]
    flops: float
    sparsity: float
    pruned_db: float | None = None
    recovered_db: float | None = None


@dataclass(kw_only=True)
class PruneReport(OptimizeReport):
    """What happened to a model, beyond what a report of an optimization says.

    Attributes:
        asked: what was to go.
        kept: what went.
        importance: criterion that channels were ranked by, ``""`` where none was.
        budget: what had to hold.
        metric_before: metrics of the original on held-out examples, empty without data.
        metric_pruned: metrics once it was pruned.
        metric_after: metrics of the result, after it was recovered.
        size_before: operations, weights and zeros of the model as it was prepared.
        size_after: the same of the result.
        file_before: bytes of the file of the prepared model.
        file_after: bytes of that of the result.
        packed_before: the same compressed as ``gzip`` does.
        packed_after: of the result.
        latency_before: seconds of a run of the prepared model, of one example and of a few at once; empty when not measured.
        latency_after: the same of the result.
        speedup: times as fast as the prepared model, measured in turns.
        gains: what this kind of sparsity buys here, in lines for people.
        layers: what became of each.
        frozen: groups of channels of which nothing may go.
        sensitivity: curve of each layer or group, where asked for.
        sweep_recovers: whether models were recovered, with a few examples, before they were judged for that.
        attempts: what was tried to keep within a budget.
        examples: how many were held out to judge on.
    """

    asked: str
    kept: str = "nothing"
    importance: str = ""
    budget: str = ""
    metric_before: Mapping[str, float] = field(default_factory=dict)
    metric_pruned: Mapping[str, float] = field(default_factory=dict)
    metric_after: Mapping[str, float] = field(default_factory=dict)
    size_before: Size | None = None
    size_after: Size | None = None
    file_before: int = 0
    file_after: int = 0
    packed_before: int = 0
    packed_after: int = 0
    latency_before: Sequence[float] = ()
    latency_after: Sequence[float] = ()
    speedup: float | None = None
    gains: list[str] = field(default_factory=list)
    layers: Sequence[PrunedLayer] = ()
    frozen: Sequence[Frozen] = ()
    sensitivity: Sequence[Curve] = ()
    sweep_recovers: bool = False
    attempts: Sequence[Attempt] = ()
    examples: int = 0

    @property
    def is_pruned(self) -> bool:
        """Whether anything went."""
        return self.kept != "nothing"

    @property
    def flops_left(self) -> float:
        """The part of the operations that is left."""
        before, after = self.size_before, self.size_after
        return after.flops / before.flops if before is not None and after is not None and before.flops else 1.0

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON; numbers that are not finite are text."""
        return OptimizeReport.to_dict(self) | {
            "asked": self.asked,
            "kept": self.kept,
            "pruned": self.is_pruned,
            "importance": self.importance,
            "budget": self.budget,
            "metrics": {
                "before": plain_numbers(self.metric_before),
                "pruned": plain_numbers(self.metric_pruned),
                "after": plain_numbers(self.metric_after),
            },
            "size": {"before": _size(self.size_before), "after": _size(self.size_after)},
            "flops_left": self.flops_left,
            "bytes": {"before": self.file_before, "after": self.file_after},
            "gzip": {"before": self.packed_before, "after": self.packed_after},
            "latency": {"before": list(self.latency_before), "after": list(self.latency_after)},
            "speedup": self.speedup,
            "gains": list(self.gains),
            "layers": [
                {
                    "name": layer.name,
                    "op": layer.op,
                    "weight": layer.weight,
                    "share": layer.share,
                    "shape": {"before": list(layer.before), "after": list(layer.after)},
                    "flops_left": layer.flops,
                    "sparsity": layer.sparsity,
                    "pruned_db": plain_number(layer.pruned_db),
                    "recovered_db": plain_number(layer.recovered_db),
                }
                for layer in self.layers
            ],
            "frozen": [{"name": item.name, "size": item.size, "reason": item.reason} for item in self.frozen],
            "sensitivity": [
                {
                    "units": list(curve.units),
                    "points": [
                        {
                            "part": point.part,
                            "left": point.left,
                            "metrics": plain_numbers(point.values),
                            "reason": point.reason,
                        }
                        for point in curve.points
                    ],
                }
                for curve in self.sensitivity
            ],
            "sweep_recovers": self.sweep_recovers,
            "attempts": [
                {
                    "way": item.way,
                    "left": item.left,
                    "metrics": plain_numbers(item.values),
                    "reason": item.reason,
                    "holds": item.holds,
                    "kept": item.kept,
                }
                for item in self.attempts
            ],
            "examples": self.examples,
        }


def _size(size: Size | None) -> dict[str, int] | None:
    return None if size is None else {"flops": size.flops, "weights": size.weights, "zeros": size.zeros}


class Pruned(Optimized):
    """A pruned model.

    Attributes:
        model: its IR, legalized for the target. Edits of it are not checked.
        report: what happened to it.
        plan: what went, to look at, edit, and do again; ``None`` if nothing did.
    """

    report: PruneReport

    def __init__(self, model: Model, report: PruneReport, backend: Backend, plan: PruningPlan | None = None) -> None:
        super().__init__(model, report, backend)
        self.plan = plan

    def save_plan(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write what went as JSON, for ``prune(plan=...)`` and ``apply-pruning-plan``; returns the path.

        Args:
            path: the file.
            force: whether a file that is there may be replaced.

        Raises:
            PruningError: if nothing went.
            OutputError: if the file exists, or can't be written.
        """
        if self.plan is None:
            raise PruningError("nothing was pruned, so there is no plan to save")
        return self.plan.save(path, force=force)
