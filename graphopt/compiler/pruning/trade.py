"""How much may go within a budget: ways from the whole model to one that is all pruned, and the last point on them that keeps within it.

Two ways are looked at. By sensitivity: noise at the outputs of several layers is about the sum of what each makes alone, so the step that
costs least noise for what it saves comes first (the slopes of the lower convex hulls of the curves, in order), and each layer ends with a
ratio of its own. By importance: the pass alone decides what goes first, over all layers. Each point that is looked at is a model that is
really made, recovered and judged on held-out examples; which one is the last to hold is found by halving.

Source: Shoham and Gersho, Efficient Bit Allocation for an Arbitrary Set of Quantizers, 1988 (hulls and slopes).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from graphopt.compiler.pruning.amounts import Amount
from graphopt.compiler.pruning.sensitivity import Curve, left_of
from graphopt.compiler.pruning.steps import Levels, Steps
from graphopt.compiler.pruning.trials import Trial, Trials
from graphopt.compiler.pruning.units import Unit
from graphopt.compiler.quantizing.budget import Budget
from graphopt.errors import GraphoptError, PruningError
from graphopt.passes import Pipeline

__all__ = ["Attempt", "Way", "best_within", "levels_by_sensitivity"]

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


@dataclass(frozen=True)
class Way:
    """Models from the one that is hardly pruned to the one of which most goes.

    Attributes:
        name: for people.
        points: a pipeline for each.
    """

    name: str
    points: Sequence[Pipeline]


@dataclass(frozen=True, order=True)
class _Rise:
    """A step: a unit, or neighbours, from one part to the next."""

    slope: float
    curve: int
    part: float


def levels_by_sensitivity(curves: Sequence[Curve], *, most: float = 1.0) -> list[Levels]:
    """Parts of units that go, from little to much: at each step what costs least noise for what it saves.

    Args:
        curves: of all units.
        most: no unit loses more than this part.

    Example:
        >>> from graphopt.compiler.pruning.sensitivity import SweepPoint
        >>> def curve(name, noise):
        ...     return Curve((name,), (SweepPoint(0.5, 0.8, noise, {}),))
        >>> found = levels_by_sensitivity([curve("a", 0.01), curve("b", 0.001)])
        >>> [dict(levels) for levels in found]
        [{'b': 0.25}, {'b': 0.5}, {'a': 0.25, 'b': 0.5}, {'a': 0.5, 'b': 0.5}]
    """
    rises = sorted(rise for number, curve in enumerate(curves) for rise in _rises(number, curve, most))
    found: list[Levels] = []
    parts: dict[int, float] = {}
    for rise in rises:
        parts[rise.curve] = rise.part
        found.append(
            {name: parts[number] for number, curve in enumerate(curves) if number in parts for name in curve.units}
        )
    return found


def _rises(number: int, curve: Curve, most: float) -> list[_Rise]:
    """The steps of a curve: those of its lower convex hull, each in two halves unless there is one level only."""
    points = [(0.0, 0.0, 0.0)]  # part that goes, part that is saved, noise
    points += [
        (item.part, 1 - item.left, item.noise) for item in curve.points if item.noise < math.inf and item.part <= most
    ]
    hull: list[tuple[float, float, float]] = []
    for point in points:
        if hull and point[1] <= hull[-1][1]:
            continue  # rounding left it as it was
        while len(hull) > 1 and _slope(hull[-2], point) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(point)
    single = len(curve.points) == 1 and curve.points[0].part == 1.0
    found = []
    for before, after in itertools.pairwise(hull):
        slope = _slope(before, after)
        if not single:
            found.append(_Rise(slope, number, (before[0] + after[0]) / 2))
        found.append(_Rise(slope, number, after[0]))
    return found


def _slope(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    return (after[2] - before[2]) / (after[1] - before[1])


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
    way = Way("by sensitivity", [steps.leveled(units, item) for item in levels])
    search = _Search(trials, steps, budget, recovered)
    end = search.end(way)
    search.halve(way, end)
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


class _Search:
    """What was tried, and the best of it."""

    def __init__(self, trials: Trials, steps: Steps, budget: Budget, recovered: Callable[[Trial], Trial]) -> None:
        self._trials, self._steps, self._budget, self._recovered = trials, steps, budget, recovered
        self.tried: list[Attempt] = []
        self.best: tuple[Trial, Trial] | None = None
        self._left = 1.0

    @property
    def _goal(self) -> float | None:
        """The part that may be left, where somebody stated one."""
        amount = self._steps.amount
        return {"flops": amount.value, "sparsity": 1 - amount.value}.get(amount.measure)

    def end(self, way: Way) -> int:
        """The first point at which as much has gone as somebody wants, else the last."""
        last = len(way.points) - 1
        goal = self._goal
        if goal is None:
            return last
        low, high = 0, last
        while low < high:
            middle = (low + high) // 2
            trial = self._trials.prune(f"{way.name}, point {middle + 1}", way.points[middle])
            enough = trial.model is not None and left_of(self._trials, trial, self._steps.amount.kind) <= goal
            low, high = (low, middle) if enough else (middle + 1, high)
        return low

    def halve(self, way: Way, end: int) -> None:
        """Find the last point up to ``end`` that holds."""
        if self.holds(way.name, way.points[end]):
            return
        low, high = -1, end
        while high - low > 1:
            middle = (low + high) // 2
            if self.holds(way.name, way.points[middle]):
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
            stated = (
                Amount(amount.kind, "flops", left)
                if amount.kind == "channels"
                else Amount(amount.kind, "sparsity", 1 - left)
            )
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
