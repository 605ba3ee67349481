"""How much may go within a budget: the last point on a way from the whole model to one of which most is gone that keeps within it.

Two ways are looked at: by sensitivity (:mod:`graphopt.compiler.pruning.levels`), and by importance, where the pass alone decides what
goes first, over all layers. Each point that is looked at is a model that is really made, recovered and judged on held-out examples;
which one is the last to hold is found by halving.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from graphopt.compiler.pruning.amounts import Amount
from graphopt.compiler.pruning.levels import levels_by_sensitivity
from graphopt.compiler.pruning.sensitivity import Curve, left_of
from graphopt.compiler.pruning.steps import Steps
from graphopt.compiler.pruning.trials import Trial, Trials
from graphopt.compiler.pruning.units import Unit
from graphopt.compiler.quantizing.budget import Budget
from graphopt.errors import GraphoptError, PruningError
from graphopt.passes import Pipeline

__all__ = ["Attempt", "best_within"]

#: How much more the way by importance must save to be tried, and the steps that it goes on by.
_STEP: Final = 0.04
_MOST_STEPS: Final = 12
_LEAST_LEFT: Final = 0.02


@dataclass(frozen=True)
class Attempt:
    """A model that was tried.

    Attributes:
        way: how it was chosen what goes.
        left: part of the operations, or of the weights, that is left.
        values: metrics, after it was recovered; empty where it failed.
        reason: why it failed.
        holds: whether it keeps within the budget.
        kept: whether it is the one that was kept.
    """

    way: str
    left: float
    values: Mapping[str, float]
    reason: str = ""
    holds: bool = False
    kept: bool = False


def best_within(
    trials: Trials,
    steps: Steps,
    units: Sequence[Unit],
    curves: Sequence[Curve],
    budget: Budget,
    recovered: Callable[[Trial], Trial],
) -> tuple[Trial, Trial, list[Attempt]]:
    """The model that saves most and keeps within a budget, before and after it was recovered, and all that was tried.

    Args:
        trials: makes and judges.
        steps: make pipelines; their amount, where it is a number, is where the search ends: no more than that goes.
        units: what can be pruned.
        curves: their sensitivity.
        budget: what must hold.
        recovered: a pruned model that made up for what it lost.

    Raises:
        PruningError: if nothing can go within the budget.
    """
    amount = steps.amount
    most = amount.value if amount.measure == "ratio" else 1.0
    levels = levels_by_sensitivity(curves, most=most)
    if not levels:
        raise PruningError(_nothing(curves))
    way = [steps.leveled(units, item) for item in levels]
    search = _Search(trials, steps, _share(trials, units, amount), budget, recovered)
    search.halve(way, search.end(way))
    if amount.kind != "n-m" and amount.measure != "ratio":
        search.go_on()
    if search.best is None:
        tried = min(search.tried, key=lambda item: -item.left)
        value = tried.values.get(budget.kind.name)
        told = tried.reason or ("nothing is known of it" if value is None else f"{budget.kind.text(value)}")
        raise PruningError(
            f"the budget can't be met: {budget.text}, and the least that can go gives {told}; allow for more"
        )
    return (*search.best, search.table())


def _nothing(curves: Sequence[Curve]) -> str:
    reason = next((point.reason for curve in curves for point in curve.points if point.reason), "")
    return f"no layer can lose any of the parts that were tried{f': {reason}' if reason else ''}; give a smaller --round-to"


def _share(trials: Trials, units: Sequence[Unit], amount: Amount) -> float:
    """The part of all weights that may become zero."""
    if amount.kind == "channels" or not trials.whole.weights:
        return 1.0
    return sum(unit.size for unit in units) / trials.whole.weights


class _Search:
    """What was tried, and the best of it."""

    def __init__(
        self, trials: Trials, steps: Steps, share: float, budget: Budget, recovered: Callable[[Trial], Trial]
    ) -> None:
        self._trials, self._steps, self._share = trials, steps, share
        self._budget, self._recovered = budget, recovered
        self.tried: list[Attempt] = []
        self.best: tuple[Trial, Trial] | None = None
        self._left = 1.0

    @property
    def _goal(self) -> float | None:
        """The part that may be left, where somebody stated one."""
        amount = self._steps.amount
        return {"flops": amount.value, "sparsity": 1 - amount.value * self._share}.get(amount.measure)

    def end(self, way: Sequence[Pipeline]) -> int:
        """The first point at which as much has gone as somebody wants, else the last."""
        last = len(way) - 1
        goal = self._goal
        if goal is None:
            return last
        low, high = 0, last
        while low < high:
            middle = (low + high) // 2
            trial = self._trials.prune(f"point {middle + 1} of {len(way)}", way[middle])
            enough = trial.model is not None and left_of(self._trials, trial, self._steps.amount.kind) <= goal
            low, high = (low, middle) if enough else (middle + 1, high)
        return low

    def halve(self, way: Sequence[Pipeline], end: int) -> None:
        """Find the last point up to ``end`` that holds."""
        if self.holds("by sensitivity", way[end]):
            return
        low, high = -1, end
        while high - low > 1:
            middle = (low + high) // 2
            if self.holds("by sensitivity", way[middle]):
                low = middle
            else:
                high = middle

    def go_on(self) -> None:
        """Whether the pass alone, which decides over all layers by importance, gets further."""
        amount, goal = self._steps.amount, self._goal
        for _ in range(_MOST_STEPS):
            left = max(self._left - _STEP, _LEAST_LEFT if goal is None else goal)
            if left >= self._left - _STEP / 2:
                return
            gone = min((1 - left) / self._share, 1 - _LEAST_LEFT)
            measure, value = ("flops", left) if amount.kind == "channels" else ("sparsity", gone)
            stated = Amount(amount.kind, measure, value)
            if not self.holds("by importance", replace(self._steps, amount=stated).stated()):
                return

    def holds(self, way: str, pipeline: Pipeline) -> bool:
        """Make, recover and judge a model."""
        trials = self._trials
        pruned = trials.prune(f"{way}, trial {len(self.tried) + 1}", pipeline)
        if pruned.model is None:
            self.tried.append(Attempt(way, 1.0, {}, pruned.reason))
            return False
        left = left_of(trials, pruned, self._steps.amount.kind)
        try:
            found = self._recovered(pruned)
            values = trials.judge(found)
        except GraphoptError as err:
            self.tried.append(Attempt(way, left, {}, str(err)))
            return False
        value = values.get(self._budget.kind.name)
        good = value is not None and self._budget.holds(value)
        self.tried.append(Attempt(way, left, values, holds=good))
        if good and left < self._left:
            if self.best is not None:
                trials.drop(self.best[1])
            self.best, self._left = (pruned, found), left
        else:
            trials.drop(found)
        return good

    def table(self) -> list[Attempt]:
        """What was tried, by what is left, with the one that was kept."""
        best = None if self.best is None else self.best[1].values
        rows = sorted(self.tried, key=lambda item: -item.left)
        return [replace(item, kept=item.values is best) for item in rows]
