"""How much each layer, or group of channels, loses when a part of it goes and nothing else does: a curve for each.

Where there are many and time is short, neighbours are tried together. What is left makes up for what went, with a few examples, where
that is asked for and quick enough: what a layer loses for good is what counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphopt.compiler.pruning.steps import Steps
from graphopt.compiler.pruning.trials import Trial, Trials
from graphopt.compiler.pruning.units import Unit
from graphopt.errors import GraphoptError
from graphopt.passes import CalibrationSource

__all__ = ["Curve", "SweepPoint", "left_of", "sweep"]

_FEWEST: Final = 8
#: A sweep with recovery may take so many times as long.
_PATIENCE: Final = 4.0
#: The one level of a pattern.
_WHOLE: Final = (1.0,)


@dataclass(frozen=True)
class SweepPoint:
    """A model of which one unit was pruned.

    Attributes:
        part: that was to go.
        left: part of the operations that is left; of weights where these become zero.
        noise: what it cost at the outputs, infinite where nobody can tell.
        values: metrics, empty where it failed.
        reason: why it failed, ``""`` when it did not.
    """

    part: float
    left: float
    noise: float
    values: Mapping[str, float]
    reason: str = ""


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
    noise: Callable[[Mapping[str, float]], float],
    few: CalibrationSource | None,
    recover: bool,
) -> tuple[tuple[Curve, ...], bool]:
    """The curve of each unit, in the order of the graph, and whether models were recovered for it.

    Args:
        trials: makes and judges.
        units: what is pruned, one at a time.
        steps: make pipelines.
        ratios: parts that go.
        seconds: about how long it may take; a few times as long with recovery.
        noise: what metrics say that it cost at the outputs.
        few: data for passes that look at activations; a few examples tell the order.
        recover: whether models are recovered, where that does not take too long.
    """
    parts = _WHOLE if steps.amount.kind == "n-m" else tuple(sorted(set(ratios)))
    one = _Sweep(trials, steps, parts, noise, few, recover=recover and few is not None)
    start = time.perf_counter()
    first = one.curve(units[:1])
    each = max(time.perf_counter() - start, 1e-3)
    if one.recover and each * min(len(units), _FEWEST) > seconds * _PATIENCE:
        one.recover = False
        start = time.perf_counter()
        first = one.curve(units[:1])
        each = max(time.perf_counter() - start, 1e-3)
    groups = _grouped(units[1:], max(_FEWEST, int(seconds / each)))
    found = [first]
    for number, group in enumerate(groups, start=2):
        trials.tell(f"sensitivity {number} of {len(groups) + 1}")
        found.append(one.curve(group))
    return tuple(found), one.recover


class _Sweep:
    """Prunes units alone."""

    def __init__(
        self,
        trials: Trials,
        steps: Steps,
        parts: Sequence[float],
        noise: Callable[[Mapping[str, float]], float],
        few: CalibrationSource | None,
        *,
        recover: bool,
    ) -> None:
        self._trials, self._steps, self._parts, self._noise, self._few = trials, steps, parts, noise, few
        self.recover = recover

    def curve(self, units: Sequence[Unit]) -> Curve:
        """The curve of units that are pruned together."""
        return Curve(tuple(unit.name for unit in units), tuple(self._point(units, part) for part in self._parts))

    def _point(self, units: Sequence[Unit], part: float) -> SweepPoint:
        trials, steps = self._trials, self._steps
        pipeline = steps.leveled(units, {unit.name: part for unit in units})
        trial = trials.prune(f"{units[0].name} without {part:.0%}", pipeline, calibration=self._few)
        left = 1.0 if trial.model is None else left_of(trials, trial, steps.amount.kind)
        if self.recover and trial.model is not None and trial.reference is not None:
            trial = trials.recover(trial, steps.recovering(trial.model), calibration=self._few)
        if trial.model is None:
            return SweepPoint(part, 1.0, math.inf, {}, trial.reason)
        try:
            values = trials.judge(trial)
        except GraphoptError as err:
            return SweepPoint(part, 1.0, math.inf, {}, str(err))
        finally:
            trials.drop(trial)
        return SweepPoint(part, left, self._noise(values), values)


def _grouped(units: Sequence[Unit], most: int) -> list[Sequence[Unit]]:
    """Neighbours together, so that there are no more groups than ``most``."""
    size = max(1, math.ceil(len(units) / most))
    return [units[at : at + size] for at in range(0, len(units), size)]
