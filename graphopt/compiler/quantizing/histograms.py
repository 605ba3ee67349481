"""How the numbers are spread that each static layer reads: a picture of what its range holds and cuts off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphopt.compiler.calibration.source import Batches
from graphopt.compiler.environment import Environment
from graphopt.compiler.quantizing.layer_parameters import LayerParameters
from graphopt.errors import GraphoptError
from graphopt.ir import Array, Model
from graphopt.runtime.base import Feeds

__all__ = ["Spread", "spreads"]

_PARTS: Final = 48
#: How much wider than the range a picture is, on either side.
_BEYOND: Final = 0.15


@dataclass(frozen=True)
class Spread:
    """Counts of numbers in equal parts from ``low`` to ``high``; those beyond are in the first and the last."""

    counts: tuple[int, ...]
    low: float
    high: float


class _Counter:
    def __init__(self, low: float, high: float) -> None:
        beyond = (high - low) * _BEYOND or 1.0
        self.low, self.high = low - beyond, high + beyond
        self.counts = np.zeros(_PARTS, np.int64)

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        at = (array.reshape(-1) - np.float32(self.low)) * np.float32(_PARTS / (self.high - self.low))  # type: ignore[operator]  # floats
        places = np.clip(at, 0, _PARTS - 1).astype(np.int64)
        self.counts += np.bincount(places, minlength=_PARTS)


def spreads(
    environment: Environment, model: Model, parameters: Mapping[str, LayerParameters], batches: Sequence[Feeds]
) -> dict[str, Spread]:
    """The numbers that layers read, by layer; empty where the model can't be looked into.

    Args:
        environment: plugins.
        model: of floats, with the tensors that ``parameters`` name.
        parameters: by layer.
        batches: a few are enough.
    """
    known = {value.name for value in model.graph.values()}
    counters = {item.value: _Counter(item.low, item.high) for item in parameters.values() if item.value in known}
    if not counters:
        return {}
    try:
        Batches(environment, lambda: batches).observe(model, counters)
    except GraphoptError:
        return {}
    return {
        layer: Spread(tuple(map(int, counters[item.value].counts)), counters[item.value].low, counters[item.value].high)
        for layer, item in parameters.items()
        if item.value in counters
    }
