"""Which indices go: the least important ones of each group, or of all groups together until a budget is met."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from graphopt.analysis.dim_groups import DimGroup, Leaf, Mask
from graphopt.transforms.pruning.importance import Float64

__all__ = ["Limits", "Scores", "by_budget", "by_ratio", "masks_of"]

Scores = Mapping[DimGroup, Float64]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many indices of a group may be left.

    Attributes:
        round_to: elements of axes are left in multiples of this.
        least: elements of axes that are left at least.
        small: the same as ``round_to`` for axes of fewer than four multiples of that; ``None`` for no other.
    """

    round_to: int
    least: int
    small: int | None = None

    def kept(self, group: DimGroup, wanted: float) -> int:
        """The number nearest to ``wanted`` that may be kept; all where the size leaves no choice.

        Example:
            >>> from graphopt.analysis.dim_groups import Leaf
            >>> [Limits(8, 1).kept(DimGroup(Leaf(30), 30), wanted) for wanted in (0, 11, 13, 29)]
            [8, 8, 16, 30]
        """
        places = max(group.places, 1)
        step = self._step(group)
        least = max(step, -(-self.least // (places * step)) * step, 1)
        if least >= group.size:
            return group.size
        nearest = max(round(wanted / step) * step, least)
        return group.size if nearest > group.size or group.size - wanted < abs(nearest - wanted) else nearest

    def next(self, group: DimGroup, kept: int) -> int:
        """The next larger number that may be kept, or all."""
        step = self._step(group)
        return min((kept // step + 1) * step, group.size)

    def _step(self, group: DimGroup) -> int:
        places = max(group.places, 1)
        multiple = self.round_to if self.small is None or group.size * places >= 4 * self.round_to else self.small
        return multiple // math.gcd(multiple, places)


def by_ratio(scores: Scores, ratio_of: Callable[[DimGroup], float], limits: Limits) -> dict[Leaf, int]:
    """How many indices of each group are kept when a stated part of each goes."""
    return {group.leaf: limits.kept(group, (1 - ratio_of(group)) * group.size) for group in scores}


def by_budget(
    scores: Scores, limits: Limits, cost: Callable[[Mapping[Leaf, int]], float], budget: float
) -> dict[Leaf, int]:
    """How many indices of each group are kept when those least important of all go first, until a cost is met.

    Args:
        scores: of each index.
        limits: what may be left.
        cost: of the graph with so many indices of each leaf.
        budget: that it is to meet.

    Returns:
        The most that meets it; the least that may be left if nothing does.
    """
    order = np.sort(np.concatenate(list(scores.values())))

    def kept(count: int) -> dict[Leaf, int]:
        limit = order[count - 1] if count else -np.inf
        return {group.leaf: limits.kept(group, int((score > limit).sum())) for group, score in scores.items()}

    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if cost(kept(middle)) <= budget:
            high = middle
        else:
            low = middle + 1
    return _given_back(scores, limits, kept(low), cost, budget)


def _given_back(
    scores: Scores,
    limits: Limits,
    kept: dict[Leaf, int],
    cost: Callable[[Mapping[Leaf, int]], float],
    budget: float,
) -> dict[Leaf, int]:
    """Keep more where the budget allows: rounding took more than was asked for. The most important indices come back first."""
    order = {group: np.sort(score)[::-1] for group, score in scores.items()}
    open_groups = list(scores)
    while open_groups:
        open_groups.sort(key=lambda group: order[group][min(kept[group.leaf], group.size - 1)])
        group = open_groups[-1]
        more = limits.next(group, kept[group.leaf])
        trial = {**kept, group.leaf: more}
        if more > kept[group.leaf] and cost(trial) <= budget:
            kept = trial
        else:
            open_groups.pop()
    return kept


def masks_of(scores: Scores, kept: Mapping[Leaf, int]) -> dict[Leaf, Mask]:
    """The most important indices of each group, as many as are kept; of equal ones the first. Groups that keep all are left out."""
    found: dict[Leaf, Mask] = {}
    for group, score in scores.items():
        if kept[group.leaf] < group.size:
            mask = np.zeros(group.size, np.bool_)
            mask[np.argsort(-score, kind="stable")[: kept[group.leaf]]] = True
            found[group.leaf] = mask
    return found
