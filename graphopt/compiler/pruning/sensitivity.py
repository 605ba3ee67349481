"""How much each layer, or group of channels, loses when a part of it goes and nothing else does: a curve for each.

Where there are many and time is short, neighbours are tried together. Nothing is recovered: the order of layers is what counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphopt.compiler.pruning.steps import Steps
from graphopt.compiler.pruning.trials import Trial, Trials
from graphopt.compiler.pruning.units import Unit
from graphopt.errors import GraphoptError
from graphopt.passes import CalibrationSource

__all__ = ["Curve", "SweepPoint", "left_of", "sweep"]

_SQNR: Final = "sqnr"
_FEWEST: Final = 8
#: The one level of a pattern.
_WHOLE: Final = (1.0,)


@dataclass(frozen=True)
class SweepPoint:
    """A model of which one unit was pruned.

    Attributes:
        part: that was to go.
        left: part of the operations that is left; of weights where these become zero.
        values: metrics, empty where it failed.
        reason: why it failed, ``""`` when it did not.
    """

    part: float
    left: float
    values: Mapping[str, float]
    reason: str = ""

    @property
    def noise(self) -> float:
        """Squared error of the outputs over their squared size, infinite where it failed."""
        sqnr = self.values.get(_SQNR, -math.inf)
        if math.isnan(sqnr):
            return math.inf
        return 0.0 if sqnr == math.inf else math.inf if sqnr == -math.inf else 10 ** (-sqnr / 10)


@dataclass(frozen=True)
class Curve:
    """What pruning a unit alone does.

    Attributes:
        units: one, or neighbours that were tried together.
        points: by the part that goes.
    """

    units: tuple[str, ...]
    points: tuple[SweepPoint, ...]

    @property
    def name(self) -> str:
        """For people.

        Example:
            >>> Curve(("a", "b", "c"), ()).name
            'a and 2 more'
        """
        more = len(self.units) - 1
        return self.units[0] + (f" and {more} more" if more else "")


def left_of(trials: Trials, trial: Trial, kind: str) -> float:
    """The part of the operations that is left, of the weights that are not zero where zeros are what was made."""
    size, whole = trials.size(trial), trials.whole
    if kind == "channels":
        return size.flops / whole.flops if whole.flops else 1.0
    return (size.weights - size.zeros) / whole.weights if whole.weights else 1.0


def sweep(
    trials: Trials,
    units: Sequence[Unit],
    steps: Steps,
    ratios: Sequence[float],
    *,
    seconds: float,
    few: CalibrationSource | None,
) -> tuple[Curve, ...]:
    """The curve of each unit, in the order of the graph.

    Args:
        trials: makes and judges.
        units: what is pruned, one at a time.
        steps: make pipelines.
        ratios: parts that go.
        seconds: about how long it may take.
        few: data for criteria that look at activations; a few examples tell the order.

    Raises:
        GraphoptError: if the first one can't be pruned at all.
    """
    parts = _WHOLE if steps.amount.kind == "n-m" else tuple(sorted(set(ratios)))
    start = time.perf_counter()
    first = _curve(trials, units[:1], steps, parts, few)
    each = max(time.perf_counter() - start, 1e-3)
    groups = _grouped(units[1:], max(_FEWEST, int(seconds / each)))
    found = [first]
    for number, group in enumerate(groups, start=2):
        trials.tell(f"sensitivity {number} of {len(groups) + 1}")
        found.append(_curve(trials, group, steps, parts, few))
    return tuple(found)


def _curve(
    trials: Trials, units: Sequence[Unit], steps: Steps, parts: Sequence[float], few: CalibrationSource | None
) -> Curve:
    points = []
    for part in parts:
        pipeline = steps.leveled(units, {unit.name: part for unit in units})
        trial = trials.prune(f"{units[0].name} without {part:.0%}", pipeline, calibration=few)
        points.append(_point(trials, trial, part, steps.amount.kind))
        trials.drop(trial)
    return Curve(tuple(unit.name for unit in units), tuple(points))


def _point(trials: Trials, trial: Trial, part: float, kind: str) -> SweepPoint:
    if trial.model is None:
        return SweepPoint(part, 1.0, {}, trial.reason)
    try:
        values = trials.judge(trial)
    except GraphoptError as err:
        return SweepPoint(part, 1.0, {}, str(err))
    return SweepPoint(part, left_of(trials, trial, kind), values)


def _grouped(units: Sequence[Unit], most: int) -> list[Sequence[Unit]]:
    """Neighbours together, so that there are no more groups than ``most``."""
    size = max(1, math.ceil(len(units) / most))
    return [units[at : at + size] for at in range(0, len(units), size)]
