"""Which layers lose most when they become integers, and how few must stay floats for a budget to hold.

Each layer, or group of neighbours where there are many, is quantized alone, and the noise that this makes at the outputs is measured on
held-out examples: squared error over squared signal. Noise of several layers is about the sum of theirs, so the noisiest are left in floats
first, those that save little time before those that save much; how many, is found by halving, each time with a model that is really made
and judged.

Source: the additive noise model of quantization, e.g. Lin et al., Fixed Point Quantization of Deep Convolutional Networks, ICML 2016.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from graphopt.compiler.quantizing.budget import Budget
from graphopt.compiler.quantizing.candidates import Candidate, Trials
from graphopt.compiler.quantizing.plan import Plan, Settings

__all__ = ["Known", "Repair", "Sensitivity", "TradeOff", "repair"]

_SQNR: Final = "sqnr"
_FEWEST_GROUPS: Final = 8
#: Layers of groups that are tried one by one: so many at most, and until so much of the noise is known.
_MOST_APART: Final = 24
_MOST_NOISE: Final = 0.8
#: Part of the time of a trial that a point of the curve is measured for.
_SHORTLY: Final = 0.2
#: Passes that look at the data again for each model, and change little of the order of layers.
_COSTLY: Final = frozenset({"correct-biases", "gptq"})


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing a layer alone does.

    Attributes:
        layers: one, or neighbours that were tried together.
        noise: squared error of the outputs over their squared size.
        values: metrics with these layers alone quantized.
        reason: why it could not be told, ``""`` when it could.
    """

    layers: tuple[str, ...]
    noise: float
    values: Mapping[str, float]
    reason: str = ""

    @property
    def sqnr(self) -> float:
        """The noise in dB."""
        return math.inf if self.noise <= 0 else -10 * math.log10(self.noise) if self.noise < math.inf else -math.inf


@dataclass(frozen=True)
class TradeOff:
    """A point of the curve.

    Attributes:
        floats: layers that stay floats.
        values: metrics.
        size: bytes of the model.
        speedup: times as fast as floats, ``None`` when not measured.
        kept: whether this is the model that was kept.
    """

    floats: int
    values: Mapping[str, float]
    size: int
    speedup: float | None = None
    kept: bool = False


@dataclass(frozen=True)
class Repair:
    """What came of it.

    Attributes:
        candidate: the one with the fewest layers in floats that keeps within the budget, ``None`` if there is none.
        curve: what was tried, by the number of layers in floats.
        sensitivity: of each layer, the worst first.
        left: layers that were left in floats, the worst first.
    """

    candidate: Candidate | None
    curve: tuple[TradeOff, ...]
    sensitivity: tuple[Sensitivity, ...]
    left: tuple[str, ...] = ()


class Known:
    """What is known of layers in a form, quantized alone, so that no plan asks again."""

    def __init__(self) -> None:
        self._found: dict[tuple[tuple[str, str], ...], Sensitivity] = {}

    def sensitivity(self, trials: Trials, full: Candidate, *, seconds: float) -> tuple[Sensitivity, ...]:
        """What each quantized layer of a plan does alone, the worst first.

        Args:
            trials: makes and judges.
            full: the plan that is taken apart.
            seconds: for all of it; where that is short, neighbours are tried together, and the worst of these groups one by one.
        """
        plan = full.plan
        settings = replace(full.settings, accuracy=full.settings.accuracy - _COSTLY)
        found = {name: item for name in plan.quantized if (item := self._found.get(_key(plan, (name,)))) is not None}
        left = [name for name in plan.quantized if name not in found]
        results = list(found.values())
        start = time.perf_counter()
        if left:
            results.append(self._tried(trials, plan, left[:1], settings))
        each = max(time.perf_counter() - start, 1e-3)
        groups = _groups(left[1:], max(_FEWEST_GROUPS, int(seconds / each)))
        for number, group in enumerate(groups, start=1):
            trials.tell(f"sensitivity {number} of {len(groups)}")
            results.append(self._tried(trials, plan, group, settings))
        return tuple(sorted(self._taken_apart(trials, plan, results, settings), key=lambda item: -item.noise))

    def noise(self, name: str) -> float | None:
        """The most that a layer alone makes in any form that was tried, ``None`` where nobody has asked."""
        found = [item.noise for key, item in self._found.items() if len(key) == 1 and key[0][0] == name]
        return max(found, default=None)

    def _taken_apart(
        self, trials: Trials, plan: Plan, results: Sequence[Sensitivity], settings: Settings
    ) -> list[Sensitivity]:
        """The same with the layers of the noisiest groups one by one: those that make most of the noise, and a few at most."""
        noisy = sorted((item for item in results if len(item.layers) > 1), key=lambda item: -item.noise)
        total, seen, split = sum(item.noise for item in results), 0.0, list[Sensitivity]()
        for item in noisy:
            if len(split) * len(item.layers) >= _MOST_APART or seen >= _MOST_NOISE * total:
                break
            seen += item.noise
            split.append(item)
        names = [name for item in split for name in item.layers]
        trials.tell(f"sensitivity of {len(names)} layers alone")
        return [item for item in results if item not in split] + [
            self._tried(trials, plan, [name], settings) for name in names
        ]

    def _tried(self, trials: Trials, plan: Plan, group: Sequence[str], settings: Settings) -> Sensitivity:
        key = _key(plan, group)
        if key not in self._found:
            self._found[key] = _alone(trials, plan, group, settings)
        return self._found[key]


def _key(plan: Plan, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, plan.forms[name]) for name in names)


def _alone(trials: Trials, plan: Plan, group: Sequence[str], settings: Settings) -> Sensitivity:
    tried = trials.make(f"{', '.join(group)} alone", plan.only(group), settings, note=False)
    values = trials.judge(tried, quick=True)
    failed = tried.made is None or not values
    trials.drop(tried)
    if failed:
        return Sensitivity(tuple(group), math.inf, {}, tried.reason)
    sqnr = values[_SQNR]
    noise = 0.0 if sqnr == math.inf else math.inf if math.isnan(sqnr) else 10 ** (-sqnr / 10)
    return Sensitivity(tuple(group), noise, values)


def _groups(names: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Neighbours together, so that there are no more groups than ``most``."""
    size = max(1, math.ceil(len(names) / most))
    return [tuple(names[at : at + size]) for at in range(0, len(names), size)]


def repair(
    trials: Trials,
    full: Candidate,
    budget: Budget,
    *,
    known: Known,
    gains: Mapping[str, float],
    seconds: float,
) -> Repair:
    """Leave the fewest of the worst layers in floats so that a budget holds.

    Args:
        trials: makes and judges.
        full: the candidate that is not good enough.
        budget: what must hold.
        known: what is known of layers.
        gains: seconds that each layer saves by being quantized, where they are known.
        seconds: for sensitivity.
    """
    found = known.sensitivity(trials, full, seconds=seconds)
    order = _order(found, gains)
    curve: dict[int, Candidate] = {0: full}

    def tried(steps: int) -> Candidate:
        if steps not in curve:
            left = [name for group in order[:steps] for name in group]
            name = f"{full.name}, {len(left)} in floats"
            made = trials.make(name, full.plan.without(left), full.settings, note=False, quick=True)
            trials.judge(made)
            curve[steps] = made
        return curve[steps]

    def good(steps: int) -> bool:
        value = tried(steps).cautious.get(budget.kind.name)
        return value is not None and budget.holds(value)

    low, high = 0, len(order)  # `low` is not good enough; all in floats may be
    if not good(high):
        return Repair(None, _curve(trials, curve, order), found)
    while high - low > 1:
        middle = (low + high) // 2
        if good(middle):
            high = middle
        else:
            low = middle
    left = tuple(name for group in order[:high] for name in group)
    return Repair(curve[high], _curve(trials, curve, order, high), found, left)


def _order(found: Sequence[Sensitivity], gains: Mapping[str, float]) -> list[tuple[str, ...]]:
    """Groups, those first whose noise is the largest for the time that they save."""
    known = [value for value in gains.values() if value > 0]
    floor = (sum(known) / len(known) / 20) if known else 1.0

    def weight(item: Sensitivity) -> float:
        saved = sum(max(gains.get(name, 0.0), 0.0) for name in item.layers) if known else 1.0
        return item.noise / max(saved, floor)

    return [item.layers for item in sorted(found, key=weight, reverse=True)]


def _curve(
    trials: Trials, tried: Mapping[int, Candidate], order: Sequence[tuple[str, ...]], kept: int | None = None
) -> tuple[TradeOff, ...]:
    points = []
    for steps, candidate in sorted(tried.items()):
        if candidate.made is not None and candidate.values:
            if candidate.times is None:
                trials.measure(candidate, factor=_SHORTLY, drop=False)
            floats = sum(len(group) for group in order[:steps])
            points.append(
                TradeOff(floats, candidate.values, candidate.made.size, candidate.speedup, kept=steps == kept)
            )
    return tuple(points)
