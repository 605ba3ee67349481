"""Who gives up something first: for each step from the whole model to one that is all pruned, the part that each unit has lost.

Noise at the outputs of several layers is about the sum of what each makes alone, so the step that costs least noise for what it saves
comes first: the slopes of the lower convex hulls of the curves, in order. Each layer ends with a ratio of its own.

Source: Shoham and Gersho, Efficient Bit Allocation for an Arbitrary Set of Quantizers, 1988 (hulls and slopes).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphopt.compiler.pruning.sensitivity import Curve
from graphopt.compiler.pruning.steps import Levels

__all__ = ["levels_by_sensitivity"]


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
